//! Peers of another release: what the protocol has come to have since is lost between a real coordinator and a
//! real worker, in both directions, so that each of them is the older one to the other.

use std::time::Duration;

use temper_core::access::Role;
use temper_e2e::{
    chaos::{
        self, Against, Settings,
        cluster::{Cluster, Size},
        look::Look,
    },
    processes::{self, Trainer},
    relay::{self, Relay},
};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_know_the_committed_protocol_alone_run_a_sweep() -> anyhow::Result<()> {
    let settings = Settings {
        cells: 2,
        epochs: 2,
        size: Size {
            // The worker is ours: its line is another one.
            workers: 0,
            coordinators: 1,
            // Nobody dies: a busy machine must not make it look so.
            lease: Duration::from_mins(1),
            trainer: Trainer::Real,
        },
        ..Settings::short(0).calm()
    };
    let alone = Settings {
        size: Size {
            workers: 1,
            ..settings.size
        },
        ..settings
    };
    let reference = chaos::calm(alone).await?;
    let news = relay::news(&relay::baseline()?)?;
    println!("since the baseline: {} ({})", news.len(), news.join(" "));
    let cluster = Cluster::start(settings.size).await?;
    let line = Relay::start(cluster.address(0)).await?;
    let token = processes::token(&cluster.store, Role::Worker).await?;
    let worker = processes::Worker {
        name: "elsewhere",
        trainer: Trainer::Real,
        coordinators: &format!("http://{}", line.address),
        token: &token,
    };
    let mut command = Command::new(Trainer::Real.program()?);
    worker.equip(&mut command, cluster.folder());
    let log = cluster.folder().join("elsewhere.log");
    let _worker = processes::launch(command, cluster.folder(), &log)?;

    chaos::submit(&cluster, settings).await?;
    Look(&cluster.store).wait_ended(4).await?;
    let (tables, findings) = chaos::judge(
        &cluster.store,
        &cluster.objects(),
        settings.jobs(),
        Against::Run(&reference),
    )
    .await?;
    findings.verdict()?;
    anyhow::ensure!(tables.attempts.len() == 4, "{:?}", tables.attempts);
    cluster.stop(true).await
}
