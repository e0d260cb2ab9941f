//! `JobService`.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, stream};
use temper_core::{Violations, job::JobState, spec::Selection};
use temper_proto::{
    JobName, SweepName, parse_job_filter,
    v1::{self, get_artifact_response::Part},
};
use temper_service::{
    access::principal,
    status::{self, bad_field, field},
};
use temper_store::{Actor, AttemptsQuery, JobId, JobsQuery};
use tonic::{Request, Response, Status};

use super::{encode, logs, page, refused};
use crate::Shared;

pub struct Jobs(pub Arc<Shared>);

type ArtifactStream =
    Pin<Box<dyn Stream<Item = Result<v1::GetArtifactResponse, Status>> + Send + 'static>>;

#[tonic::async_trait]
impl v1::job_service_server::JobService for Jobs {
    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::Job>, Status> {
        let JobName(id) = field("name", &request.get_ref().name)?;
        self.job(JobId(id)).await
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.get_ref();
        let SweepName(sweep) = field("parent", &request.parent)?;
        let state = match v1::JobState::try_from(request.state) {
            Ok(v1::JobState::Unspecified) => None,
            Ok(state) => JobState::try_from(state).ok(),
            Err(error) => return Err(bad_field("state", error.to_string())),
        };
        let query = JobsQuery {
            sweep,
            state,
            after: page::place(&request.page_token)?,
            limit: page::size(request.page_size, 100)?,
        };
        let listed = self.0.store.job_list(query).await.map_err(refused)?;
        Ok(Response::new(v1::ListJobsResponse {
            jobs: listed.jobs.into_iter().map(encode::job).collect(),
            next_page_token: page::token(listed.next.as_ref()),
        }))
    }

    type GetArtifactStream = ArtifactStream;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<ArtifactStream>, Status> {
        let request = request.get_ref();
        let JobName(id) = field("name", &request.name)?;
        let artifact = self
            .0
            .store
            .artifact_get(JobId(id), selection(request.selection)?)
            .await
            .map_err(refused)?;
        let pieces = self
            .0
            .objects
            .read(&artifact.path, artifact.sha256, artifact.size)
            .await
            .map_err(|error| status::of(error.kind(), &error))?;
        let info = v1::ArtifactInfo {
            size: encode::length(artifact.size),
            sha256: artifact.sha256.to_string(),
        };
        let pieces = pieces.map(|piece| {
            piece
                .map(|bytes| part(Part::Chunk(bytes.into())))
                .map_err(|error| status::of(error.kind(), &error))
        });
        let parts = stream::iter([Ok(part(Part::Info(info)))]).chain(pieces);
        Ok(Response::new(Box::pin(parts)))
    }

    async fn retry_jobs(
        &self,
        request: Request<v1::RetryJobsRequest>,
    ) -> Result<Response<v1::RetryJobsResponse>, Status> {
        let actor = principal(&request)?;
        let request = request.into_inner();
        let SweepName(sweep) = field("parent", &request.parent)?;
        let mut violations = Violations::default();
        let filter = parse_job_filter(request.filter.as_ref(), &mut violations);
        let filter = violations.into_result(filter);
        let filter = filter.map_err(|violations| status::bad_request(&violations))?;
        let store = &self.0.store;
        let retried = if request.validate_only {
            store.jobs_retry_preview(sweep, &filter).await
        } else {
            store
                .jobs_retry(&Actor::from(&*actor), sweep, &filter)
                .await
        };
        let retried = retried.map_err(refused)?;
        if !request.validate_only {
            let (jobs, revived) = (retried.jobs.len(), retried.revived.len());
            tracing::info!(%sweep, jobs, revived, "jobs retried");
        }
        Ok(Response::new(encode::retried(retried)))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::Job>, Status> {
        let actor = principal(&request)?;
        let JobName(id) = field("name", &request.get_ref().name)?;
        let store = &self.0.store;
        let cancelled = store.job_cancel(&Actor::from(&*actor), JobId(id)).await;
        cancelled.map_err(refused)?;
        tracing::info!(job = id, "job cancelled");
        self.job(JobId(id)).await
    }

    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Result<Response<v1::ListAttemptsResponse>, Status> {
        let request = request.get_ref();
        let JobName(job) = field("parent", &request.parent)?;
        let query = AttemptsQuery {
            job: JobId(job),
            after: page::place(&request.page_token)?,
            limit: page::size(request.page_size, 100)?,
        };
        let listed = self.0.store.attempt_list(query).await.map_err(refused)?;
        Ok(Response::new(v1::ListAttemptsResponse {
            attempts: listed.attempts.into_iter().map(encode::attempt).collect(),
            next_page_token: page::token(listed.next.as_ref()),
        }))
    }

    type GetLogsStream = logs::Messages;

    async fn get_logs(
        &self,
        request: Request<v1::GetLogsRequest>,
    ) -> Result<Response<logs::Messages>, Status> {
        let messages = logs::stream(Arc::clone(&self.0), request.get_ref()).await?;
        Ok(Response::new(messages))
    }
}

impl Jobs {
    async fn job(&self, id: JobId) -> Result<Response<v1::Job>, Status> {
        let detail = self.0.store.job_get(id).await.map_err(refused)?;
        Ok(Response::new(encode::job_detail(detail)))
    }
}

fn selection(number: i32) -> Result<Selection, Status> {
    match v1::Selection::try_from(number) {
        Ok(v1::Selection::Unspecified | v1::Selection::Last) => Ok(Selection::Last),
        Ok(v1::Selection::Best) => Ok(Selection::Best),
        Err(error) => Err(bad_field("selection", error.to_string())),
    }
}

fn part(part: Part) -> v1::GetArtifactResponse {
    v1::GetArtifactResponse { part: Some(part) }
}
