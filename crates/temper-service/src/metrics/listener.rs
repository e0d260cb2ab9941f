//! The address where metrics are read.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse as _, Response},
    routing::get,
    serve::Listener,
};
use futures::future::{BoxFuture, join_all};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use metrics_exporter_prometheus::PrometheusHandle;
use subtle::ConstantTimeEq as _;
use temper_core::Digest;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time};

use super::MetricsError;

/// The text that Prometheus reads (its exposition format, version 0.0.4).
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long what is asked for at a scrape may take: Prometheus waits 10 s.
const PATIENCE: Duration = Duration::from_secs(8);
/// Connections at a time; more wait until one ends. Each scraper needs one, and whoever has no token cannot
/// take from the calls that the process is there for more than these.
const CONNECTIONS: usize = 32;
/// How long a client may take to ask, on a fresh connection and on one that it keeps.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a connection lasts, whatever its client does: one that asks and never reads would not end.
const TURN: Duration = Duration::from_mins(5);
/// How often samples of histograms are counted where nobody reads them: they pile up until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// Brings gauges up to date when they are about to be read.
pub trait Collect: Send + Sync + 'static {
    /// Sets them. What cannot be known is set to what says so; it is no error.
    fn collect(&self) -> BoxFuture<'_, ()>;
}

/// A bound address that metrics will be told at.
pub struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
    told: Told,
}

/// What a scrape needs.
#[derive(Clone)]
struct Told {
    token: Option<Digest>,
    registry: PrometheusHandle,
    collectors: Vec<Arc<dyn Collect>>,
}

impl Metrics {
    pub(super) async fn bind(
        address: SocketAddr,
        token: Option<Digest>,
        registry: PrometheusHandle,
    ) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let told = Told {
            token,
            registry,
            collectors: Vec::new(),
        };
        Ok(Self {
            listener,
            address,
            told,
        })
    }

    /// The address that was bound: with its port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks `collector` too at each scrape.
    #[must_use]
    pub fn collecting(mut self, collector: Arc<dyn Collect>) -> Self {
        self.told.collectors.push(collector);
        self
    }

    /// Tells metrics until it is dropped.
    pub async fn serve(self) {
        tracing::info!(address = %self.address, token = self.told.token.is_some(), "telling metrics");
        let registry = self.told.registry.clone();
        let routes = Router::new()
            .route("/metrics", get(scrape))
            .with_state(self.told);
        tokio::select! {
            () = listen(self.listener, routes) => {}
            () = keep_up(&registry) => {}
        }
    }
}

/// Does not end. Connections end with it.
async fn listen(mut listener: TcpListener, routes: Router) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let service = TowerToHyperService::new(routes);
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE);
    let mut connections = JoinSet::new();
    // It is never closed.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        // That of axum, which goes on where a connection cannot be had.
        let (stream, client) = Listener::accept(&mut listener).await;
        while connections.try_join_next().is_some() {}
        let (http, service) = (http.clone(), service.clone());
        connections.spawn(async move {
            let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
            let mut served = time::timeout(TURN, connection.as_mut()).await;
            if served.is_err() {
                // A scrape that is under way is not cut.
                connection.as_mut().graceful_shutdown();
                served = time::timeout(PATIENCE, connection).await;
            }
            if !matches!(served, Ok(Ok(()))) {
                tracing::debug!(%client, ?served, "a reader of metrics went away");
            }
            drop(seat);
        });
    }
}

/// Does not end.
async fn keep_up(registry: &PrometheusHandle) {
    let mut ticks = time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        registry.run_upkeep();
    }
}

async fn scrape(State(told): State<Told>, headers: HeaderMap) -> Response {
    if !told.admits(&headers) {
        let challenge = [(WWW_AUTHENTICATE, "Bearer")];
        let advice =
            "metrics want the token of TEMPER_METRICS_TOKEN_FILE: authorization: Bearer …\n";
        return (StatusCode::UNAUTHORIZED, challenge, advice).into_response();
    }
    let collected = join_all(told.collectors.iter().map(|collector| collector.collect()));
    // Those that are late keep their last values; the others are up to date.
    if time::timeout(PATIENCE, collected).await.is_err() {
        tracing::warn!("metrics are read, and what they come from does not answer");
    }
    ([(CONTENT_TYPE, TEXT)], told.registry.render()).into_response()
}

impl Told {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = self.token else { return true };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let given = given.and_then(|value| value.split_at_checked(SCHEME.len()));
        let Some((scheme, given)) = given else {
            return false;
        };
        let digest = Digest::of(given);
        // All bytes are looked at, whatever the first is.
        let is_same: bool = digest.as_bytes().ct_eq(token.as_bytes()).into();
        scheme.eq_ignore_ascii_case(SCHEME) && is_same
    }
}

const SCHEME: &[u8] = b"Bearer ";
