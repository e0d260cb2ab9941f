//! Metrics of a real server, read by HTTP as Prometheus reads them.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod partial;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use temper_core::{
    Digest,
    access::{Principal, Role, Standing},
};
use temper_proto::v1::{
    AggregateCurvesRequest, AggregateCurvesResponse, Curve, GetCurveRequest,
    results_service_client::ResultsServiceClient, results_service_server::ResultsServiceServer,
};
use temper_service::{
    access::{Authenticate, Secret},
    client::{self, Channel, Credentials},
    metrics::{Collect, MetricsArgs},
    server::Server,
    stop::Stop,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Request, Response, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use self::partial::{Partial, Whole};

const TOKEN: &str = "the-token-of-the-metrics";

/// Finds no curve, and hangs where it should aggregate.
#[derive(Clone)]
struct Lacking;

#[tonic::async_trait]
impl Partial for Lacking {
    async fn get_curve(&self, _: Request<GetCurveRequest>) -> Result<Response<Curve>, Status> {
        Err(Status::not_found("no such job"))
    }

    async fn aggregate_curves(
        &self,
        _: Request<AggregateCurvesRequest>,
    ) -> Result<Response<AggregateCurvesResponse>, Status> {
        std::future::pending().await
    }
}

/// Takes any token for an admin's.
struct Anybody;

impl Authenticate for Anybody {
    fn standing<'a>(&'a self, _: &'a Digest) -> BoxFuture<'a, Result<Standing, Status>> {
        let admin = Standing::Good(Principal {
            token: uuid::Uuid::nil(),
            name: "tester".into(),
            role: Role::Admin,
            owner: "tester".into(),
        });
        async move { Ok(admin) }.boxed()
    }
}

/// Counts how often it was asked.
struct Asked;

impl Collect for Asked {
    fn collect(&self) -> BoxFuture<'_, ()> {
        async { metrics::gauge!("asked").increment(1.0) }.boxed()
    }
}

struct Running {
    url: String,
    metrics: SocketAddr,
    stop: Stop,
    _folder: tempfile::TempDir,
}

async fn start(with_token: bool) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let arguments = MetricsArgs {
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        metrics_token_file: with_token.then_some(file),
    };
    let bound = arguments.bind("1.2.3", &[]).await.unwrap();
    let metrics = bound.as_ref().unwrap().address();
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = server
        .with(ResultsServiceServer::new(Whole(Lacking)))
        .measured(bound)
        .collecting(Arc::new(Asked));
    let (url, stop) = (format!("http://{}", server.address()), Stop::new());
    tokio::spawn(server.serve(Arc::new(Anybody), stop.clone()));
    Running {
        url,
        metrics,
        stop,
        _folder: folder,
    }
}

impl Running {
    async fn channel(&self) -> Channel {
        let credentials = Credentials::default().with_token(Secret::generate().unwrap());
        client::connect(&self.url, &credentials).await.unwrap()
    }

    /// Status line and all that follows.
    async fn read(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn scrape(&self) -> String {
        self.read("/metrics", "").await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.now();
    }
}

/// The value of a series, told as it stands.
fn value(answer: &str, series: &str) -> Option<f64> {
    let line = answer.lines().find_map(|line| line.strip_prefix(series))?;
    Some(line.trim().parse().unwrap())
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status() {
    let running = start(false).await;
    let mut results = ResultsServiceClient::new(running.channel().await);
    for _ in 0..2 {
        let refused = results.get_curve(GetCurveRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    }
    let mut health = HealthClient::new(running.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap();

    let told = running.scrape().await;
    let get_curve = r#"service="temper.v1.ResultsService",method="GetCurve",shape="unary""#;
    let refused = format!(r#"temper_rpc_requests_total{{{get_curve},code="NOT_FOUND"}}"#);
    assert_eq!(value(&told, &refused), Some(2.0), "{told}");
    let durations = format!("temper_rpc_duration_seconds_count{{{get_curve}}}");
    assert_eq!(value(&told, &durations), Some(2.0), "{told}");
    let health = r#"temper_rpc_requests_total{service="grpc.health.v1.Health",method="Check",shape="unary",code="OK"}"#;
    assert_eq!(value(&told, health), Some(1.0), "{told}");
    assert_eq!(
        value(&told, r#"temper_build_info{version="1.2.3"}"#),
        Some(1.0)
    );
    assert!(told.contains("# HELP temper_rpc_requests_total "), "{told}");
}

#[tokio::test]
async fn methods_that_nobody_knows_share_one_series() {
    let running = start(false).await;
    for path in ["/a.B/C", "/d.E/F", "/temper.v1.SweepService/Destroy"] {
        let mut raw = Grpc::new(running.channel().await);
        raw.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<GetCurveRequest, Curve>::default();
        let request = Request::new(GetCurveRequest::default());
        let refused = raw
            .unary(request, PathAndQuery::from_static(path), codec)
            .await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    let told = running.scrape().await;
    let other = r#"temper_rpc_requests_total{service="other",method="other",shape="unary",code="PERMISSION_DENIED"}"#;
    assert_eq!(value(&told, other), Some(3.0), "{told}");
    assert!(!told.contains("Destroy") && !told.contains("a.B"), "{told}");
}

#[tokio::test]
async fn calls_under_way_are_told_and_those_given_up_are_cancelled() {
    let running = start(false).await;
    let mut results = ResultsServiceClient::new(running.channel().await);
    let hanging = tokio::spawn(async move {
        let request = AggregateCurvesRequest::default();
        results.aggregate_curves(request).await.map(drop)
    });
    let method = r#"service="temper.v1.ResultsService",method="AggregateCurves""#;
    let in_flight = format!("temper_rpc_in_flight{{{method}}}");
    let cancelled =
        format!(r#"temper_rpc_requests_total{{{method},shape="unary",code="CANCELLED"}}"#);
    while value(&running.scrape().await, &in_flight) != Some(1.0) {}
    hanging.abort();
    while value(&running.scrape().await, &cancelled) != Some(1.0) {}
    assert_eq!(value(&running.scrape().await, &in_flight), Some(0.0));
}

#[tokio::test]
async fn metrics_with_a_token_are_told_to_who_has_it_alone() {
    let running = start(true).await;
    let wrong = [
        String::new(),
        "authorization: Bearer \r\n".into(),
        format!("authorization: Bearer {TOKEN}x\r\n"),
        format!("authorization: Basic {TOKEN}\r\n"),
        format!("authorization: {TOKEN}\r\n"),
    ];
    for headers in wrong {
        let answer = running.read("/metrics", &headers).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{headers}: {answer}");
        assert!(!answer.contains("temper_build_info"), "{answer}");
    }
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    let answer = running.read("/metrics", &right).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("temper_build_info"), "{answer}");
}

#[tokio::test]
async fn what_is_asked_for_at_a_scrape_is_asked_each_time_and_elsewhere_is_nothing() {
    let running = start(false).await;
    let asked = |answer: &str| value(answer, "asked").unwrap();
    let first = asked(&running.scrape().await);
    assert!(asked(&running.scrape().await) > first);
    let elsewhere = running.read("/", "").await;
    assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
}

#[tokio::test]
async fn readers_beyond_the_limit_wait_for_those_before() {
    let running = start(false).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(running.metrics).await.unwrap());
    }
    let mut waiting = std::pin::pin!(running.scrape());
    // Long enough for an answer, were one to come.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    drop(silent);
    let told = waiting.await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
}
