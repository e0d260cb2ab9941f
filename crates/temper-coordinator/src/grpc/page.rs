//! Pages of lists (AIP-158): sizes and opaque tokens.

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use temper_service::status::bad_field;
use tonic::Status;

use super::storable;

const MAX_PAGE: i32 = 1000;

/// The page size asked for, or `default` for 0.
pub fn size(asked: i32, default: u32) -> Result<u32, Status> {
    match u32::try_from(asked.min(MAX_PAGE)) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size),
        Err(_) => Err(bad_field("page_size", format!("{asked} is negative"))),
    }
}

/// A token that stands for a place in a list; an empty one, for its end.
pub fn token<T: Serialize>(place: Option<&T>) -> String {
    place
        .and_then(|place| serde_json::to_vec(place).ok())
        .map(hex::encode)
        .unwrap_or_default()
}

/// The place that a token stands for; none for the start of the list.
pub fn place<T: DeserializeOwned>(token: &str) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    hex::decode(token)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .map(Some)
        .ok_or_else(foreign)
}

/// The moment that a token's microseconds stand for.
pub fn moment(micros: i64) -> Result<DateTime<Utc>, Status> {
    let moment = DateTime::from_timestamp_micros(micros);
    moment.and_then(storable).ok_or_else(foreign)
}

fn foreign() -> Status {
    bad_field("page_token", "is not a next_page_token of this list")
}
