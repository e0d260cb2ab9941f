//! Everything that a person can do with grpcurl and no .proto file.

use anyhow::ensure;
use temper_e2e::{Grpcurl, Options, System, sweeps};
use temper_proto::{to_json, v1};

#[tokio::test]
async fn a_sweep_runs_from_submission_to_curves_with_grpcurl_alone() -> anyhow::Result<()> {
    let mut system = System::start(Options::default()).await?;
    let coordinator = Grpcurl::new(&system.coordinator, &system.token())?;
    let results = Grpcurl::new(&system.results, &system.token())?;
    // Even to who has no token.
    the_servers_describe_themselves(&coordinator.clone().anonymous(), &results).await?;
    let refused = coordinator.clone().anonymous();
    let refused = refused
        .call("temper.v1.SweepService/ListSweeps", "{}")
        .await;
    let refused = refused.err().map(|error| error.to_string());
    ensure!(
        refused
            .as_ref()
            .is_some_and(|said| said.contains("Unauthenticated")),
        "{refused:?}"
    );
    let request = to_json(&sweeps::tiny([0, 1]))?;
    let created = coordinator
        .call("temper.v1.SweepService/CreateSweep", &request)
        .await?;
    let created: serde_json::Value = serde_json::from_str(&created)?;
    let name = created["name"].as_str().unwrap_or_default();
    ensure!(
        created["cells"] == 2 && created["jobsCreated"] == 4,
        "{created}"
    );

    let by_name = format!(r#"{{"name": "{name}"}}"#);
    let watched = coordinator
        .call("temper.v1.SweepService/WatchSweep", &by_name)
        .await?;
    ensure!(watched.contains("SWEEP_STATE_SUCCEEDED"), "{watched}");
    ensure!(
        watched.contains("validationAccuracy"),
        "epochs are told: {watched}"
    );
    let got = coordinator
        .call("temper.v1.SweepService/GetSweep", &by_name)
        .await?;
    ensure!(
        got.contains("SWEEP_STATE_SUCCEEDED") && got.contains("\"2/255\""),
        "{got}"
    );

    let by_sweep = format!(r#"{{"sweep": "{name}"}}"#);
    let curves = results
        .call("temper.v1.ResultsService/AggregateCurves", &by_sweep)
        .await?;
    let curves: serde_json::Value = serde_json::from_str(&curves)?;
    let group = &curves["groups"][0];
    ensure!(
        group["count"] == 2 && group["expectedCount"] == 2,
        "{curves}"
    );
    ensure!(
        group["points"].as_array().map(Vec::len) == Some(3),
        "{curves}"
    );
    system.stop().await
}

async fn the_servers_describe_themselves(
    coordinator: &Grpcurl,
    results: &Grpcurl,
) -> anyhow::Result<()> {
    let services = coordinator.run(&["list"]).await?;
    for service in [
        "SweepService",
        "JobService",
        "WorkerService",
        "AdminService",
    ] {
        ensure!(
            services.contains(&format!("temper.v1.{service}")),
            "{services}"
        );
    }
    ensure!(
        results
            .run(&["list"])
            .await?
            .contains("temper.v1.ResultsService")
    );
    let described = coordinator
        .run(&["describe", "temper.v1.SweepSpec"])
        .await?;
    ensure!(described.contains("target_epsilons"), "{described}");
    let health = coordinator
        .call("grpc.health.v1.Health/Check", "{}")
        .await?;
    ensure!(health.contains("SERVING"), "{health}");
    Ok(())
}

#[tokio::test]
async fn five_mistakes_are_five_field_violations() -> anyhow::Result<()> {
    let mut system = System::start(Options::default()).await?;
    let mut request = sweeps::tiny([0]);
    let spec = sweeps::spec(&mut request);
    spec.models = vec!["resnet9000".to_owned()];
    spec.target_epsilons = vec!["four".to_owned()];
    spec.seeds = vec![1, 1];
    spec.schedules = vec![v1::Schedule::default()];
    spec.training.get_or_insert_default().epochs = Some(0);
    let answer = Grpcurl::new(&system.coordinator, &system.token())?
        .call("temper.v1.SweepService/CreateSweep", &to_json(&request)?)
        .await;
    let said = answer
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(said.contains("InvalidArgument"), "{said}");
    for field in [
        "models[0]",
        "target_epsilons[0]",
        "seeds[1]",
        "schedules[0]",
        "training.epochs",
    ] {
        ensure!(
            said.contains(&format!("sweep.spec.{field}")),
            "{field} is missing in {said}"
        );
    }
    ensure!(said.matches("sweep.spec.").count() == 5, "{said}");

    let paper = std::fs::read_to_string(temper_e2e::checkout().join("examples/paper.json"))?;
    let answer = Grpcurl::new(&system.coordinator, &system.token())?
        .call("temper.v1.SweepService/CreateSweep", &paper)
        .await;
    let said = answer
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(
        said.contains("swin-base") && said.contains("stanford-cars"),
        "{said}"
    );
    system.stop().await
}
