//! A gRPC server with what every one of Temper's has: a guard, health, reflection, a graceful stop.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use futures::StreamExt as _;
use tokio::net::TcpListener;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::{ServerTlsConfig, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::{pb, server::Builder};

use crate::{
    access::{Authenticate, Guard},
    metrics::{Collect, Metrics, calls::Calls},
    opening::Opening,
    stop::Stop,
    traces,
};

/// How long calls may go on after a graceful stop has begun.
const GRACE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Where to listen; flatten it into a binary's arguments.
#[derive(Debug, Clone, Copy, Args)]
pub struct Bind {
    /// Address to listen on; port 0 takes a free one
    #[arg(
        long,
        env = "TEMPER_LISTEN",
        default_value = "127.0.0.1:7070",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
}

/// A server that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: stop who holds it, or choose another (TEMPER_LISTEN)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A descriptor set that reflection cannot read.
    #[error("reflection cannot read the protocol's descriptors")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Certificate or key are none, or do not belong together.
    #[error("TLS cannot be set up from these files")]
    Tls(#[source] tonic::transport::Error),
    /// The transport broke.
    #[error("the server broke")]
    Transport(#[from] tonic::transport::Error),
}

/// A bound server that takes services, then serves them.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    tls: Option<ServerTlsConfig>,
    metrics: Option<Metrics>,
}

impl Server {
    /// Binds `address`. From now on connections queue up; they are answered once it serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            routes: Routes::builder(),
            names: Vec::new(),
            tls: None,
            metrics: None,
        })
    }

    /// The address that was bound: with its port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Speaks TLS alone, where there is a configuration of it.
    #[must_use]
    pub fn secured(self, tls: Option<ServerTlsConfig>) -> Self {
        Self { tls, ..self }
    }

    /// Tells metrics while it serves, where there is an address for them.
    #[must_use]
    pub fn measured(self, metrics: Option<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Asks `collector` too when metrics are read.
    #[must_use]
    pub fn collecting(mut self, collector: Arc<dyn Collect>) -> Self {
        self.metrics = self.metrics.map(|metrics| metrics.collecting(collector));
        self
    }

    /// Adds a generated service.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// Serves whom the guard lets in, until `stop`. Stage one: health says `NOT_SERVING`, nothing new is accepted, calls
    /// have 10 seconds to end (endless streams are expected to watch the token themselves). Stage
    /// two, or the end of the grace: it returns without them; they end with the runtime.
    ///
    /// # Errors
    /// When the descriptors, the files of TLS or the transport are broken.
    pub async fn serve(
        mut self,
        authenticate: Arc<dyn Authenticate>,
        stop: Stop,
    ) -> Result<(), ServeError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        self.routes.add_service(health);
        self.add_reflection()?;
        let (names, secured) = (self.names, self.tls.is_some());
        report(&reporter, &names, ServingStatus::Serving).await;
        tracing::info!(address = %self.address, services = ?names, tls = secured, "serving");
        if !secured && !self.address.ip().is_loopback() {
            tracing::warn!("tokens cross the network in plaintext: --tls-cert is not given");
        }
        let graceful = async {
            stop.graceful.cancelled().await;
            report(&reporter, &names, ServingStatus::NotServing).await;
        };
        let mut builder = tonic::transport::Server::builder();
        if let Some(tls) = self.tls {
            builder = builder.tls_config(tls).map_err(ServeError::Tls)?;
        }
        // An answer ends in a write of its own, its trailers, which must not wait for the client's
        // word that it has the rest: clients take 40 ms to say so.
        let incoming = TcpIncoming::from(self.listener)
            .with_nodelay(Some(true))
            .map(move |accepted| accepted.map(|stream| Opening::new(stream, secured)));
        let serving = builder
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .trace_fn(traces::of_call)
            .serve_with_incoming_shutdown(
                Calls(Guard::new(self.routes.routes().prepare(), authenticate)),
                incoming,
                graceful,
            );
        tokio::select! {
            served = serving => served?,
            () = stop.cut.cancelled() => {}
            () = told(self.metrics) => {}
            () = grace_over(&stop) => tracing::warn!("calls outlasted the grace and were cut"),
        }
        tracing::info!(address = %self.address, "stopped serving");
        Ok(())
    }

    fn add_reflection(&mut self) -> Result<(), ServeError> {
        let builder = || {
            let builder = Builder::configure()
                .register_encoded_file_descriptor_set(temper_proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
                .with_service_name("grpc.health.v1.Health")
                .with_service_name("grpc.reflection.v1.ServerReflection")
                .with_service_name("grpc.reflection.v1alpha.ServerReflection");
            // Only what is served here: the descriptors know every service of the package.
            self.names
                .iter()
                .fold(builder, |builder, &name| builder.with_service_name(name))
        };
        let (v1, v1alpha) = (builder().build_v1()?, builder().build_v1alpha()?);
        self.routes.add_service(v1).add_service(v1alpha);
        Ok(())
    }
}

async fn report(reporter: &HealthReporter, names: &[&str], status: ServingStatus) {
    // The empty name stands for the server as a whole.
    for name in names.iter().copied().chain([""]) {
        reporter.set_service_status(name, status).await;
    }
}

/// Tells metrics until dropped.
async fn told(metrics: Option<Metrics>) {
    match metrics {
        Some(metrics) => metrics.serve().await,
        None => std::future::pending().await,
    }
}

async fn grace_over(stop: &Stop) {
    stop.graceful.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
