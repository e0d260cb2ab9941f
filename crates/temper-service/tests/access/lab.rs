//! A server with the results service, and tokens that it knows.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::future::BoxFuture;
use temper_core::{
    Digest,
    access::{Principal, Role, Standing},
};
use temper_proto::v1::{
    AggregateCurvesRequest, AggregateCurvesResponse, Curve, GetCurveRequest,
    results_service_server::ResultsServiceServer,
};
use temper_service::{
    access::{Authenticate, Secret, principal},
    client::Credentials,
    server::Server,
    stop::Stop,
};
use tonic::{Request, Response, Status, transport::ServerTlsConfig};

use crate::partial::{Partial, Whole};

/// Tokens, and how often it was asked for one.
#[derive(Default)]
pub struct Book {
    pub tokens: Mutex<HashMap<Digest, Standing>>,
    pub asked: AtomicU32,
    /// As when the database is away.
    pub away: Mutex<bool>,
}

impl Book {
    pub fn add(&self, standing: Standing) -> Secret {
        let secret = Secret::generate().unwrap();
        self.set(&secret, standing);
        secret
    }

    pub fn set(&self, secret: &Secret, standing: Standing) {
        let mut tokens = self.tokens.lock().unwrap();
        tokens.insert(secret.digest(), standing);
    }
}

impl Authenticate for Book {
    fn standing<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<Standing, Status>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if *self.away.lock().unwrap() {
                return Err(Status::unavailable("the database does not answer"));
            }
            let tokens = self.tokens.lock().unwrap();
            Ok(tokens.get(digest).cloned().unwrap_or(Standing::Unknown))
        })
    }
}

pub fn standing(role: Role) -> Standing {
    Standing::Good(Principal {
        token: uuid::Uuid::nil(),
        name: format!("the {role}"),
        role,
        owner: "lab".into(),
    })
}

/// Answers with the name of whoever calls.
struct Echo;

#[tonic::async_trait]
impl Partial for Echo {
    async fn get_curve(
        &self,
        request: Request<GetCurveRequest>,
    ) -> Result<Response<Curve>, Status> {
        Ok(Response::new(Curve {
            job: principal(&request)?.name.clone(),
            ..Curve::default()
        }))
    }

    async fn aggregate_curves(
        &self,
        _: Request<AggregateCurvesRequest>,
    ) -> Result<Response<AggregateCurvesResponse>, Status> {
        Ok(Response::new(AggregateCurvesResponse::default()))
    }
}

/// A server that serves until dropped.
pub struct Lab {
    pub book: Arc<Book>,
    pub address: std::net::SocketAddr,
    stop: Stop,
}

impl Lab {
    pub async fn open(tls: Option<ServerTlsConfig>) -> Self {
        let (book, stop) = (Arc::new(Book::default()), Stop::new());
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let server = server
            .with(ResultsServiceServer::new(Whole(Echo)))
            .secured(tls);
        let address = server.address();
        tokio::spawn(server.serve(book.clone(), stop.clone()));
        Self {
            book,
            address,
            stop,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.now();
    }
}

pub fn credentials(secret: &Secret) -> Credentials {
    Credentials::default().with_token(secret.clone())
}
