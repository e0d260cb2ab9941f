//! A training job.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use temper_core::{report::EpochMetrics, spec::TrainSpec};
use temper_data::{DataError, TrainingSplits};
use temper_service::{objects::ObjectsError, status};
use temper_torch::{
    Checkpoint, Control, Interrupted, Observer, TorchError, TrainOutcome, Training,
};
use tokio::sync::mpsc;

use crate::{
    JobError,
    assignment::Object,
    engine,
    job::{Done, Host, Switch},
    report::{ReportError, Reports},
};

/// Reports that training may be ahead of their acknowledgement; each may hold a checkpoint.
const AHEAD: usize = 2;

/// What the libtorch thread hands over, in order.
enum Event {
    Epoch(EpochMetrics),
    Checkpoint(Checkpoint),
}

/// The observer on the libtorch thread.
struct Reporter {
    switch: Switch,
    events: mpsc::Sender<Event>,
}

/// What training needs from disk.
#[derive(Clone)]
struct Material {
    weights: PathBuf,
    splits: TrainingSplits,
}

impl Observer for Reporter {
    fn control(&mut self) -> Control {
        self.switch.control()
    }

    fn epoch(&mut self, metrics: EpochMetrics) -> Result<(), Interrupted> {
        self.events
            .blocking_send(Event::Epoch(metrics))
            .map_err(|_| Interrupted)
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Interrupted> {
        self.events
            .blocking_send(Event::Checkpoint(checkpoint))
            .map_err(|_| Interrupted)
    }
}

/// Trains from the newest checkpoint that is whole, else from the pretrained weights.
pub(crate) async fn run(
    host: &Host,
    reports: &Reports,
    switch: &Switch,
    spec: Arc<TrainSpec>,
    checkpoints: &[Object],
) -> Result<Done, JobError> {
    let material = load(host, &spec).await?;
    for object in checkpoints {
        let Some(bytes) = usable(reports, object).await? else {
            continue;
        };
        tracing::info!(checkpoint = object.path, "resuming");
        let trained = train(host, reports, switch, &spec, &material, Some(bytes)).await;
        match trained {
            Err(JobError::Torch(TorchError::BadCheckpoint(reason))) => {
                let checkpoint = &object.path;
                tracing::warn!(checkpoint, reason, "unusable: trying the one before");
            }
            other => return other,
        }
    }
    train(host, reports, switch, &spec, &material, None).await
}

/// The checkpoint's bytes; none when it is torn or gone.
async fn usable(reports: &Reports, object: &Object) -> Result<Option<Bytes>, JobError> {
    match reports.fetch(object).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(JobError::Objects(
            error @ (ObjectsError::Torn { .. } | ObjectsError::Missing { .. }),
        )) => {
            tracing::warn!(
                error = status::chain(&error),
                "trying the checkpoint before"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn load(host: &Host, spec: &Arc<TrainSpec>) -> Result<Material, JobError> {
    let (sources, spec) = (Arc::clone(&host.sources), Arc::clone(spec));
    read(move || {
        let weights = sources.weights(&spec.model)?;
        let splits = sources.training(&spec.dataset, &spec.data)?;
        Ok(Material { weights, splits })
    })
    .await
}

/// Reads images off the async threads.
pub(crate) async fn read<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, JobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(JobError::Reader(match error.try_into_panic() {
            Ok(panic) => engine::message(&*panic),
            Err(error) => error.to_string(),
        })),
    }
}

/// Trains on the libtorch thread while this one passes the reports on.
async fn train(
    host: &Host,
    reports: &Reports,
    switch: &Switch,
    spec: &Arc<TrainSpec>,
    material: &Material,
    resume: Option<Bytes>,
) -> Result<Done, JobError> {
    let (events, inbox) = mpsc::channel(AHEAD);
    let mut reporter = Reporter {
        switch: switch.clone(),
        events,
    };
    let (spec, material, device) = (Arc::clone(spec), material.clone(), host.device);
    let training = host.engine.run(move || {
        let training = Training {
            spec: &spec,
            weights: &material.weights,
            train: &material.splits.train,
            validation: &material.splits.validation,
            device,
        };
        // The reporter is dropped with the closure, which ends `pass_on`.
        temper_torch::train(&training, resume.as_deref(), &mut reporter)
    });
    let (outcome, reported) = tokio::join!(training, pass_on(reports, switch, inbox));
    // When reports fail, training is aborted by that: theirs is the reason to tell.
    reported?;
    match outcome?? {
        TrainOutcome::Finished(model) => {
            reports.complete_training(model.bytes, model.epochs).await?;
            Ok(Done::Completed)
        }
        TrainOutcome::Drained => Ok(Done::Drained),
        TrainOutcome::Aborted => aborted(reports),
    }
}

/// What an aborted run amounts to: with the lease over, nothing; else this process is stopping.
pub(crate) fn aborted(reports: &Reports) -> Result<Done, JobError> {
    match reports.lease().ended() {
        Some(_) => Err(ReportError::LeaseOver.into()),
        None => Ok(Done::Drained),
    }
}

/// Passes reports on in their order, until training ends or one of them cannot be.
async fn pass_on(
    reports: &Reports,
    switch: &Switch,
    mut inbox: mpsc::Receiver<Event>,
) -> Result<(), JobError> {
    while let Some(event) = inbox.recv().await {
        let passed = match event {
            Event::Epoch(metrics) => {
                log(&metrics);
                reports.epoch(&metrics).await.map_err(JobError::from)
            }
            Event::Checkpoint(checkpoint) => reports.checkpoint(checkpoint).await,
        };
        if passed.is_err() {
            // Training must not go on unreported; a sender that waits is freed as `inbox` drops.
            switch.abort.cancel();
            return passed;
        }
    }
    Ok(())
}

fn log(metrics: &EpochMetrics) {
    let EpochMetrics {
        epoch,
        epsilon,
        train_loss,
        images_per_second,
        ..
    } = *metrics;
    tracing::info!(
        epoch,
        epsilon,
        train_loss,
        validation_accuracy = metrics.validation_accuracy,
        validation_robust_accuracy = metrics.validation_robust_accuracy,
        images_per_second,
        "epoch"
    );
}
