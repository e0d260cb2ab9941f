//! Connections to a coordinator or a results service, of which any number may run: an address is a list
//! of URLs, separated by commas, and whoever it names stands in for the others.

mod failover;

use std::{error::Error as _, time::Duration};

use tonic::{
    Code, Status,
    codegen::http::Uri,
    transport::{Channel, Endpoint},
};

use failover::Failover;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed after interval and timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("`{0}` is no address of a service: one looks like http://127.0.0.1:7070")]
    Address(String),
    /// Nothing answers.
    #[error(
        "nothing answers at {url}: `temper up` starts the services on this machine; \
         TEMPER_COORDINATOR names others"
    )]
    NoAnswer {
        /// Where.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// Connects to `urls` now: to one of them. The channel reconnects by itself when the connection breaks
/// later, to the next of them that answers.
///
/// # Errors
/// When `urls` holds something else than addresses, or nothing answers at any of them within 5
/// seconds each.
pub async fn connect(urls: &str) -> Result<Channel, ConnectError> {
    let (endpoint, failover) = endpoint(urls)?;
    let channel = endpoint.connect_with_connector(failover).await;
    channel.map_err(|source| ConnectError::NoAnswer {
        url: urls.to_owned(),
        source,
    })
}

/// A channel to one of `urls` that connects on first use and, after each break, to the next of them
/// that answers; until then its calls fail with `UNAVAILABLE`. Must be called within a tokio runtime.
///
/// # Errors
/// When `urls` holds something else than addresses.
pub fn connect_lazily(urls: &str) -> Result<Channel, ConnectError> {
    let (endpoint, failover) = endpoint(urls)?;
    Ok(endpoint.connect_with_connector_lazy(failover))
}

/// Whether the same call may succeed when repeated: the peer does not answer, or the connection broke
/// and nobody knows whether the call was served. Whoever repeats one sees to it that its effect
/// is the same twice.
#[must_use]
pub fn is_transient(status: &Status) -> bool {
    // A status with a source was made on this side, out of what the connection suffered.
    status.source().is_some()
        || matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
        )
}

/// The settings of a channel, and its way to whichever of `urls` answers. The first of them stands in
/// requests as the authority, whoever serves them.
fn endpoint(urls: &str) -> Result<(Endpoint, Failover), ConnectError> {
    let addresses: Vec<Uri> = urls.split(',').map(address).collect::<Result<_, _>>()?;
    let none = || ConnectError::Address(urls.to_owned());
    let first = addresses.first().cloned().ok_or_else(none)?;
    // Each address has its own time; what waits for all of them waits for their sum.
    let patience = CONNECT_TIMEOUT * u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let endpoint = Endpoint::from(first)
        .connect_timeout(patience)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok((endpoint, Failover::new(addresses)))
}

fn address(url: &str) -> Result<Uri, ConnectError> {
    let parsed: Option<Uri> = url.trim().parse().ok();
    let is_service = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some();
    parsed
        .filter(is_service)
        .ok_or_else(|| ConnectError::Address(url.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn error_says_where_nothing_answers_and_what_to_do() {
        // Bound and dropped: nobody listens on it.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = connect(&url).await.unwrap_err().to_string();
        assert!(
            error.contains(&url) && error.contains("temper up"),
            "{error}"
        );
    }

    #[test]
    fn breaks_of_the_connection_are_transient_and_answers_are_not() {
        let broken = Status::from_error(Box::new(std::io::Error::other("reset by peer")));
        for status in [
            broken,
            Status::unavailable(""),
            Status::deadline_exceeded(""),
        ] {
            assert!(is_transient(&status), "{status:?}");
        }
        for status in [
            Status::aborted(""),
            Status::internal(""),
            Status::not_found(""),
        ] {
            assert!(!is_transient(&status), "{status:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused_before_any_connection() {
        for url in [
            "127.0.0.1:7070",
            "ftp://host:1",
            "",
            "https://host",
            "http://host:1,",
            "http://host:1,other:2",
        ] {
            assert!(
                matches!(connect(url).await, Err(ConnectError::Address(_))),
                "{url}"
            );
            assert!(
                matches!(connect_lazily(url), Err(ConnectError::Address(_))),
                "{url}"
            );
        }
    }
}
