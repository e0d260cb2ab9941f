//! KEDA's scaler, asked as KEDA asks: with no header, the token in the trigger's metadata.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use temper_core::access::Role;
use temper_proto::externalscaler::{
    GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient,
};
use temper_service::client::Channel;
use tonic::{Code, Status};

use crate::house::{Hand, House};

/// A scaler's client, and what its trigger says.
struct Keda {
    client: ExternalScalerClient<Channel>,
    scaled: ScaledObjectRef,
}

impl Keda {
    async fn new(house: &House, token: &str) -> anyhow::Result<Self> {
        let metadata = [
            ("scalerAddress", "lab-temper-coordinator.temper:7070"),
            ("deviceKind", "cpu"),
            ("tokenFromEnv", token),
        ];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Ok(Self {
            client: ExternalScalerClient::new(house.stranger().await?),
            scaled: ScaledObjectRef {
                name: "lab-temper-worker-cpu".to_owned(),
                namespace: "temper".to_owned(),
                scaler_metadata: metadata.map(owned).into(),
            },
        })
    }

    fn says(&mut self, key: &str, value: &str) {
        let metadata: &mut HashMap<_, _> = &mut self.scaled.scaler_metadata;
        metadata.insert(key.to_owned(), value.to_owned());
    }

    /// The metric, after its name and target have been asked for, and whether there is anything to do.
    async fn jobs(&mut self) -> Result<(i64, bool), Status> {
        let spec = self.client.get_metric_spec(self.scaled.clone()).await?;
        let spec = spec.into_inner().metric_specs.remove(0);
        assert_eq!((spec.target_size, spec.target_size_float), (1, 1.0));
        let request = GetMetricsRequest {
            scaled_object_ref: Some(self.scaled.clone()),
            metric_name: spec.metric_name,
        };
        let metrics = self.client.get_metrics(request).await?.into_inner();
        let value = &metrics.metric_values[0];
        let told = format!("{}", value.metric_value_float);
        assert_eq!(told, value.metric_value.to_string());
        let active = self.client.is_active(self.scaled.clone()).await?;
        Ok((value.metric_value, active.into_inner().result))
    }
}

#[tokio::test]
async fn scaler_counts_what_waits_and_what_is_held() -> anyhow::Result<()> {
    let house = House::open().await?;
    let secret = house.token(Role::Worker, "scaler").await?;
    let mut keda = Keda::new(&house, &secret).await?;
    ensure!(keda.jobs().await? == (0, false));
    let listening = keda.client.stream_is_active(keda.scaled.clone()).await?;
    let mut listening = listening.into_inner();
    let told = listening.message().await?.context("nothing told")?;
    ensure!(!told.result);

    house.submit("").await?;
    ensure!(keda.jobs().await? == (1, true));
    let told = listening.message().await?.context("nothing told")?;
    ensure!(told.result);
    let mut worker = Hand::register(&house, "worker").await?;
    let job = worker.lease().await?;
    ensure!(keda.jobs().await? == (1, true));
    worker
        .report(&job.lease.clone().unwrap_or_default(), &[0, 1])
        .await?;
    worker.complete(&job, b"model").await?;
    // Its evaluation, for which any device does.
    ensure!(keda.jobs().await? == (1, true));
    keda.says("deviceKind", "cuda");
    ensure!(keda.jobs().await? == (1, true));
    drop(listening);
    house.close().await
}

#[tokio::test]
async fn scaler_answers_nobody_without_a_token_and_names_what_is_wrong() -> anyhow::Result<()> {
    let house = House::open().await?;
    for token in ["", "temper_wrong"] {
        let mut keda = Keda::new(&house, token).await?;
        // Strangers do not learn what is wrong beside it.
        keda.says("klass", "class=a100");
        let refused = keda.jobs().await.err().context("let in")?;
        ensure!(refused.code() == Code::Unauthenticated, "{refused:?}");
    }
    let stranger = ScaledObjectRef::default();
    let mut client = ExternalScalerClient::new(house.stranger().await?);
    let refused = client.is_active(stranger).await.err().context("let in")?;
    ensure!(refused.code() == Code::Unauthenticated, "{refused:?}");

    let secret = house.token(Role::Viewer, "scaler").await?;
    let mut keda = Keda::new(&house, &secret).await?;
    ensure!(!format!("{:?}", keda.scaled).contains(&secret));
    let request = GetMetricsRequest {
        scaled_object_ref: Some(keda.scaled.clone()),
        metric_name: "s0-jobs".to_owned(),
    };
    let refused = keda.client.get_metrics(request).await.err();
    let refused = refused.context("answered")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    ensure!(refused.message().contains("metric_name"), "{refused:?}");
    keda.says("klass", "class=a100");
    let refused = keda.jobs().await.err().context("answered")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    ensure!(refused.message().contains("klass"), "{refused:?}");
    house.close().await
}
