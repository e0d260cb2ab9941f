//! Catalog entries without digests: looked up on the hub when a sweep is created.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use temper_coordinator::{Config, run};
use temper_core::{access::Role, catalog::Catalog};
use temper_hub::{
    Hub, HubConfig, RepoKind,
    testing::{FakeFile, FakeHub},
};
use temper_proto::v1::{self, sweep_service_client::SweepServiceClient};
use temper_service::{
    access::Secret,
    client::{Channel, Credentials, connect},
    server::Server,
    stop::Stop,
};
use temper_store::{Actor, NewToken, testing::Database};
use tonic::{Code, Status};

const MODEL: &str = "timm/resnet50.a1_in1k";
const DATASET: &str = "bentrevett/caltech-ucsd-birds-200-2011";

/// A coordinator that asks the hub of `config`, until dropped.
struct House {
    stop: Stop,
    client: SweepServiceClient<Channel>,
    _database: Database,
    _objects: tempfile::TempDir,
}

impl House {
    async fn open(config: HubConfig) -> anyhow::Result<Self> {
        let database = Database::new().await?;
        let objects = tempfile::tempdir()?;
        let lease = Duration::from_secs(30);
        let config = Config {
            database_url: database.url().to_owned(),
            connections: 4,
            object_store: format!("file://{}", objects.path().display()),
            catalog: Catalog::built_in()?,
            hub: Hub::new(config),
            lease,
            heartbeat: lease / 3,
            janitor: Duration::from_mins(1),
        };
        let server = Server::bind("127.0.0.1:0".parse()?).await?;
        let url = format!("http://{}", server.address());
        let stop = Stop::new();
        tokio::spawn(run(config, server, stop.clone()));
        let secret = Secret::generate()?;
        let token = NewToken::new("tester", Role::Submitter, secret.digest());
        let actor = Actor::at_database("test");
        database.store().token_create(&actor, token).await?;
        let credentials = Credentials::default().with_token(secret);
        Ok(Self {
            client: SweepServiceClient::new(connect(&url, &credentials).await?),
            stop,
            _database: database,
            _objects: objects,
        })
    }

    async fn submit(&self, models: &[&str], datasets: &[&str]) -> Result<v1::Sweep, Status> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let kind = Some(v1::schedule::Kind::Fixed(v1::schedule::Fixed {}));
        let spec = v1::SweepSpec {
            models: owned(models),
            datasets: owned(datasets),
            schedules: vec![v1::Schedule { kind }],
            target_epsilons: vec!["4/255".to_owned()],
            seeds: vec![0],
            ..v1::SweepSpec::default()
        };
        let request = v1::CreateSweepRequest {
            sweep: Some(v1::Sweep {
                spec: Some(spec),
                ..v1::Sweep::default()
            }),
            ..v1::CreateSweepRequest::default()
        };
        let mut client = self.client.clone();
        let sweep = client.create_sweep(request).await?.into_inner();
        let request = v1::GetSweepRequest { name: sweep.name };
        client
            .get_sweep(request)
            .await
            .map(tonic::Response::into_inner)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.now();
    }
}

fn shards(content: &'static [u8]) -> Vec<FakeFile> {
    [
        "train-00001-of-00002",
        "train-00000-of-00002",
        "test-00000-of-00001",
    ]
    .map(|name| FakeFile::lfs(&format!("data/{name}.parquet"), content))
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_becomes_the_commit_of_the_moment_and_the_sweep_keeps_it() -> anyhow::Result<()> {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let weights = |content: &'static [u8]| vec![FakeFile::lfs("model.safetensors", content)];
    let first = hub.add(RepoKind::Model, MODEL, weights(b"first weights"));
    let images = hub.add(RepoKind::Dataset, DATASET, shards(b"images"));
    let house = House::open(hub.config(cache.path())).await?;
    let sweep = house
        .submit(&["resnet50", "mobilenetv2"], &["cub200"])
        .await?;
    let commits = |sweep: &v1::Sweep| {
        let inputs = sweep.inputs.iter();
        inputs
            .map(|input| (input.name.clone(), input.commit.clone()))
            .collect::<Vec<_>>()
    };
    let expected = [
        ("resnet50", first.as_str()),
        ("mobilenetv2", ""),
        ("cub200", images.as_str()),
    ];
    ensure!(commits(&sweep) == expected.map(|(name, commit)| (name.into(), commit.into())));
    // Large files are known by their digest: the same bytes in another commit are the same jobs.
    let digest = temper_core::Digest::of(b"first weights").to_string();
    ensure!(sweep.inputs[0].digest == digest, "{sweep:?}");
    ensure!(sweep.jobs_created == 4, "{sweep:?}");
    let again = house.submit(&["resnet50"], &["cub200"]).await?;
    ensure!(again.jobs_created == 0, "{again:?}");

    let second = hub.add(RepoKind::Model, MODEL, weights(b"second weights"));
    let moved = house.submit(&["resnet50"], &["cub200"]).await?;
    ensure!(commits(&moved)[0].1 == second && second != first);
    ensure!(moved.jobs_created == 2, "{moved:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_an_unpinned_entry_is_a_failed_precondition_that_says_how_to_pin()
-> anyhow::Result<()> {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let config = HubConfig {
        offline: true,
        ..hub.config(cache.path())
    };
    let house = House::open(config).await?;
    let refused = house.submit(&["swin-base"], &["cub200"]).await;
    let refused = refused.err().context("it was taken")?;
    ensure!(refused.code() == Code::FailedPrecondition, "{refused:?}");
    for part in [
        "temper catalog pin swin-base",
        "temper catalog pin cub200",
        "HF_HUB_OFFLINE",
    ] {
        ensure!(
            refused.message().contains(part),
            "{part}: {}",
            refused.message()
        );
    }
    ensure!(hub.seen().is_empty(), "{:?}", hub.seen());
    // Mistakes in the spec come first.
    let refused = house.submit(&["swin-base", "no-such"], &["cub200"]).await;
    ensure!(refused.err().map(|status| status.code()) == Some(Code::InvalidArgument));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_lacks_the_file_is_named() -> anyhow::Result<()> {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir()?);
    let files = vec![FakeFile::git("README.md", "no weights")];
    let _commit = hub.add(RepoKind::Model, MODEL, files);
    let house = House::open(hub.config(cache.path())).await?;
    let refused = house.submit(&["resnet50"], &["fashion-mnist"]).await;
    let refused = refused.err().context("it was taken")?;
    ensure!(refused.code() == Code::FailedPrecondition, "{refused:?}");
    for part in [MODEL, "model.safetensors"] {
        ensure!(
            refused.message().contains(part),
            "{part}: {}",
            refused.message()
        );
    }
    Ok(())
}
