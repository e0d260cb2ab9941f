//! Small sweeps: real training on real images, as little of it as possible.

use temper_proto::v1;

/// Epochs of a training of [`tiny`].
pub const EPOCHS: u32 = 2;

/// A sweep of `mobilenetv2` on a few `fashion-mnist` images of 32 pixels, `fixed` at 2/255, with
/// these seeds.
#[must_use]
pub fn tiny(seeds: impl IntoIterator<Item = u64>) -> v1::CreateSweepRequest {
    let attack = |steps| {
        Some(v1::Pgd {
            steps: Some(steps),
            ..v1::Pgd::default()
        })
    };
    let spec = v1::SweepSpec {
        models: vec!["mobilenetv2".to_owned()],
        datasets: vec!["fashion-mnist".to_owned()],
        schedules: vec![fixed()],
        target_epsilons: vec!["2/255".to_owned()],
        seeds: seeds.into_iter().collect(),
        hyperparameters: vec![v1::Hyperparameters {
            batch_size: Some(20),
            ..v1::Hyperparameters::default()
        }],
        training: Some(v1::TrainingSettings {
            epochs: Some(EPOCHS),
            attack: attack(1),
            ..v1::TrainingSettings::default()
        }),
        data: Some(v1::DataSettings {
            image_size: Some(32),
            train_samples: 40,
            validation_samples: Some(20),
            ..v1::DataSettings::default()
        }),
        validation: Some(v1::ValidationSettings {
            attack: attack(1),
            robust_samples: Some(10),
            ..v1::ValidationSettings::default()
        }),
        evaluations: vec![v1::EvaluationSettings {
            attack: attack(1),
            samples: 20,
            ..v1::EvaluationSettings::default()
        }],
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

/// The spec of a request, to be changed.
///
pub fn spec(request: &mut v1::CreateSweepRequest) -> &mut v1::SweepSpec {
    request
        .sweep
        .get_or_insert_default()
        .spec
        .get_or_insert_default()
}

/// The schedule `fixed`.
#[must_use]
pub fn fixed() -> v1::Schedule {
    let kind = v1::schedule::Kind::Fixed(v1::schedule::Fixed {});
    v1::Schedule { kind: Some(kind) }
}

/// The same sweep with a training long enough to be interrupted.
#[must_use]
pub fn long(seeds: impl IntoIterator<Item = u64>) -> v1::CreateSweepRequest {
    let mut request = tiny(seeds);
    let training = spec(&mut request).training.get_or_insert_default();
    training.epochs = Some(8);
    spec(&mut request)
        .data
        .get_or_insert_default()
        .train_samples = 60;
    request
}
