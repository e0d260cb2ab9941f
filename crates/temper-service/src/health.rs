//! Asks a server whether it serves, as people and probes do where there is no shell: grpc.health.v1, which every
//! server of Temper's answers without a token.

use std::time::Duration;

use tokio::time;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    client::{self, ConnectError, Credentials},
    status,
};

/// Why a server does not count as serving.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection stands, and no answer has come: the process hangs, or waits for its database.
    #[error("{url} does not answer within {}", humantime::format_duration(*.patience))]
    Late {
        /// Where.
        url: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It serves something else.
    #[error("{url} knows no service `{service}`")]
    Unknown {
        /// Where.
        url: String,
        /// What was asked for.
        service: String,
    },
    /// It says so itself: it is stopping, say.
    #[error("{url} answers {}", .status.as_str_name())]
    NotServing {
        /// Where.
        url: String,
        /// What it says.
        status: ServingStatus,
    },
    /// It refuses to tell.
    #[error("{url} refuses: {}", status::explain(.refusal))]
    Refused {
        /// Where.
        url: String,
        /// How.
        refusal: Box<Status>,
    },
}

/// Asks the server at `url` after `service`; the empty name stands for the server as a whole.
///
/// # Errors
/// When it is not `SERVING`, or that is not known after `patience`.
pub async fn check(
    url: &str,
    credentials: &Credentials,
    service: &str,
    patience: Duration,
) -> Result<(), HealthError> {
    let asked = async {
        let mut health = HealthClient::new(client::connect(url, credentials).await?);
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await;
        let answer = answer.map_err(|refusal| refused(url, service, refusal))?;
        verdict(url, answer.into_inner().status())
    };
    // A socket that is bound takes connections long before anybody serves it.
    time::timeout(patience, asked).await.unwrap_or_else(|_| {
        Err(HealthError::Late {
            url: url.to_owned(),
            patience,
        })
    })
}

fn verdict(url: &str, status: ServingStatus) -> Result<(), HealthError> {
    match status {
        ServingStatus::Serving => Ok(()),
        status => Err(HealthError::NotServing {
            url: url.to_owned(),
            status,
        }),
    }
}

fn refused(url: &str, service: &str, refusal: Status) -> HealthError {
    let url = url.to_owned();
    match refusal.code() {
        Code::NotFound => HealthError::Unknown {
            url,
            service: service.to_owned(),
        },
        _ => HealthError::Refused {
            url,
            refusal: Box::new(refusal),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_serving_is_healthy() {
        assert!(verdict("http://a:1", ServingStatus::Serving).is_ok());
        for status in [
            ServingStatus::NotServing,
            ServingStatus::Unknown,
            ServingStatus::ServiceUnknown,
        ] {
            let said = verdict("http://a:1", status).unwrap_err().to_string();
            assert_eq!(said, format!("http://a:1 answers {}", status.as_str_name()));
        }
    }
}
