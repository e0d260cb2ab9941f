//! The store on a real PostgreSQL.

mod access;
mod attempts;
mod changes;
mod claims;
mod dashboards;
mod failures;
mod janitor;
mod lab;
mod local;
mod logs;
mod models;
mod pages;
mod placement;
mod plans;
mod published;
mod reporting;
mod reports;
mod results;
mod retries;
mod roles;
mod schema;
mod sharing;
mod steering;
mod sweeps;
mod walks;
mod withdrawals;
