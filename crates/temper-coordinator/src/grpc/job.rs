//! `JobService`.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, stream};
use temper_core::{job::JobState, spec::Selection};
use temper_proto::{
    JobName, SweepName,
    v1::{self, get_artifact_response::Part},
};
use temper_service::status::{self, bad_field, field};
use temper_store::{JobId, JobsQuery};
use tonic::{Request, Response, Status};

use super::{encode, page, refused};
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
        let detail = self.0.store.job_get(JobId(id)).await.map_err(refused)?;
        Ok(Response::new(encode::job_detail(detail)))
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
