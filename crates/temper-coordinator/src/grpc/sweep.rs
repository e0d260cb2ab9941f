//! `SweepService`.

use std::{collections::BTreeMap, sync::Arc};

use chrono::DateTime;
use temper_core::{Digest, ErrorKind, Violations, key, spec::SweepSpec};
use temper_proto::{SweepName, parse_sweep_spec, v1};
use temper_service::{
    access::principal,
    status::{self, field},
};
use temper_store::{Actor, NewSweep, SweepCursor};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{count, encode, page, refused, watch};
use crate::{
    Shared,
    pin::{self, Failure, Pinned},
    submit::{self, Envelope, LaidOut, Refusal},
};

pub struct Sweeps(pub Arc<Shared>);

#[tonic::async_trait]
impl v1::sweep_service_server::SweepService for Sweeps {
    async fn create_sweep(
        &self,
        request: Request<v1::CreateSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let submitter = principal(&request)?;
        let request = request.into_inner();
        let (submission, violations) = Submission::read(request);
        let config = &self.0.config;
        let Pinned { catalog, failures } =
            pin::pin(&config.catalog, &config.hub, &submission.spec).await;
        let catalog = catalog.into_owned();
        // Laying out a large sweep is work for a thread that may block.
        let (submission, laid_out) = tokio::task::spawn_blocking(move || {
            let laid_out = submit::lay_out(&submission.spec, &catalog, violations)?;
            Ok((submission, laid_out))
        })
        .await
        .map_err(|error| status::of(ErrorKind::Internal, &error))?
        .map_err(|refusal: Refusal| match refusal {
            Refusal::Invalid(violations) => status::bad_request(&violations.below("sweep")),
            Refusal::Unpinned(_) => unpinned(&refusal, &failures),
        })?;
        if submission.validate_only {
            return Ok(Response::new(submission.preview(&laid_out)));
        }
        let created = self
            .0
            .store
            .sweep_create(
                &Actor::from(&*submitter),
                submission.new_sweep(&submitter.owner, &laid_out),
            )
            .await
            .map_err(refused)?;
        if !created.existed {
            tracing::info!(sweep = %created.id, cells = laid_out.expansion.cells.len(),
                jobs_created = created.jobs_created, "sweep submitted");
        }
        self.sweep(created.id).await
    }

    async fn get_sweep(
        &self,
        request: Request<v1::GetSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let SweepName(id) = field("name", &request.get_ref().name)?;
        self.sweep(id).await
    }

    async fn list_sweeps(
        &self,
        request: Request<v1::ListSweepsRequest>,
    ) -> Result<Response<v1::ListSweepsResponse>, Status> {
        let request = request.get_ref();
        let size = page::size(request.page_size, 50)?;
        let after = page::place::<(i64, Uuid)>(&request.page_token)?.and_then(|(micros, id)| {
            DateTime::from_timestamp_micros(micros).map(|created_at| SweepCursor { created_at, id })
        });
        let listed = self
            .0
            .store
            .sweep_list(size, after)
            .await
            .map_err(refused)?;
        let next = listed
            .next
            .map(|next| (next.created_at.timestamp_micros(), next.id));
        Ok(Response::new(v1::ListSweepsResponse {
            sweeps: listed
                .sweeps
                .into_iter()
                .map(|row| encode::sweep(row, None))
                .collect(),
            next_page_token: page::token(next.as_ref()),
        }))
    }

    async fn cancel_sweep(
        &self,
        request: Request<v1::CancelSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let actor = principal(&request)?;
        let SweepName(id) = field("name", &request.get_ref().name)?;
        let cancelled = self.0.store.sweep_cancel(&Actor::from(&*actor), id).await;
        cancelled.map_err(refused)?;
        self.sweep(id).await
    }

    type WatchSweepStream = watch::Messages;

    async fn watch_sweep(
        &self,
        request: Request<v1::WatchSweepRequest>,
    ) -> Result<Response<Self::WatchSweepStream>, Status> {
        let SweepName(id) = field("name", &request.get_ref().name)?;
        watch::stream(Arc::clone(&self.0), id)
            .await
            .map(Response::new)
    }
}

impl Sweeps {
    async fn sweep(&self, id: Uuid) -> Result<Response<v1::Sweep>, Status> {
        let row = self.0.store.sweep_get(id).await.map_err(refused)?;
        let request = self.0.store.sweep_request(id).await.map_err(refused)?;
        Ok(Response::new(encode::sweep(row, Some(&request))))
    }
}

/// Why entries cannot be used: what to do, and what the hub said of each.
fn unpinned(refusal: &Refusal, failures: &[(String, Failure)]) -> Status {
    let reasons = failures
        .iter()
        .map(|(name, failure)| format!("{name}: {}", status::chain(failure)));
    let reasons: Vec<_> = std::iter::once(refusal.to_string())
        .chain(reasons)
        .collect();
    let unavailable = |(_, failure): &(String, Failure)| failure.kind() == ErrorKind::Unavailable;
    let message = reasons.join("\n");
    if failures.iter().any(unavailable) {
        Status::unavailable(message)
    } else {
        Status::failed_precondition(message)
    }
}

/// A request to create a sweep, read.
struct Submission {
    request_id: Option<Uuid>,
    validate_only: bool,
    display_name: String,
    priority: i32,
    labels: BTreeMap<String, String>,
    spec: SweepSpec,
}

impl Submission {
    /// Reads a request, and what of it cannot be read or is not allowed.
    fn read(request: v1::CreateSweepRequest) -> (Self, Violations) {
        let mut violations = Violations::default();
        let sweep = request.sweep.unwrap_or_default();
        let request_id = match request.request_id.as_str() {
            "" => None,
            text => violations.take("request_id", text.parse::<Uuid>()),
        };
        let labels = sweep.labels.into_iter().collect();
        let envelope = Envelope {
            display_name: &sweep.display_name,
            priority: sweep.priority,
            labels: &labels,
        };
        submit::check_envelope(&envelope, &mut violations);
        let spec = parse_sweep_spec(&sweep.spec.unwrap_or_default(), &mut violations);
        let submission = Self {
            request_id,
            validate_only: request.validate_only,
            display_name: sweep.display_name,
            priority: sweep.priority,
            labels,
            spec,
        };
        (submission, violations)
    }

    /// By what a repeated request is told from another one under the same id.
    fn digest(&self) -> Digest {
        key::digest_of(&(&self.display_name, self.priority, &self.labels, &self.spec))
    }

    fn new_sweep<'a>(&'a self, owner: &'a str, laid_out: &'a LaidOut) -> NewSweep<'a> {
        NewSweep {
            request_id: self.request_id,
            request_digest: self.digest(),
            owner,
            display_name: &self.display_name,
            labels: &self.labels,
            priority: self.priority,
            spec: &self.spec,
            expansion: &laid_out.expansion,
            inputs: &laid_out.inputs,
        }
    }

    /// What would be created: the spec with its defaults, and how many cells and jobs it comes to.
    fn preview(&self, laid_out: &LaidOut) -> v1::Sweep {
        let expansion = &laid_out.expansion;
        let whole = |length: usize| count(u32::try_from(length).unwrap_or(u32::MAX));
        let queued = whole(expansion.jobs.len());
        v1::Sweep {
            display_name: self.display_name.clone(),
            spec: Some((&self.spec).into()),
            priority: self.priority,
            labels: self.labels.clone().into_iter().collect(),
            cells: whole(expansion.cells.len()),
            jobs: Some(v1::JobCounts {
                queued,
                ..v1::JobCounts::default()
            }),
            inputs: laid_out.inputs.iter().map(encode::input).collect(),
            ..v1::Sweep::default()
        }
    }
}
