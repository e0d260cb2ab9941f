//! Pages of lists (AIP-158): sizes and opaque tokens.

use serde::{Serialize, de::DeserializeOwned};
use tonic::Status;

use crate::status::bad_field;

const MAX_PAGE: i32 = 1000;

/// The page size asked for, or `default` for 0; at most 1000.
///
/// # Errors
/// `INVALID_ARGUMENT` for a negative one.
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
///
/// # Errors
/// `INVALID_ARGUMENT` for what is no token of this kind of place.
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

/// Refuses a token that is none of the list's.
#[must_use]
pub fn foreign() -> Status {
    bad_field("page_token", "is not a next_page_token of this list")
}
