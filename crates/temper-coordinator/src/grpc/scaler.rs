//! What KEDA asks of an external scaler: how many workers of a class have something to do.
//!
//! The metric counts what waits and what is held, because KEDA takes away the pods that run from what it is
//! told (the `default` strategy of a `ScaledJob`).

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use temper_core::{Violations, placement::DeviceKind};
use temper_proto::externalscaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef, external_scaler_server::ExternalScaler,
};
use temper_service::{
    access::carried,
    status::{bad_field, bad_request},
};
use tokio::time;
use tonic::{Extensions, Request, Response, Status};

use super::refused;
use crate::{Shared, submit::check_labels};

/// The one metric.
const JOBS: &str = "jobs";
/// How often a stream looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a stream lasts: whoever listens comes back, with a token that is good still.
const STREAM: Duration = Duration::from_mins(10);

const FIELD: &str = "scaled_object_ref.scaler_metadata";
const TOKEN: &str = "tokenFromEnv";
const DEVICE_KIND: &str = "deviceKind";
const LABELS: &str = "labels";
/// What KEDA itself reads.
const OTHERS: [&str; 4] = ["scalerAddress", "enableTLS", "unsafeSsl", "tlsCertFile"];

/// `externalscaler.ExternalScaler`.
pub struct Scaler(pub Arc<Shared>);

/// Workers that are alike.
#[derive(Debug, PartialEq, Eq)]
struct Class {
    device_kind: DeviceKind,
    labels: BTreeMap<String, String>,
}

impl Scaler {
    /// The class of workers that somebody asks about who may.
    async fn class(
        &self,
        extensions: &Extensions,
        scaled: Option<&ScaledObjectRef>,
    ) -> Result<Class, Status> {
        let metadata = scaled.map(|scaled| &scaled.scaler_metadata);
        let token = metadata.and_then(|metadata| metadata.get(TOKEN));
        carried(extensions, token.map(String::as_str)).await?;
        let none = HashMap::new();
        class(metadata.unwrap_or(&none)).map_err(|violations| bad_request(&violations))
    }

    /// Jobs that workers of the class hold, and those that they could take.
    async fn jobs(&self, class: &Class) -> Result<u64, Status> {
        let demand = self.0.store.demand(class.device_kind, &class.labels);
        let demand = demand.await.map_err(refused)?;
        Ok(demand.queued + demand.leased)
    }
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let class = self.class(request.extensions(), Some(request.get_ref()));
        let result = self.jobs(&class.await?).await? > 0;
        Ok(Response::new(IsActiveResponse { result }))
    }

    type StreamIsActiveStream =
        Pin<Box<dyn Stream<Item = Result<IsActiveResponse, Status>> + Send>>;

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let class = self.class(request.extensions(), Some(request.get_ref()));
        let watch = (Self(Arc::clone(&self.0)), class.await?, None);
        let stop = self.0.stop.graceful.clone();
        let changes = stream::try_unfold(watch, |(scaler, class, last)| async move {
            loop {
                let now = scaler.jobs(&class).await? > 0;
                if last != Some(now) {
                    let told = IsActiveResponse { result: now };
                    return Ok(Some((told, (scaler, class, Some(now)))));
                }
                time::sleep(INTERVAL).await;
            }
        });
        let end = async move {
            // With the coordinator: whoever listens asks another one.
            let _ = time::timeout(STREAM, stop.cancelled()).await;
        };
        let changes = changes.take_until(end);
        Ok(Response::new(Box::pin(changes)))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let class = self.class(request.extensions(), Some(request.get_ref()));
        class.await?;
        let spec = MetricSpec {
            metric_name: JOBS.to_owned(),
            target_size: 1,
            target_size_float: 1.0,
        };
        let metric_specs = vec![spec];
        Ok(Response::new(GetMetricSpecResponse { metric_specs }))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let scaled = request.get_ref().scaled_object_ref.as_ref();
        let class = self.class(request.extensions(), scaled).await?;
        if request.get_ref().metric_name != JOBS {
            let message = format!("the one metric is `{JOBS}`");
            return Err(bad_field("metric_name", message));
        }
        let jobs = self.jobs(&class).await?;
        #[expect(clippy::cast_precision_loss, reason = "the protocol's width")]
        let value = MetricValue {
            metric_name: JOBS.to_owned(),
            metric_value: i64::try_from(jobs).unwrap_or(i64::MAX),
            metric_value_float: jobs as f64,
        };
        let metric_values = vec![value];
        Ok(Response::new(GetMetricsResponse { metric_values }))
    }
}

/// The class that a trigger's metadata names. A key that nobody knows is a mistake in another one.
fn class(metadata: &HashMap<String, String>) -> Result<Class, Violations> {
    let mut violations = Violations::default();
    let known = [TOKEN, DEVICE_KIND, LABELS];
    let mut unknown: Vec<_> = metadata.keys().map(String::as_str).collect();
    unknown.retain(|key| !known.contains(key) && !OTHERS.contains(key));
    unknown.sort_unstable();
    for key in unknown {
        let message = format!("is not known; {DEVICE_KIND}, {LABELS} and {TOKEN} are");
        violations.add(format!("{FIELD}.{key}"), message);
    }
    let kind = metadata.get(DEVICE_KIND);
    let device_kind = kind.and_then(|kind| DeviceKind::from_name(kind));
    violations.require(
        device_kind.is_some(),
        &format!("{FIELD}.{DEVICE_KIND}"),
        || "must be `cpu` or `cuda`".to_owned(),
    );
    let mut labels = BTreeMap::new();
    let given = metadata.get(LABELS).map_or("", |labels| labels.trim());
    for label in given.split(',').filter(|_| !given.is_empty()) {
        match label.split_once('=') {
            Some((key, value)) => {
                labels.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            None => violations.add(
                format!("{FIELD}.{LABELS}"),
                format!("`{label}` is not KEY=VALUE"),
            ),
        }
    }
    check_labels(&format!("{FIELD}.{LABELS}"), &labels, &mut violations);
    match device_kind {
        Some(device_kind) => violations.into_result(Class {
            device_kind,
            labels,
        }),
        None => Err(violations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: &[(&str, &str)]) -> HashMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        entries.iter().map(owned).collect()
    }

    #[test]
    fn class_is_read_from_what_a_trigger_says() {
        let told = class(&metadata(&[
            ("scalerAddress", "lab-temper-coordinator.temper:7070"),
            ("deviceKind", "cuda"),
            ("labels", "class=a100, zone=b,empty="),
            ("tokenFromEnv", "temper_…"),
        ]));
        let labels = [("class", "a100"), ("empty", ""), ("zone", "b")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = Class {
            device_kind: DeviceKind::Cuda,
            labels: BTreeMap::from(labels),
        };
        assert_eq!(told.ok(), Some(expected));
        let bare = class(&metadata(&[("deviceKind", "cpu")])).ok();
        assert_eq!(bare.map(|class| class.labels), Some(BTreeMap::new()));
    }

    #[test]
    fn every_mistake_of_a_trigger_is_named() {
        let entries = [
            ("deviceKind", "gpu"),
            ("labels", "class,=x,zone=\0"),
            ("klass", "class=a100"),
        ];
        let violations = class(&metadata(&entries)).err().unwrap();
        let told = violations.to_string();
        for word in ["deviceKind", "`class`", "empty key", "NUL", "klass"] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(class(&metadata(&[])).is_err());
    }
}
