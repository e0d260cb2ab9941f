//! A coordinator that behaves as told, for what the real one cannot be made to do on demand: to lose
//! the reply to a call, or to forget an incarnation.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use clap::Parser as _;
use futures::future::BoxFuture;
use temper_core::{
    Digest,
    access::{Principal, Role, Standing},
    spec::{EvaluateSpec, JobSpec, TrainSpec},
};
use temper_data::DataError;
use temper_proto::v1::{
    self,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use temper_service::{
    access::{Authenticate, Secret},
    client::Credentials,
    server::{ServeError, Server},
    stop::{Stop, Tasks},
};
use temper_torch::{Device, Observer, TorchError, TrainOutcome};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    backend::{Backend, Evaluate, Train},
    check::{self, CheckConfig},
    engine::Engine,
    evaluate::Models,
    job::Host,
    logs::Capture,
};

/// A call that came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Register(String),
    Lease(String),
    Epochs(Vec<u32>),
    Checkpoint(i64),
    /// Number of the first line, and what they say.
    Logs(i32, Vec<String>),
    Complete,
    Fail(v1::FailureClass, String),
    Release,
}

/// What is answered to calls of Lease and Complete, in order; when none is left, the call hangs, for
/// a job as long as the worker waits.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub leases: VecDeque<Result<Option<v1::Assignment>, Status>>,
    /// None: it hangs.
    pub completes: VecDeque<Option<Result<(), Status>>>,
    /// To reports of lines, which are taken when none is left. None: it hangs.
    pub logs: VecDeque<Option<Result<(), Status>>>,
    /// To Release and Fail, which are taken when none is left.
    pub ends: VecDeque<Status>,
    /// To heartbeats, which are to go on when none is left.
    pub beats: VecDeque<v1::LeaseStatus>,
}

#[derive(Clone)]
struct Fake {
    script: Arc<Mutex<Script>>,
    calls: mpsc::UnboundedSender<Call>,
    objects: String,
}

/// Takes the token of the fake for a worker's.
struct Known(Digest);

impl Authenticate for Known {
    fn standing<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Standing, Status>> {
        let worker = Principal {
            token: uuid::Uuid::nil(),
            name: "worker".into(),
            role: Role::Worker,
            owner: "worker".into(),
        };
        let known = *digest == self.0;
        let standing = if known {
            Standing::Good(worker)
        } else {
            Standing::Unknown
        };
        Box::pin(async move { Ok(standing) })
    }
}

/// The one token of every fake: of one that dies, the next one knows it too.
fn token() -> Secret {
    format!("temper_{}", "5".repeat(64)).parse().unwrap()
}

/// A running fake.
pub(crate) struct Running {
    pub address: SocketAddr,
    pub calls: mpsc::UnboundedReceiver<Call>,
    pub stop: Stop,
    pub task: JoinHandle<Result<(), ServeError>>,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts a fake on `address`.
    pub(crate) async fn start(address: SocketAddr, script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let objects = format!("file://{}", folder.path().display());
        let fake = Fake {
            script: Arc::new(Mutex::new(script)),
            calls: sender,
            objects,
        };
        let server = Server::bind(address)
            .await
            .unwrap()
            .with(WorkerServiceServer::new(fake));
        let (address, stop) = (server.address(), Stop::new());
        let known = Arc::new(Known(token().digest()));
        let task = tokio::spawn(server.serve(known, stop.clone()));
        Self {
            address,
            calls,
            stop,
            task,
            folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who a worker has to be.
    pub(crate) fn credentials() -> Credentials {
        Credentials::default().with_token(token())
    }

    /// The same in a file.
    pub(crate) fn token_file(&self) -> String {
        let path = self.folder.path().join("token");
        std::fs::write(&path, token().reveal()).unwrap();
        path.display().to_string()
    }

    pub(crate) fn objects(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }

    /// The next call that is no heartbeat.
    pub(crate) async fn call(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }
}

/// A backend each of whose trainings runs until the test has it end, whatever it is told meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Stuck {
    started: Arc<Notify>,
    until: Arc<Mutex<std::sync::mpsc::Receiver<()>>>,
}

/// The test's hand on it. Dropped, all trainings end.
pub(crate) struct Hand {
    pub started: Arc<Notify>,
    #[expect(dead_code, reason = "trainings last as long as it lives")]
    end: std::sync::mpsc::Sender<()>,
}

impl Stuck {
    pub(crate) fn new() -> (Self, Hand) {
        let (end, until) = std::sync::mpsc::channel();
        let started = Arc::<Notify>::default();
        let stuck = Self {
            started: Arc::clone(&started),
            until: Arc::new(Mutex::new(until)),
        };
        (stuck, Hand { started, end })
    }
}

impl Backend for Stuck {
    fn training(&self, _: &Arc<TrainSpec>) -> Result<Arc<dyn Train>, DataError> {
        Ok(Arc::new(self.clone()))
    }

    fn evaluation(&self, _: &Arc<EvaluateSpec>, _: Bytes) -> Result<Arc<dyn Evaluate>, DataError> {
        unreachable!("no test measures by it")
    }
}

impl Train for Stuck {
    fn run(&self, _: Option<&[u8]>, _: &mut dyn Observer) -> Result<TrainOutcome, TorchError> {
        self.started.notify_one();
        // Nothing is ever sent: it ends with the sender.
        let _ended = self.until.lock().unwrap().recv();
        Ok(TrainOutcome::Aborted)
    }
}

/// A backend whose device fails in every training.
#[derive(Debug)]
pub(crate) struct Broken;

impl Backend for Broken {
    fn training(&self, _: &Arc<TrainSpec>) -> Result<Arc<dyn Train>, DataError> {
        Ok(Arc::new(Self))
    }

    fn evaluation(&self, _: &Arc<EvaluateSpec>, _: Bytes) -> Result<Arc<dyn Evaluate>, DataError> {
        unreachable!("no test measures by it")
    }
}

impl Train for Broken {
    fn run(&self, _: Option<&[u8]>, _: &mut dyn Observer) -> Result<TrainOutcome, TorchError> {
        let said = "CUDA error: an illegal memory access was encountered";
        Err(TorchError::Device(said.to_owned()))
    }
}

/// A worker that may stay for ever.
pub(crate) fn host(backend: Arc<dyn Backend>) -> Host {
    let stop = Stop::new();
    Host {
        engine: Engine::start(1).unwrap(),
        backend,
        models: Models::default(),
        capture: Capture::default(),
        device: Device::CPU,
        checkpoint_every: Duration::from_mins(10),
        leaves_at: None,
        time_over: CancellationToken::new(),
        late: CancellationToken::new(),
        tasks: Tasks::new(&stop),
        stop,
    }
}

/// A training to be leased out.
pub(crate) fn training() -> v1::Assignment {
    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        check: CheckConfig,
    }
    let check = Arguments::parse_from(["check"]).check;
    let spec = JobSpec::Train(check::spec(&check).unwrap());
    v1::Assignment {
        lease: Some(v1::LeaseRef {
            job: "jobs/5".into(),
            incarnation: String::new(),
            fence: 9,
        }),
        key: Digest::of(b"key").to_string(),
        spec: Some((&spec).into()),
        ..v1::Assignment::default()
    }
}

/// A free address on loopback.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

type Answer<T> = Result<Response<T>, Status>;

impl Fake {
    fn note(&self, call: Call) {
        // A test that is over does not listen.
        let _ = self.calls.send(call);
    }

    /// What is answered to the end of an attempt.
    fn end(&self) -> Result<(), Status> {
        let next = self.script.lock().unwrap().ends.pop_front();
        next.map_or(Ok(()), Err)
    }
}

#[tonic::async_trait]
impl WorkerService for Fake {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Answer<v1::RegisterResponse> {
        self.note(Call::Register(request.into_inner().incarnation));
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        Ok(Response::new(v1::RegisterResponse {
            lease_duration: seconds(60),
            heartbeat_interval: seconds(20),
            object_store: self.objects.clone(),
        }))
    }

    async fn lease(&self, request: Request<v1::LeaseRequest>) -> Answer<v1::LeaseResponse> {
        let v1::LeaseRequest {
            incarnation, wait, ..
        } = request.into_inner();
        self.note(Call::Lease(incarnation));
        let next = self.script.lock().unwrap().leases.pop_front();
        let Some(answer) = next else {
            let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
            tokio::time::sleep(wait.unwrap_or_default()).await;
            return Ok(Response::new(v1::LeaseResponse::default()));
        };
        Ok(Response::new(v1::LeaseResponse {
            assignment: answer?,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Answer<v1::HeartbeatResponse> {
        let next = self.script.lock().unwrap().beats.pop_front();
        let status = next.unwrap_or(v1::LeaseStatus::Continue);
        let leases = request.into_inner().leases;
        let statuses = leases.iter().map(|_| status.into()).collect();
        Ok(Response::new(v1::HeartbeatResponse { statuses }))
    }

    async fn report_epochs(
        &self,
        request: Request<v1::ReportEpochsRequest>,
    ) -> Answer<v1::ReportEpochsResponse> {
        let epochs = request.into_inner().epochs;
        self.note(Call::Epochs(
            epochs.iter().map(|epoch| epoch.epoch).collect(),
        ));
        Ok(Response::new(v1::ReportEpochsResponse {}))
    }

    async fn register_checkpoint(
        &self,
        request: Request<v1::RegisterCheckpointRequest>,
    ) -> Answer<v1::RegisterCheckpointResponse> {
        let checkpoint = request.into_inner().checkpoint.unwrap();
        self.note(Call::Checkpoint(checkpoint.step));
        Ok(Response::new(v1::RegisterCheckpointResponse {}))
    }

    async fn report_logs(
        &self,
        request: Request<v1::ReportLogsRequest>,
    ) -> Answer<v1::ReportLogsResponse> {
        let request = request.into_inner();
        let lines = request.lines.into_iter().map(|line| line.message).collect();
        let next = self.script.lock().unwrap().logs.pop_front();
        self.note(Call::Logs(request.first_line, lines));
        match next {
            None => Ok(Response::new(v1::ReportLogsResponse {})),
            Some(None) => std::future::pending().await,
            Some(Some(answer)) => answer.map(|()| Response::new(v1::ReportLogsResponse {})),
        }
    }

    async fn complete(&self, _: Request<v1::CompleteRequest>) -> Answer<v1::CompleteResponse> {
        let next = self.script.lock().unwrap().completes.pop_front();
        self.note(Call::Complete);
        let Some(Some(answer)) = next else {
            return std::future::pending().await;
        };
        answer.map(|()| Response::new(v1::CompleteResponse {}))
    }

    async fn fail(&self, request: Request<v1::FailRequest>) -> Answer<v1::FailResponse> {
        let request = request.into_inner();
        self.note(Call::Fail(request.failure_class(), request.message));
        self.end().map(|()| Response::new(v1::FailResponse {}))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Answer<v1::ReleaseResponse> {
        self.note(Call::Release);
        self.end().map(|()| Response::new(v1::ReleaseResponse {}))
    }
}
