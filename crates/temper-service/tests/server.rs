//! A real server on loopback: health, reflection in both versions, errors, the graceful stop.
//! Who may call is tested beside, in `access/`.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod partial;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture};
use temper_core::{
    Digest, Violations,
    access::{Principal, Role, Standing},
};
use temper_proto::v1::{
    AggregateCurvesRequest, AggregateCurvesResponse, Curve, GetCurveRequest,
    results_service_client::ResultsServiceClient, results_service_server::ResultsServiceServer,
};
use temper_service::{
    access::{Authenticate, Secret},
    client::{self, Channel, Credentials},
    health::{self, HealthError},
    server::{ServeError, Server},
    status,
    stop::Stop,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use self::partial::{Partial, Whole};

/// Answers every `GetCurve` with a mistake, and `AggregateCurves` once it gets a permit.
#[derive(Clone)]
struct Slow {
    entered: Arc<Semaphore>,
    permits: Arc<Semaphore>,
}

#[tonic::async_trait]
impl Partial for Slow {
    async fn get_curve(&self, _: Request<GetCurveRequest>) -> Result<Response<Curve>, Status> {
        let mut violations = Violations::default();
        violations.add("name", "must be jobs/{number}");
        Err(status::bad_request(&violations))
    }

    async fn aggregate_curves(
        &self,
        _: Request<AggregateCurvesRequest>,
    ) -> Result<Response<AggregateCurvesResponse>, Status> {
        self.entered.add_permits(1);
        self.permits.acquire().await.unwrap().forget();
        Ok(Response::new(AggregateCurvesResponse::default()))
    }
}

/// Knows one token.
struct One(Digest);

impl Authenticate for One {
    fn standing<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Standing, Status>> {
        let viewer = Standing::Good(Principal {
            token: uuid::Uuid::nil(),
            name: "tester".into(),
            role: Role::Viewer,
            owner: "tester".into(),
        });
        let known = *digest == self.0;
        Box::pin(async move { Ok(if known { viewer } else { Standing::Unknown }) })
    }
}

struct Running {
    address: SocketAddr,
    url: String,
    stop: Stop,
    slow: Slow,
    token: Secret,
    task: JoinHandle<Result<(), ServeError>>,
}

async fn start() -> Running {
    let slow = Slow {
        entered: Arc::new(Semaphore::new(0)),
        permits: Arc::new(Semaphore::new(0)),
    };
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = server.with(ResultsServiceServer::new(Whole(slow.clone())));
    let (address, stop) = (server.address(), Stop::new());
    let token = Secret::generate().unwrap();
    let one = Arc::new(One(token.digest()));
    let task = tokio::spawn(server.serve(one, stop.clone()));
    Running {
        address,
        url: format!("http://{address}"),
        stop,
        slow,
        token,
        task,
    }
}

impl Running {
    async fn channel(&self) -> Channel {
        let credentials = Credentials::default().with_token(self.token.clone());
        client::connect(&self.url, &credentials).await.unwrap()
    }
}

#[tokio::test]
async fn probe_passes_for_what_is_served_and_names_what_is_not() {
    let running = start().await;
    let nobody = Credentials::default();
    let patience = Duration::from_mins(1);
    for service in ["", "temper.v1.ResultsService"] {
        let told = health::check(&running.url, &nobody, service, patience).await;
        assert!(told.is_ok(), "{service}: {told:?}");
    }
    let told = health::check(&running.url, &nobody, "temper.v1.SweepService", patience).await;
    let said = told.unwrap_err().to_string();
    assert!(said.contains("`temper.v1.SweepService`"), "{said}");
}

#[tokio::test]
async fn probe_gives_up_on_a_server_that_takes_connections_and_does_not_serve() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", server.address());
    let patience = Duration::from_millis(50);
    let told = health::check(&url, &Credentials::default(), "", patience).await;
    assert!(matches!(told, Err(HealthError::Late { .. })), "{told:?}");
    drop(server);
    let told = health::check(&url, &Credentials::default(), "", Duration::from_mins(1)).await;
    assert!(matches!(told, Err(HealthError::Connect(_))), "{told:?}");
}

#[tokio::test]
async fn health_knows_the_server_and_each_service() {
    let running = start().await;
    let mut health = HealthClient::new(running.channel().await);
    for service in ["", "temper.v1.ResultsService"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = HealthCheckRequest {
        service: "temper.v1.SweepService".into(),
    };
    assert_eq!(
        health.check(request).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn health_watchers_learn_of_the_stop() {
    let running = start().await;
    let mut health = HealthClient::new(running.channel().await);
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    running.stop.gracefully();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
}

/// The same conversation in either version of reflection.
macro_rules! converse {
    ($version:ident, $url:expr, $asks:expr) => {{
        use $version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest as Ask,
            server_reflection_response::MessageResponse as Answer,
        };
        let channel = client::connect($url, &Credentials::default())
            .await
            .unwrap();
        let asks = $asks.map(|(kind, text): (&str, &str)| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(match kind {
                "list" => Ask::ListServices(text.into()),
                "file" => Ask::FileByFilename(text.into()),
                _ => Ask::FileContainingSymbol(text.into()),
            }),
        });
        let answers = ServerReflectionClient::new(channel)
            .server_reflection_info(futures::stream::iter(asks))
            .await
            .unwrap()
            .into_inner();
        answers
            .map(|answer| match answer.unwrap().message_response.unwrap() {
                Answer::ListServicesResponse(list) => list
                    .service
                    .into_iter()
                    .map(|service| service.name)
                    .collect::<Vec<_>>(),
                Answer::FileDescriptorResponse(files) => {
                    vec![format!("{} file", files.file_descriptor_proto.len())]
                }
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
            .await
    }};
}

#[tokio::test]
async fn both_reflections_list_and_describe_what_is_served() {
    let running = start().await;
    let asks = [
        ("list", ""),
        ("symbol", "temper.v1.ResultsService"),
        ("symbol", "grpc.health.v1.Health"),
        ("symbol", "temper.v1.SweepSpec"),
        ("file", "google/protobuf/timestamp.proto"),
    ];
    let first = converse!(v1, &running.url, asks);
    let alpha = converse!(v1alpha, &running.url, asks);
    assert_eq!(first, alpha);
    let services = &first[0];
    for name in [
        "temper.v1.ResultsService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ] {
        assert!(
            services.iter().any(|service| service == name),
            "{name} in {services:?}"
        );
    }
    assert!(
        !services
            .iter()
            .any(|service| service == "temper.v1.SweepService"),
        "{services:?}"
    );
    assert!(
        first[1..].iter().all(|files| files[0] == "1 file"),
        "{first:?}"
    );
}

#[tokio::test]
async fn violations_reach_the_client() {
    let running = start().await;
    let mut results = ResultsServiceClient::new(running.channel().await);
    let error = results
        .get_curve(GetCurveRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(
        status::explain(&error).contains("\n  name: must be jobs/{number}"),
        "{error}"
    );
}

#[tokio::test]
async fn call_in_flight_is_finished_before_a_graceful_stop_ends() {
    let running = start().await;
    let mut results = ResultsServiceClient::new(running.channel().await);
    let call = tokio::spawn(async move {
        results
            .aggregate_curves(AggregateCurvesRequest::default())
            .await
    });
    running.slow.entered.acquire().await.unwrap().forget();
    running.stop.gracefully();
    running.slow.permits.add_permits(1);
    call.await.unwrap().unwrap();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn cut_does_not_wait_for_calls_that_never_end() {
    let running = start().await;
    let mut results = ResultsServiceClient::new(running.channel().await);
    let call = tokio::spawn(async move {
        results
            .aggregate_curves(AggregateCurvesRequest::default())
            .await
    });
    running.slow.entered.acquire().await.unwrap().forget();
    running.stop.now();
    running.task.await.unwrap().unwrap();
    call.abort();
}

#[tokio::test]
async fn taken_address_is_named_in_the_error() {
    let running = start().await;
    let error = Server::bind(running.address).await.err().unwrap();
    assert!(
        error.to_string().contains(&running.address.to_string()),
        "{error}"
    );
}
