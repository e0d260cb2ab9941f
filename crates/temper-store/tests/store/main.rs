//! The store on a real PostgreSQL.

mod changes;
mod claims;
mod failures;
mod lab;
mod local;
mod plans;
mod reports;
mod results;
mod schema;
mod sharing;
mod sweeps;
