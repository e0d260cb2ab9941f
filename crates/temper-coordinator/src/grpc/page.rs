//! Pages of lists whose places are moments.

use chrono::{DateTime, Utc};
use temper_service::page::foreign;
pub use temper_service::page::{place, size, token};
use tonic::Status;

use super::storable;

/// The moment that a token's microseconds stand for.
pub fn moment(micros: i64) -> Result<DateTime<Utc>, Status> {
    let moment = DateTime::from_timestamp_micros(micros);
    moment.and_then(storable).ok_or_else(foreign)
}
