//! One connection at a time, to one of several addresses.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::HttpConnector;
use tonic::codegen::{Service, http::Uri};

use super::{CONNECT_TIMEOUT, KEEP_ALIVE_INTERVAL};

type Connected = <HttpConnector as Service<Uri>>::Response;
type Failed = <HttpConnector as Service<Uri>>::Error;

/// Connects to the first of its addresses that answers. It is asked whenever the connection before has
/// broken, so it begins behind the address that this one led to: a peer that hangs, whose address
/// still answers, does not hold its clients.
#[derive(Debug, Clone)]
pub(super) struct Failover {
    connector: HttpConnector,
    addresses: Arc<[Uri]>,
    /// Where the next connection is tried first.
    next: Arc<AtomicUsize>,
}

impl Failover {
    /// `addresses` must not be empty. Processes begin at different ones, so that they spread.
    pub(super) fn new(addresses: Vec<Uri>) -> Self {
        let first = usize::try_from(std::process::id()).unwrap_or(0);
        Self::beginning_at(addresses, first)
    }

    fn beginning_at(addresses: Vec<Uri>, first: usize) -> Self {
        let mut connector = HttpConnector::new();
        // TLS comes around the connection, not from it.
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEP_ALIVE_INTERVAL));
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            connector,
            addresses: addresses.into(),
            next: Arc::new(AtomicUsize::new(first)),
        }
    }

    async fn connect(mut self) -> Result<Connected, Failed> {
        let (count, first) = (self.addresses.len(), self.next.load(Ordering::Relaxed));
        let mut place = first % count;
        loop {
            let address = self.addresses[place].clone();
            std::future::poll_fn(|context| self.connector.poll_ready(context)).await?;
            let connected = self.connector.call(address.clone()).await;
            place = (place + 1) % count;
            match connected {
                Ok(connected) => {
                    self.next.store(place, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(error) if place == first % count => return Err(error),
                Err(error) => {
                    tracing::debug!(%address, %error, "no answer: trying the next address");
                }
            }
        }
    }
}

impl Service<Uri> for Failover {
    type Response = Connected;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    /// The address that the channel bears is one of ours.
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn listen() -> (TcpListener, Uri) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        (listener, uri.parse().unwrap())
    }

    #[tokio::test]
    async fn connections_lead_to_whoever_answers_and_the_next_one_elsewhere() {
        let (gone, nobody) = listen().await;
        drop(gone);
        let ((first, one), (second, two)) = (listen().await, listen().await);
        let mut failover = Failover::beginning_at(vec![nobody.clone(), one, two.clone()], 0);
        let mut connect = async || failover.call(nobody.clone()).await;
        connect().await.unwrap();
        first.accept().await.unwrap();
        // That connection broke, or else nobody would ask: not to the same peer again.
        connect().await.unwrap();
        second.accept().await.unwrap();
        drop(first);
        connect().await.unwrap();
        second.accept().await.unwrap();
        drop(second);
        assert!(connect().await.is_err());
    }

    #[tokio::test]
    async fn one_address_is_connected_to_again() {
        let (listener, uri) = listen().await;
        let mut failover = Failover::beginning_at(vec![uri.clone()], 7);
        for _ in 0..2 {
            failover.call(uri.clone()).await.unwrap();
            listener.accept().await.unwrap();
        }
    }
}
