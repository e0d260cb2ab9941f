//! `SweepService`.

use std::sync::Arc;

use temper_core::{
    ErrorKind, Violations,
    expand::{Expansion, Sample},
    spec::SweepSpec,
};
use temper_proto::{SweepName, v1};
use temper_service::{
    access::principal,
    status::{self, field},
};
use temper_store::Actor;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::{encode, explain, list, refused, steer, submission::Submission, watch};
use crate::{
    Shared,
    pin::{self, Failure, Pinned},
    submit::{self, LaidOut, Refusal},
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
        let (submission, violations) = blocking(move || Submission::read(request)).await?;
        let place = |violations: Violations| violations.placed(Submission::place);
        let laid_out = self.lay_out(&submission.spec, violations, place).await?;
        let store = &self.0.store;
        let warnings = explain::warnings(store, &submission.placement, &laid_out.layout);
        let warnings = warnings.await.map_err(refused)?;
        if submission.validate_only {
            let (preview, laid_out) = self.preview(laid_out).await?;
            return Ok(Response::new(v1::Sweep {
                warnings,
                ..submission.previewed(preview, &laid_out)
            }));
        }
        let LaidOut { layout, inputs } = laid_out;
        let expansion = blocking(move || Expansion::of(layout)).await?;
        let created = self
            .0
            .store
            .sweep_create(
                &Actor::from(&*submitter),
                submission.new_sweep(&submitter.owner, (&expansion, &inputs)),
            )
            .await
            .map_err(refused)?;
        if !created.existed {
            tracing::info!(sweep = %created.id, cells = expansion.layout().cells().len(),
                jobs_created = created.jobs_created, "sweep submitted");
        }
        let mut answer = self.sweep(created.id).await?;
        answer.get_mut().warnings = warnings;
        Ok(answer)
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
        list::sweeps(&self.0.store, request.get_ref())
            .await
            .map(Response::new)
    }

    async fn update_sweep(
        &self,
        request: Request<v1::UpdateSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let actor = principal(&request)?;
        let update = steer::Update::read(request.into_inner())?;
        let store = &self.0.store;
        store
            .sweep_update(
                &Actor::from(&*actor),
                update.sweep,
                update.revision,
                &update.changes,
            )
            .await
            .map_err(refused)?;
        self.sweep(update.sweep).await
    }

    async fn extend_sweep(
        &self,
        request: Request<v1::ExtendSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let actor = principal(&request)?;
        steer::extend(self, &Actor::from(&*actor), request.into_inner()).await
    }

    async fn pause_sweep(
        &self,
        request: Request<v1::PauseSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let actor = principal(&request)?;
        let request = request.get_ref();
        let SweepName(id) = field("name", &request.name)?;
        let revision = steer::revision(&request.etag)?;
        let mut violations = Violations::default();
        submit::check_text("reason", &request.reason, &mut violations);
        let reason = violations.into_result(&request.reason);
        let reason = reason.map_err(|violations| status::bad_request(&violations))?;
        let store = &self.0.store;
        store
            .sweep_pause(&Actor::from(&*actor), id, revision, reason)
            .await
            .map_err(refused)?;
        self.sweep(id).await
    }

    async fn resume_sweep(
        &self,
        request: Request<v1::ResumeSweepRequest>,
    ) -> Result<Response<v1::Sweep>, Status> {
        let actor = principal(&request)?;
        let request = request.get_ref();
        let SweepName(id) = field("name", &request.name)?;
        let revision = steer::revision(&request.etag)?;
        let store = &self.0.store;
        store
            .sweep_resume(&Actor::from(&*actor), id, revision)
            .await
            .map_err(refused)?;
        self.sweep(id).await
    }

    async fn delete_sweep(
        &self,
        request: Request<v1::DeleteSweepRequest>,
    ) -> Result<Response<v1::DeleteSweepResponse>, Status> {
        let actor = principal(&request)?;
        let request = request.get_ref();
        let SweepName(id) = field("name", &request.name)?;
        let revision = steer::revision(&request.etag)?;
        let store = &self.0.store;
        store
            .sweep_delete(&Actor::from(&*actor), id, revision)
            .await
            .map_err(refused)?;
        Ok(Response::new(v1::DeleteSweepResponse {}))
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
    pub async fn sweep(&self, id: Uuid) -> Result<Response<v1::Sweep>, Status> {
        let row = self.0.store.sweep_get(id).await.map_err(refused)?;
        let request = self.0.store.sweep_request(id).await.map_err(refused)?;
        Ok(Response::new(encode::sweep(row, Some(&request))))
    }

    /// Checks a spec and lays it out; `place` moves violations to where the request has them.
    pub async fn lay_out(
        &self,
        spec: &SweepSpec,
        violations: Violations,
        place: impl FnOnce(Violations) -> Violations,
    ) -> Result<LaidOut, Status> {
        let config = &self.0.config;
        let Pinned { catalog, failures } = pin::pin(&config.catalog, &config.hub, spec).await;
        let (catalog, spec) = (catalog.into_owned(), spec.clone());
        blocking(move || submit::lay_out(&spec, &catalog, violations))
            .await?
            .map_err(|refusal| match refusal {
                Refusal::Invalid(violations) => status::bad_request(&place(violations)),
                Refusal::Unpinned(_) => unpinned(&refusal, &failures),
            })
    }

    /// What a sweep would come to. Gives back what it was asked of, which may be too large to copy.
    pub async fn preview(&self, laid_out: LaidOut) -> Result<(v1::SweepPreview, LaidOut), Status> {
        let sampled = blocking(move || (Sample::of(&laid_out.layout), laid_out));
        let (sample, laid_out) = sampled.await?;
        let preview = self.0.store.sweep_preview(&laid_out.layout, &sample);
        let preview = preview.await.map_err(refused)?;
        Ok((encode::preview(preview, &laid_out.layout), laid_out))
    }
}

/// Reading or laying out a large sweep is work for a thread that may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| status::of(ErrorKind::Internal, &error))
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
    let code = if failures.iter().any(unavailable) {
        Code::Unavailable
    } else {
        Code::FailedPrecondition
    };
    status::plain(code, message)
}
