//! A results service over a database of sweeps that are made up.

use std::collections::BTreeMap;

use anyhow::Result;
use temper_core::{
    Digest, Violations,
    access::Role,
    catalog::{Counts, Draw, File, Input, Normalisation, PinnedDataset, PinnedModel, Source},
    expand, key,
    placement::Placement,
};
use temper_proto::{from_json, parse_sweep_spec, v1};
use temper_service::{access::Secret, client::Credentials};
use temper_store::{Actor, NewSweep, NewToken, Store};
use uuid::Uuid;

/// Stores a sweep of models and datasets that are in no catalog.
pub async fn submit(store: &Store, spec: &str) -> Result<Uuid> {
    let message: v1::SweepSpec = from_json(spec)?;
    let spec = parse_sweep_spec(&message, &mut Violations::default());
    let models: Vec<_> = spec.models.iter().map(|name| model(name)).collect();
    let datasets: Vec<_> = spec.datasets.iter().map(|name| dataset(name)).collect();
    let inputs: Vec<Input> = models
        .iter()
        .map(Input::from)
        .chain(datasets.iter().map(Input::from))
        .collect();
    let sweep = NewSweep {
        request_id: None,
        request_digest: key::digest_of(&spec),
        owner: "ann",
        display_name: "a sweep, made up",
        labels: &BTreeMap::from([("paper".to_owned(), "iclr".to_owned())]),
        priority: 0,
        placement: &Placement::default(),
        parallel_jobs: None,
        spec: &spec,
        expansion: &expand::expand(&spec, &models, &datasets),
        inputs: &inputs,
        trace: None,
    };
    Ok(store
        .sweep_create(&Actor::at_database("test"), sweep)
        .await?
        .id)
}

/// What a viewer shows.
pub async fn viewer(store: &Store) -> Result<Credentials> {
    Ok(Credentials::default().with_token(token(store).await?))
}

/// A viewer's token.
pub async fn token(store: &Store) -> Result<Secret> {
    let secret = Secret::generate()?;
    let token = NewToken::new("viewer", Role::Viewer, secret.digest());
    store
        .token_create(&Actor::at_database("test"), token)
        .await?;
    Ok(secret)
}

fn model(name: &str) -> PinnedModel {
    PinnedModel {
        name: name.to_owned(),
        architecture: name.to_owned(),
        repository: format!("timm/{name}"),
        commit: None,
        file: "model.safetensors".to_owned(),
        sha256: Some(Digest::of(name.as_bytes())),
        prefix: String::new(),
        normalisation: Normalisation {
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        scripted: None,
    }
}

fn dataset(name: &str) -> PinnedDataset {
    let file = |path: &str| File {
        path: path.to_owned(),
        sha256: Some(Digest::of(path.as_bytes())),
    };
    PinnedDataset {
        name: name.to_owned(),
        classes: 10,
        counts: Counts::default(),
        draw: Draw::default(),
        source: Source::Parquet {
            repository: format!("hub/{name}"),
            revision: None,
            train: vec![file("train.parquet")],
            validation: Vec::new(),
            test: vec![file("test.parquet")],
            image_column: "image".to_owned(),
            label_column: "label".to_owned(),
        },
    }
}
