//! The short form of `make chaos`.

use temper_e2e::chaos::{self, Against, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn hurt_cluster_has_the_one_right_result_of_every_job() -> anyhow::Result<()> {
    let (report, _) = chaos::run(Settings::short(1), Against::Truth).await?;
    println!("{report}");
    // More is planned: on a slow machine the work may end before all of it is done.
    report.verdict(&[
        ("worker_kills", 1),
        ("coordinator_kills", 1),
        ("pg_restarts", 1),
        ("stops", 1),
        ("late_refused", 1),
    ])
}
