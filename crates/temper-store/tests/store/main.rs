//! The store on a real PostgreSQL.

mod access;
mod changes;
mod claims;
mod failures;
mod janitor;
mod lab;
mod local;
mod models;
mod plans;
mod reports;
mod results;
mod schema;
mod sharing;
mod sweeps;
