//! Connections to a coordinator or a results service, and what calls on them carry. Any number of either
//! may run: an address is a list of URLs, separated by commas, and whoever it names stands in for the others.

mod failover;

use std::{
    env,
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    task::{Context, Poll},
    time::Duration,
};

use clap::Args;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service,
        http::{HeaderValue, Request, Response, Uri, header::AUTHORIZATION},
    },
    transport::{self, ClientTlsConfig, Endpoint, channel::ResponseFuture},
};

use crate::{
    access::{ParseSecretError, Secret},
    tls::{ClientTls, TlsFileError},
    traces,
};

use failover::Failover;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed after interval and timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The variable that may hold a token. It is no argument: command lines are everybody's to see.
const TOKEN: &str = "TEMPER_TOKEN";

/// By what a client shows who it is; flatten it into a command's arguments.
#[derive(Debug, Clone, Default, Args)]
pub struct Access {
    /// File that holds the token; without one, `TEMPER_TOKEN` may hold the token itself
    #[arg(long, env = "TEMPER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Whom the client believes.
    #[command(flatten)]
    pub tls: ClientTls,
}

/// A token, and how to speak TLS.
#[derive(Clone, Default)]
pub struct Credentials {
    token: Option<Secret>,
    tls: ClientTlsConfig,
}

/// Credentials that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file of a token cannot be read.
    #[error("cannot read the token in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{place} holds no token")]
    Token {
        /// The file, or the variable.
        place: String,
        /// What is wrong with it.
        source: ParseSecretError,
    },
    /// A file of TLS is none.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error(
        "`{0}` is no address of a service: one looks like http://127.0.0.1:7070 or https://host:7070, \
         several stand behind each other with commas between them, all with TLS or none"
    )]
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
        source: transport::Error,
    },
    /// Something answers, but it is not trusted, or speaks no TLS.
    #[error(
        "no TLS with {url}: does that server speak it, and is its certificate signed by the authority of \
         --tls-ca (TEMPER_TLS_CA)?"
    )]
    Untrusted {
        /// Where.
        url: String,
        /// Why.
        source: transport::Error,
    },
    /// The files of TLS are of no use.
    #[error(
        "TLS cannot be set up: --tls-ca, --tls-client-cert and --tls-client-key name its files"
    )]
    Tls(#[source] transport::Error),
}

/// A channel whose calls carry the token. It reconnects by itself.
#[derive(Debug, Clone)]
pub struct Channel {
    channel: transport::Channel,
    bearer: Option<HeaderValue>,
}

impl Access {
    /// Reads the token and the files of TLS. No token at all is no error here: the server says so
    /// where it wants one.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub fn load(&self) -> Result<Credentials, CredentialsError> {
        let token = match &self.token_file {
            Some(path) => Some(token_in(path)?),
            None => env::var(TOKEN)
                .ok()
                .filter(|text| !text.trim().is_empty())
                .map(|text| parse(&text, TOKEN))
                .transpose()?,
        };
        let tls = self.tls.load()?;
        Ok(Credentials { token, tls })
    }
}

impl Credentials {
    /// No token: for what is told to anybody.
    ///
    /// # Errors
    /// When a file of TLS cannot be read or holds something else.
    pub fn of_nobody(tls: &ClientTls) -> Result<Self, CredentialsError> {
        Ok(Self {
            token: None,
            tls: tls.load()?,
        })
    }

    /// The same for a server whose certificate bears this name, whatever its address.
    #[must_use]
    pub fn with_server_name(self, name: &str) -> Self {
        let tls = self.tls.domain_name(name);
        Self { tls, ..self }
    }

    /// The same with this token.
    #[must_use]
    pub fn with_token(self, token: Secret) -> Self {
        let token = Some(token);
        Self { token, ..self }
    }

    /// Whether there is a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A derived form would show the client's private key.
        f.debug_struct("Credentials")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// The token in a file.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn token_in(path: &Path) -> Result<Secret, CredentialsError> {
    let text = fs::read_to_string(path).map_err(|source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, place: &str) -> Result<Secret, CredentialsError> {
    let parsed = text.trim().parse();
    parsed.map_err(|source| CredentialsError::Token {
        place: place.to_owned(),
        source,
    })
}

/// Connects to `urls` now: to one of them. The channel reconnects by itself when the connection breaks
/// later, to the next of them that answers.
///
/// # Errors
/// When `urls` holds something else than addresses, nothing answers at any of them within 5 seconds
/// each, or it is not trusted.
pub async fn connect(urls: &str, credentials: &Credentials) -> Result<Channel, ConnectError> {
    let (endpoint, failover) = endpoint(urls, credentials)?;
    let channel = endpoint.connect_with_connector(failover).await;
    let channel = channel.map_err(|source| {
        let url = urls.to_owned();
        if is_about_tls(&source) {
            ConnectError::Untrusted { url, source }
        } else {
            ConnectError::NoAnswer { url, source }
        }
    })?;
    Ok(Channel::new(channel, credentials))
}

/// A channel to one of `urls` that connects on first use and, after each break, to the next of them
/// that answers; until then its calls fail with `UNAVAILABLE`. Must be called within a tokio runtime.
///
/// # Errors
/// When `urls` holds something else than addresses, or the files of TLS are of no use.
pub fn connect_lazily(urls: &str, credentials: &Credentials) -> Result<Channel, ConnectError> {
    let (endpoint, failover) = endpoint(urls, credentials)?;
    let channel = endpoint.connect_with_connector_lazy(failover);
    Ok(Channel::new(channel, credentials))
}

impl Channel {
    fn new(channel: transport::Channel, credentials: &Credentials) -> Self {
        let bearer = credentials.token.as_ref().map(Secret::bearer);
        Self { channel, bearer }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        traces::send_on(request.headers_mut());
        Service::call(&mut self.channel, request)
    }
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
/// requests as the authority, whoever serves them, and under TLS every certificate must bear its name.
fn endpoint(urls: &str, credentials: &Credentials) -> Result<(Endpoint, Failover), ConnectError> {
    let none = || ConnectError::Address(urls.to_owned());
    let addresses: Vec<Uri> = urls.split(',').map(address).collect::<Result<_, _>>()?;
    let first = addresses.first().cloned().ok_or_else(none)?;
    let mut others = addresses.iter().skip(1);
    if others.any(|other| other.scheme() != first.scheme()) {
        return Err(none());
    }
    // Each address has its own time; what waits for all of them waits for their sum.
    let patience = CONNECT_TIMEOUT * u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let is_tls = first.scheme_str() == Some("https");
    let mut endpoint = Endpoint::from(first);
    if is_tls {
        let tls = endpoint.tls_config(credentials.tls.clone());
        endpoint = tls.map_err(ConnectError::Tls)?;
    }
    let endpoint = endpoint
        .connect_timeout(patience)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok((endpoint, Failover::new(addresses)))
}

fn address(url: &str) -> Result<Uri, ConnectError> {
    let parsed: Option<Uri> = url.trim().parse().ok();
    let is_service =
        |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    parsed
        .filter(is_service)
        .ok_or_else(|| ConnectError::Address(url.to_owned()))
}

/// Whether it was the handshake that failed: rustls calls whatever it does not believe invalid data.
fn is_about_tls(error: &transport::Error) -> bool {
    let mut sources = std::iter::successors(error.source(), |&source| source.source());
    sources.any(|source| {
        let io = source.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    })
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
        let error = connect(&url, &Credentials::default())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&url) && error.contains("temper up"),
            "{error}"
        );
    }

    #[test]
    fn breaks_of_the_connection_are_transient_and_answers_are_not() {
        let broken = Status::from_error(Box::new(io::Error::other("reset by peer")));
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
        let none = Credentials::default();
        for url in [
            "127.0.0.1:7070",
            "ftp://host:1",
            "",
            "http://host:1,",
            "http://host:1,other:2",
            "http://host:1,https://other:2",
        ] {
            assert!(
                matches!(connect(url, &none).await, Err(ConnectError::Address(_))),
                "{url}"
            );
            assert!(
                matches!(connect_lazily(url, &none), Err(ConnectError::Address(_))),
                "{url}"
            );
        }
    }
}
