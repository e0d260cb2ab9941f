//! The short form of `make e2e-hosts`.

use temper_e2e::{
    chaos::Against,
    hosts::{self, Plan, network},
};

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_cut_off_and_lost_cost_no_job() -> anyhow::Result<()> {
    if let Some(reason) = network::impossible() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let report = hosts::run(Plan::short(), Against::Truth).await?;
    println!("{report}");
    report.verdict()
}
