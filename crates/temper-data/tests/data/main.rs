//! The crate from outside: each format read from files in their original layout, and each way in
//! which files can be wrong.

mod cache;
mod check;
mod cifar10;
mod columns;
mod fashion_mnist;
mod folder;
mod hub;
mod idx;
mod layouts;
mod lists;
mod mat;
mod parity;
mod parquet;
mod pin;
mod pool;
mod support;
mod weights;
