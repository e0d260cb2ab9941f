//! Connections to a coordinator or a results service.

use std::{error::Error as _, time::Duration};

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

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

/// Connects to `url` now. The channel reconnects by itself when the connection breaks later.
///
/// # Errors
/// When `url` is no address, or nothing answers there within 5 seconds.
pub async fn connect(url: &str) -> Result<Channel, ConnectError> {
    let endpoint = endpoint(url)?;
    endpoint
        .connect()
        .await
        .map_err(|source| ConnectError::NoAnswer {
            url: url.to_owned(),
            source,
        })
}

/// A channel to `url` that connects on first use and again after each break; until then its calls
/// fail with `UNAVAILABLE`. Must be called within a tokio runtime.
///
/// # Errors
/// When `url` is no address.
pub fn connect_lazily(url: &str) -> Result<Channel, ConnectError> {
    Ok(endpoint(url)?.connect_lazy())
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

fn endpoint(url: &str) -> Result<Endpoint, ConnectError> {
    let address = || ConnectError::Address(url.to_owned());
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| address())?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
        return Err(address());
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Some(KEEP_ALIVE_INTERVAL))
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
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
        for url in ["127.0.0.1:7070", "ftp://host:1", "", "https://host"] {
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
