//! The crate from outside: each format read from files in their original layout, and each way in
//! which files can be wrong.

mod cache;
mod cifar10;
mod fashion_mnist;
mod folder;
mod idx;
mod parity;
mod parquet;
mod pin;
mod support;
mod weights;
