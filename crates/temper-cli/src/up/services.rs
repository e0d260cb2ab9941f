//! The coordinator and the results service, in this process.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, anyhow};
use temper_core::catalog::Catalog;
use temper_service::{
    client::{self, Credentials},
    server::Server,
    stop::{Stop, Tasks},
};
use tokio::task::JoinHandle;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Args, folder::Folder};

const CONNECTIONS: u32 = 16;
/// How often checkpoints that nobody will resume from are deleted.
const JANITOR: Duration = Duration::from_mins(1);
const READY_POLL: Duration = Duration::from_millis(50);

type Service = JoinHandle<Option<anyhow::Result<()>>>;

/// Both services, running.
pub struct Services {
    coordinator: String,
    results: String,
    stop: Stop,
    tasks: Tasks,
    running: [(&'static str, Service); 2],
}

/// What the coordinator is told.
pub fn config(
    args: &Args,
    folder: &Folder,
    database_url: &str,
    catalog: Catalog,
) -> anyhow::Result<temper_coordinator::Config> {
    let objects = folder.objects();
    let objects = objects.to_str().with_context(|| {
        format!(
            "the data folder's path must be UTF-8: {}",
            objects.display()
        )
    })?;
    let lease = Duration::from_secs(args.lease);
    Ok(temper_coordinator::Config {
        database_url: database_url.to_owned(),
        connections: CONNECTIONS,
        object_store: format!("file://{objects}"),
        catalog,
        hub: temper_coordinator::hub()?,
        lease,
        heartbeat: lease / 3,
        janitor: JANITOR,
    })
}

impl Services {
    /// Binds both addresses and starts both services.
    pub async fn start(args: &Args, config: temper_coordinator::Config) -> anyhow::Result<Self> {
        let coordinator = Server::bind(args.listen_coordinator)
            .await
            .context("the coordinator (--listen-coordinator)")?;
        let results = Server::bind(args.listen_results)
            .await
            .context("the results service (--listen-results)")?;
        let urls = [&coordinator, &results].map(|server| format!("http://{}", server.address()));
        let stop = Stop::new();
        let tasks = Tasks::new(&stop);
        let results_config = temper_results::Config {
            database_url: config.database_url.clone(),
            connections: CONNECTIONS,
        };
        // Each ends with the stop, or ends the other by it.
        let coordinator = temper_coordinator::run(config, coordinator, stop.clone());
        let coordinator = tasks.spawn("coordinator", ending(coordinator, stop.clone()));
        let results = temper_results::run(results_config, results, stop.clone());
        let results = tasks.spawn("results", ending(results, stop.clone()));
        let running = [("coordinator", coordinator), ("results service", results)];
        let [coordinator, results] = urls;
        Ok(Self {
            coordinator,
            results,
            stop,
            tasks,
            running,
        })
    }

    /// The coordinator's URL.
    pub fn coordinator(&self) -> &str {
        &self.coordinator
    }

    /// The results service's URL.
    pub fn results(&self) -> &str {
        &self.results
    }

    /// Waits until both serve.
    pub async fn ready(&self) -> anyhow::Result<()> {
        for url in [&self.coordinator, &self.results] {
            // Health is told without a token.
            let channel = client::connect_lazily(url, &Credentials::default())?;
            let mut health = HealthClient::new(channel);
            // The socket is bound already: the call waits in its queue until the service is up.
            while !is_serving(health.check(HealthCheckRequest::default()).await) {
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    /// Waits until one of them has ended of itself.
    pub async fn ended(&self) {
        self.stop.graceful.cancelled().await;
    }

    /// Stops both; cuts when `signals` does. Says what ended a service before its time.
    pub async fn stop(self, signals: &Stop) -> anyhow::Result<()> {
        self.stop.gracefully();
        tokio::select! {
            ended = self.tasks.clone().finish() => ended?,
            () = signals.cut.cancelled() => {
                self.stop.now();
                self.tasks.finish().await?;
            }
        }
        for (name, service) in self.running {
            let ended = service.await.context("a service was aborted")?;
            ended
                .unwrap_or_else(|| Err(anyhow!("panicked")))
                .with_context(|| format!("the {name} failed"))?;
        }
        Ok(())
    }
}

async fn ending(
    service: impl Future<Output = anyhow::Result<()>>,
    stop: Stop,
) -> anyhow::Result<()> {
    let ended = service.await;
    stop.gracefully();
    ended
}

fn is_serving(
    answer: Result<tonic::Response<tonic_health::pb::HealthCheckResponse>, tonic::Status>,
) -> bool {
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}
