//! What a refusal says, over the wire: every field that is wrong, once, and no more than a client takes.

use anyhow::{Context as _, ensure};
use temper_core::access::Role;
use temper_proto::v1::{
    self, admin_service_client::AdminServiceClient, job_service_client::JobServiceClient,
    sweep_service_client::SweepServiceClient,
};
use tonic::{Code, Response, Status};
use tonic_types::{FieldViolation, StatusExt as _};

use crate::house::{Hand, House};

/// A request of which nothing is wrong.
fn sound() -> v1::CreateSweepRequest {
    let kind = Some(v1::schedule::Kind::Fixed(v1::schedule::Fixed {}));
    let spec = v1::SweepSpec {
        models: vec!["mobilenetv2".to_owned()],
        datasets: vec!["fashion-mnist".to_owned()],
        schedules: vec![v1::Schedule { kind }],
        target_epsilons: vec!["2/255".to_owned()],
        seeds: vec![0],
        ..v1::SweepSpec::default()
    };
    v1::CreateSweepRequest {
        sweep: Some(v1::Sweep {
            spec: Some(spec),
            ..v1::Sweep::default()
        }),
        ..v1::CreateSweepRequest::default()
    }
}

async fn create(house: &House, request: v1::CreateSweepRequest) -> Result<v1::Sweep, Status> {
    let mut client = SweepServiceClient::new(house.channel.clone());
    client.create_sweep(request).await.map(Response::into_inner)
}

fn violations(status: &Status) -> Vec<FieldViolation> {
    let request = status.get_details_bad_request();
    request.map_or(Vec::new(), |request| request.field_violations)
}

/// The fields that a refusal blames.
fn fields(status: &Status) -> Vec<String> {
    let violations = violations(status).into_iter();
    violations.map(|violation| violation.field).collect()
}

#[tokio::test]
async fn request_with_five_wrong_fields_gets_exactly_these_five_violations() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut request = sound();
    request.request_id = "not a uuid".to_owned();
    let sweep = request.sweep.as_mut().context("a sweep")?;
    sweep.priority = 5000;
    let spec = sweep.spec.as_mut().context("a spec")?;
    spec.models.push("resnet9000".to_owned());
    spec.target_epsilons.push("1/0".to_owned());
    spec.training = Some(v1::TrainingSettings {
        dropout: f64::NAN,
        ..v1::TrainingSettings::default()
    });
    let refused = create(&house, request).await.err().context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    let mut blamed = fields(&refused);
    blamed.sort();
    let expected = [
        "request_id",
        "sweep.priority",
        "sweep.spec.models[1]",
        "sweep.spec.target_epsilons[1]",
        "sweep.spec.training.dropout",
    ];
    ensure!(blamed == expected, "{blamed:?}");
    ensure!(create(&house, sound()).await.is_ok());
    house.close().await
}

#[tokio::test]
async fn numbers_that_no_cell_takes_must_be_finite_too() -> anyhow::Result<()> {
    let house = House::open().await?;
    let cells = v1::CellMatch {
        seeds: vec![1],
        ..v1::CellMatch::default()
    };
    let rule = |rate: f64| v1::Override {
        cells: Some(cells.clone()),
        learning_rate: Some(rate),
        ..v1::Override::default()
    };
    // Of cells that are excluded, and of such that take what the next rule says.
    for (exclude, overrides) in [
        (vec![cells.clone()], vec![rule(f64::NAN)]),
        (Vec::new(), vec![rule(f64::INFINITY), rule(0.1)]),
    ] {
        let mut request = sound();
        let sweep = request.sweep.as_mut().context("a sweep")?;
        let spec = sweep.spec.as_mut().context("a spec")?;
        spec.seeds = vec![0, 1];
        (spec.exclude, spec.overrides) = (exclude, overrides);
        let refused = create(&house, request).await.err().context("accepted")?;
        ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
        let blamed = fields(&refused);
        ensure!(
            blamed == ["sweep.spec.overrides[0].learning_rate"],
            "{blamed:?}"
        );
    }
    house.close().await
}

#[tokio::test]
async fn what_is_wrong_with_a_long_request_still_reaches_the_client() -> anyhow::Result<()> {
    let house = House::open().await?;
    let name = "m".repeat(1 << 20);
    let mut request = sound();
    let sweep = request.sweep.as_mut().context("a sweep")?;
    sweep.labels.insert(name.clone(), String::new());
    let spec = sweep.spec.as_mut().context("a spec")?;
    spec.models.push(name.clone());
    spec.seeds = vec![7; 1_000_000];
    let refused = create(&house, request).await.err().context("accepted")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    let told = fields(&refused);
    ensure!(told.contains(&"sweep.spec.seeds[1]".to_owned()), "{told:?}");
    let last = violations(&refused).pop().context("none")?;
    ensure!(
        last.field.is_empty() && last.description.contains("more"),
        "{last:?}"
    );

    let mut sweeps = SweepServiceClient::new(house.channel.clone());
    let refused = sweeps
        .get_sweep(v1::GetSweepRequest { name: name.clone() })
        .await;
    let refused = refused.err().context("found")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    let mut jobs = JobServiceClient::new(house.channel.clone());
    let refused = jobs.get_job(v1::GetJobRequest { name }).await;
    let refused = refused.err().context("found")?;
    ensure!(fields(&refused) == ["name"], "{refused:?}");
    house.close().await
}

#[tokio::test]
async fn texts_that_cannot_be_stored_are_the_callers_mistake() -> anyhow::Result<()> {
    let house = House::open().await?;
    let nul = || "a\0b".to_owned();
    let mut request = sound();
    let sweep = request.sweep.as_mut().context("a sweep")?;
    sweep.display_name = nul();
    sweep.labels.insert("paper".to_owned(), nul());
    let refused = create(&house, request).await.err().context("accepted")?;
    let blamed = fields(&refused);
    ensure!(
        blamed == ["sweep.display_name", "sweep.labels[paper]"],
        "{blamed:?}"
    );

    let mut sweeps = SweepServiceClient::new(house.channel.clone());
    let everything = v1::ListSweepsRequest::default;
    for request in [
        v1::ListSweepsRequest {
            owner: nul(),
            ..everything()
        },
        v1::ListSweepsRequest {
            model: nul(),
            ..everything()
        },
        v1::ListSweepsRequest {
            labels: [(nul(), nul())].into(),
            ..everything()
        },
    ] {
        let refused = sweeps.list_sweeps(request).await.err().context("listed")?;
        ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    }
    let mut admin = AdminServiceClient::new(house.channel_of(Role::Admin, "root").await?);
    let request = v1::ListAuditRequest {
        actor: nul(),
        ..v1::ListAuditRequest::default()
    };
    let refused = admin.list_audit(request).await.err().context("listed")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    house.close().await
}

#[tokio::test]
async fn worker_that_tells_what_cannot_be_stored_is_not_registered() -> anyhow::Result<()> {
    let house = House::open().await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let refused = worker
        .register_again("two\0words")
        .await
        .err()
        .context("taken")?;
    ensure!(refused.to_string().contains("NUL"), "{refused:?}");
    // So long that the database could not tell when it is over, in any claim.
    let centuries = prost_types::Duration {
        seconds: 200_000_000_000,
        nanos: 0,
    };
    let request = v1::RegisterRequest {
        incarnation: worker.incarnation.clone(),
        worker: "worker".to_owned(),
        device: "cpu".to_owned(),
        result_versions: vec![temper_core::spec::RESULT_VERSION],
        checkpoint_interval: Some(centuries),
        ..v1::RegisterRequest::default()
    };
    let refused = worker.client.register(request).await;
    let refused = refused.err().context("taken")?;
    ensure!(fields(&refused) == ["checkpoint_interval"], "{refused:?}");
    house.close().await
}

#[tokio::test]
async fn what_a_worker_says_of_its_job_in_odd_characters_is_taken_or_refused_but_no_defect()
-> anyhow::Result<()> {
    let house = House::open().await?;
    house.submit("").await?;
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    let lease = job.lease.clone().context("a lease")?;
    let checkpoint = v1::Checkpoint {
        step: 1,
        path: format!("{}/{}/{}", job.key, lease.fence, "x".repeat(5000)),
        sha256: temper_core::Digest::of(b"state").to_string(),
        ..v1::Checkpoint::default()
    };
    let request = v1::RegisterCheckpointRequest {
        lease: job.lease.clone(),
        checkpoint: Some(checkpoint),
    };
    let refused = worker.client.register_checkpoint(request).await;
    let refused = refused.err().context("taken")?;
    ensure!(fields(&refused) == ["checkpoint.path"], "{refused:?}");
    let line = v1::LogLine {
        level: v1::LogLevel::Info.into(),
        // Before the first year that there was.
        time: Some(prost_types::Timestamp {
            seconds: -8_000_000_000_000,
            nanos: 0,
        }),
        ..v1::LogLine::default()
    };
    let request = v1::ReportLogsRequest {
        lease: job.lease.clone(),
        first_line: 1,
        lines: vec![line],
    };
    let refused = worker
        .client
        .report_logs(request)
        .await
        .err()
        .context("taken")?;
    ensure!(fields(&refused) == ["lines[0].time"], "{refused:?}");
    // What happened must be told whatever it holds.
    let request = v1::FailRequest {
        lease: job.lease.clone(),
        failure_class: v1::FailureClass::BadInput.into(),
        message: "no file `a\0b`".to_owned(),
        ..v1::FailRequest::default()
    };
    worker.client.fail(request).await?;
    let told = house.job(&lease.job).await?.message;
    ensure!(told.ends_with("no file `a\u{fffd}b`"), "{told}");
    house.close().await
}
