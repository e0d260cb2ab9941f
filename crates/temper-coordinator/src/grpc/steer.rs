//! Changes of sweeps that are there.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use temper_core::{
    Violations,
    catalog::Input,
    expand::Expansion,
    spec::{Hyperparameters, SweepSpec},
};
use temper_proto::{SweepName, parse_placement, parse_sweep_spec, v1};
use temper_service::{
    status::{self, bad_field, field},
    traces,
};
use temper_store::{Actor, StoreError, SweepChanges, SweepExtension, SweepRequest};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use super::{
    encode, explain, refused,
    submission::limit,
    sweep::{Sweeps, blocking},
};
use crate::submit::{self, Envelope, LaidOut};

/// What an update may name.
const UPDATABLE: [&str; 5] = [
    "display_name",
    "priority",
    "labels",
    "placement",
    "parallel_jobs",
];

/// The revision that an etag stands for; none for an empty one.
pub fn revision(etag: &str) -> Result<Option<i64>, Status> {
    if etag.is_empty() {
        return Ok(None);
    }
    let revision = etag.parse();
    revision.map(Some).map_err(|_| {
        let wanted = format!("`{etag}` is no etag of a sweep: take the one of GetSweep");
        bad_field("etag", wanted)
    })
}

/// A request to update a sweep, read.
pub struct Update {
    pub sweep: Uuid,
    pub revision: Option<i64>,
    pub changes: SweepChanges,
}

impl Update {
    pub fn read(request: v1::UpdateSweepRequest) -> Result<Self, Status> {
        let wanted = request.sweep.unwrap_or_default();
        let SweepName(sweep) = field("sweep.name", &wanted.name)?;
        let revision = revision(&wanted.etag)?;
        let labels: BTreeMap<String, String> = wanted.labels.into_iter().collect();
        let mut violations = Violations::default();
        let placement = parse_placement(wanted.placement.as_ref(), "placement", &mut violations);
        let envelope = Envelope {
            display_name: &wanted.display_name,
            priority: wanted.priority,
            labels: &labels,
            placement: &placement,
            parallel_jobs: wanted.parallel_jobs,
        };
        submit::check_envelope(&envelope, &mut violations);
        let mut violations = violations.below("sweep");
        let named = request.update_mask.map(|mask| mask.paths);
        for (i, path) in named.iter().flatten().enumerate() {
            let known = path == "*" || UPDATABLE.contains(&path.as_str());
            violations.require(known, &format!("update_mask.paths[{i}]"), || {
                format!("`{path}` cannot be changed; {} can", UPDATABLE.join(", "))
            });
        }
        violations
            .into_result(())
            .map_err(|violations| status::bad_request(&violations))?;
        let changes = |name: &str, is_said: bool| match &named {
            Some(paths) => paths.iter().any(|path| path == name || path == "*"),
            None => is_said,
        };
        let name = changes("display_name", !wanted.display_name.is_empty());
        let priority = changes("priority", wanted.priority != 0);
        let relabel = changes("labels", !labels.is_empty());
        let place = changes("placement", wanted.placement.is_some());
        let limits = changes("parallel_jobs", wanted.parallel_jobs != 0);
        Ok(Self {
            sweep,
            revision,
            changes: SweepChanges {
                display_name: name.then_some(wanted.display_name),
                priority: priority.then_some(wanted.priority),
                labels: relabel.then_some(labels),
                placement: place.then_some(placement),
                parallel_jobs: limits.then(|| limit(wanted.parallel_jobs)),
            },
        })
    }
}

/// Adds to a sweep's axes and evaluations, or says what that would come to.
pub async fn extend(
    sweeps: &Sweeps,
    actor: &Actor<'_>,
    request: v1::ExtendSweepRequest,
) -> Result<Response<v1::Sweep>, Status> {
    let SweepName(id) = field("name", &request.name)?;
    let (wanted, validate_only) = (revision(&request.etag)?, request.validate_only);
    let store = &sweeps.0.store;
    let row = store.sweep_get(id).await.map_err(refused)?;
    if wanted.is_some_and(|revision| revision != row.revision) {
        return Err(refused(StoreError::Stale { sweep: id }));
    }
    let before = store.sweep_request(id).await.map_err(refused)?;
    let whole = before.spec.clone();
    let (spec, violations) = blocking(move || extended(whole, request)).await?;
    let laid_out = sweeps.lay_out(&spec, violations, in_request).await?;
    check_inputs(&before, &laid_out.inputs)?;
    let warnings = explain::warnings(store, &row.placement, &laid_out.layout);
    let warnings = warnings.await.map_err(refused)?;
    if validate_only {
        let (preview, laid_out) = sweeps.preview(laid_out).await?;
        let sweep = v1::Sweep {
            spec: Some((&spec).into()),
            warnings,
            ..encode::previewed(preview, &laid_out.layout)
        };
        return Ok(Response::new(sweep));
    }
    if spec != before.spec {
        let LaidOut { layout, inputs } = laid_out;
        let expansion = blocking(move || Expansion::of(layout)).await?;
        let extension = SweepExtension {
            sweep: id,
            revision: row.revision,
            spec: &spec,
            expansion: &expansion,
            inputs: &inputs,
            evaluations: before.spec.evaluations.len(),
            trace: traces::current(),
        };
        let created = store.sweep_extend(actor, extension).await;
        let created = created.map_err(refused)?;
        tracing::info!(sweep = %id, jobs_created = created, "sweep extended");
    }
    let mut answer = sweeps.sweep(id).await?;
    answer.get_mut().warnings = warnings;
    Ok(answer)
}

/// The spec with what the request adds, each value once, and what of the request cannot be read.
pub fn extended(mut spec: SweepSpec, request: v1::ExtendSweepRequest) -> (SweepSpec, Violations) {
    let mut violations = Violations::default();
    let (settings, evaluations) = (
        request.hyperparameters.is_empty(),
        request.evaluations.is_empty(),
    );
    let message = v1::SweepSpec {
        models: request.models,
        datasets: request.datasets,
        schedules: request.schedules,
        target_epsilons: request.target_epsilons,
        seeds: request.seeds,
        hyperparameters: request.hyperparameters,
        evaluations: request.evaluations,
        ..v1::SweepSpec::default()
    };
    let mut more = parse_sweep_spec(&message, &mut violations);
    if settings {
        // Left out they stand for the defaults of a new sweep, not for an addition.
        more.hyperparameters = Vec::<Hyperparameters>::new();
    }
    if evaluations {
        more.evaluations = Vec::new();
    }
    append(&mut spec.models, more.models);
    append(&mut spec.datasets, more.datasets);
    append(&mut spec.schedules, more.schedules);
    append(&mut spec.target_epsilons, more.target_epsilons);
    append(&mut spec.seeds, more.seeds);
    append(&mut spec.hyperparameters, more.hyperparameters);
    append(&mut spec.evaluations, more.evaluations);
    (spec, violations)
}

/// Values are told apart by their JSON: some hold floats, which do not hash, and a million values
/// compared with a million others take hours.
fn append<T: Serialize>(axis: &mut Vec<T>, more: Vec<T>) {
    let form = |value: &T| serde_json::to_string(value).unwrap_or_default();
    let mut seen: HashSet<String> = axis.iter().map(form).collect();
    axis.extend(more.into_iter().filter(|value| seen.insert(form(value))));
}

/// The whole spec's violations under the names of the request's fields; their places on the longer
/// axes say nothing to whoever sent only the additions.
fn in_request(violations: Violations) -> Violations {
    violations.placed(|field| {
        let field = field.trim_start_matches("spec.");
        let axis = field.split_once('[').map_or(field, |(axis, _)| axis);
        axis.to_owned()
    })
}

/// What the sweep's names stood for must be what they stand for now: else one sweep would mix two
/// models under one name.
fn check_inputs(before: &SweepRequest, now: &[Input]) -> Result<(), Status> {
    for input in &before.inputs {
        let same = now
            .iter()
            .find(|other| (other.kind, &other.name) == (input.kind, &input.name));
        if same.is_some_and(|other| other.digest != input.digest) {
            let message = format!(
                "`{}` stood for other content when the sweep was created ({}): submit a new sweep, \
                 which shares what is still the same",
                input.name, input.digest
            );
            return Err(status::plain(Code::FailedPrecondition, message));
        }
    }
    Ok(())
}
