//! What a report is made of, asked of the coordinator and of the results service.

use futures::{StreamExt as _, TryStreamExt as _};
use temper_proto::{
    SweepName,
    v1::{
        AggregateCurvesRequest, CompareSchedulesRequest, CompareWithPublishedRequest,
        CompareWithPublishedResponse, CurveAxis, CurveGroup, DiagnoseTransferRequest,
        DiagnoseTransferResponse, ExportFormat, ExportKind, ExportRequest, GetJobRequest,
        GetSweepRequest, Job, ListJobsRequest, ScheduleComparison, SensitivityGrid,
        SensitivityRequest, Sweep, export_response::Part, job_service_client::JobServiceClient,
        results_service_client::ResultsServiceClient, sweep_service_client::SweepServiceClient,
    },
};
use temper_service::client::Channel;

use crate::connection;

const PAGE: i32 = 1000;
/// Jobs that are asked for at a time.
const AT_ONCE: usize = 16;
/// The paper's comparison.
pub const BASELINE: &str = "fixed";
pub const CANDIDATE: &str = "two-hinge";

/// All that a report shows.
#[derive(Debug, Default)]
pub struct Answers {
    pub sweep: Sweep,
    /// By everything but the seed.
    pub groups: Vec<CurveGroup>,
    /// By model, over datasets.
    pub by_model: Vec<CurveGroup>,
    /// By dataset, over models.
    pub by_dataset: Vec<CurveGroup>,
    /// Two-hinge less fixed by target and settings; none where the sweep has not both.
    pub comparisons: Vec<ScheduleComparison>,
    pub transfer: DiagnoseTransferResponse,
    pub grids: Vec<SensitivityGrid>,
    pub published: CompareWithPublishedResponse,
    /// The sweep's jobs with their epochs and costs.
    pub jobs: Vec<Job>,
    /// Where the results come from, a JSON object; empty where it is not known.
    pub provenance: String,
}

/// Who is asked.
#[derive(Debug, Clone)]
pub struct Services {
    pub sweeps: SweepServiceClient<Channel>,
    pub jobs: JobServiceClient<Channel>,
    pub results: ResultsServiceClient<Channel>,
}

impl Services {
    /// Asks for all of it.
    pub async fn ask(&self, sweep: SweepName) -> anyhow::Result<Answers> {
        let name = sweep.to_string();
        let groups = self.groups(&name, &[], false).await?;
        let by = |axis| {
            let settings = [
                CurveAxis::Schedule,
                CurveAxis::TargetEpsilon,
                CurveAxis::Hyperparameters,
                CurveAxis::Evaluation,
            ];
            [&[axis], &settings[..]].concat()
        };
        Ok(Answers {
            sweep: self.sweep(&name).await?,
            by_model: self.groups(&name, &by(CurveAxis::Model), true).await?,
            by_dataset: self.groups(&name, &by(CurveAxis::Dataset), true).await?,
            comparisons: compare(&self.results, &name, &groups, &[]).await?,
            transfer: self.transfer(&name).await?,
            grids: self.grids(&name).await?,
            published: self.published(&name).await?,
            jobs: self.jobs(&name).await?,
            provenance: self.provenance(&name).await?,
            groups,
        })
    }

    async fn sweep(&self, name: &str) -> anyhow::Result<Sweep> {
        connection::call(|| {
            let (mut client, name) = (self.sweeps.clone(), name.to_owned());
            async move { client.get_sweep(GetSweepRequest { name }).await }
        })
        .await
    }

    async fn groups(
        &self,
        name: &str,
        group_by: &[CurveAxis],
        without_points: bool,
    ) -> anyhow::Result<Vec<CurveGroup>> {
        let answer = connection::call(|| {
            let mut client = self.results.clone();
            let request = AggregateCurvesRequest {
                sweep: name.to_owned(),
                group_by: group_by.iter().copied().map(Into::into).collect(),
                without_points,
                ..Default::default()
            };
            async move { client.aggregate_curves(request).await }
        });
        Ok(answer.await?.groups)
    }

    async fn transfer(&self, name: &str) -> anyhow::Result<DiagnoseTransferResponse> {
        connection::call(|| {
            let mut client = self.results.clone();
            let request = DiagnoseTransferRequest {
                sweep: name.to_owned(),
                ..Default::default()
            };
            async move { client.diagnose_transfer(request).await }
        })
        .await
    }

    async fn grids(&self, name: &str) -> anyhow::Result<Vec<SensitivityGrid>> {
        let answer = connection::call(|| {
            let mut client = self.results.clone();
            let request = SensitivityRequest {
                sweep: name.to_owned(),
                ..Default::default()
            };
            async move { client.sensitivity(request).await }
        });
        Ok(answer.await?.grids)
    }

    async fn published(&self, name: &str) -> anyhow::Result<CompareWithPublishedResponse> {
        connection::call(|| {
            let mut client = self.results.clone();
            let request = CompareWithPublishedRequest {
                sweep: name.to_owned(),
                ..Default::default()
            };
            async move { client.compare_with_published(request).await }
        })
        .await
    }

    /// Every job by itself: lists leave epochs and costs out.
    async fn jobs(&self, sweep: &str) -> anyhow::Result<Vec<Job>> {
        let names = self.job_names(sweep).await?;
        let whole = futures::stream::iter(names).map(|name| {
            connection::call(move || {
                let (mut client, name) = (self.jobs.clone(), name.clone());
                async move { client.get_job(GetJobRequest { name }).await }
            })
        });
        whole.buffered(AT_ONCE).try_collect().await
    }

    async fn job_names(&self, sweep: &str) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut token = String::new();
        loop {
            let page = connection::call(|| {
                let mut client = self.jobs.clone();
                let request = ListJobsRequest {
                    parent: sweep.to_owned(),
                    page_size: PAGE,
                    page_token: token.clone(),
                    ..Default::default()
                };
                async move { client.list_jobs(request).await }
            })
            .await?;
            names.extend(page.jobs.into_iter().map(|job| job.name));
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(names);
            }
        }
    }

    /// What exports say of themselves, without the export.
    async fn provenance(&self, sweep: &str) -> anyhow::Result<String> {
        let mut stream = connection::call(|| {
            let mut client = self.results.clone();
            let request = ExportRequest {
                sweep: sweep.to_owned(),
                kind: ExportKind::Curves.into(),
                format: ExportFormat::Json.into(),
            };
            async move { client.export(request).await }
        })
        .await?;
        let first = stream.message().await;
        let first = first.map_err(|status| connection::failure(&status))?;
        Ok(match first.and_then(|message| message.part) {
            Some(Part::Info(info)) => info.provenance,
            Some(Part::Chunk(_)) | None => String::new(),
        })
    }
}

/// Two-hinge less fixed, by these axes or the default ones; nothing where the sweep has not both.
pub async fn compare(
    results: &ResultsServiceClient<Channel>,
    sweep: &str,
    groups: &[CurveGroup],
    group_by: &[CurveAxis],
) -> anyhow::Result<Vec<ScheduleComparison>> {
    let has = |schedule| groups.iter().any(|group| group.schedule == schedule);
    if !has(BASELINE) || !has(CANDIDATE) {
        return Ok(Vec::new());
    }
    let answer = connection::call(|| {
        let mut client = results.clone();
        let request = CompareSchedulesRequest {
            sweep: sweep.to_owned(),
            baseline: BASELINE.to_owned(),
            candidate: CANDIDATE.to_owned(),
            group_by: group_by.iter().copied().map(Into::into).collect(),
            ..Default::default()
        };
        async move { client.compare_schedules(request).await }
    });
    Ok(answer.await?.comparisons)
}
