//! A line on which only the committed protocol is spoken: `proto/baseline.binpb`. Every message is read and written
//! anew by its descriptors, so that what came to the protocol since is lost on the way, as on a peer that
//! does not know it; methods that it lacks are answered as such a peer answers them.

use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context, Poll},
};

use anyhow::Context as _;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client, codec,
    codegen::{Service, http},
    server::{self, StreamingService},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// The protocol that later ones must not break.
const BASELINE: &[u8] = include_bytes!("../../../proto/baseline.binpb");

/// A line. Dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    /// Where clients connect to.
    pub address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

/// The committed protocol.
///
/// # Errors
/// When it cannot be read.
pub fn baseline() -> anyhow::Result<DescriptorPool> {
    DescriptorPool::decode(BASELINE).context("proto/baseline.binpb is no descriptor set")
}

/// What today's protocol has and `old` lacks: methods and fields, by their full names.
///
/// # Errors
/// When today's protocol cannot be read.
pub fn news(old: &DescriptorPool) -> anyhow::Result<Vec<String>> {
    let today = DescriptorPool::decode(temper_proto::DESCRIPTORS)?;
    let fields = today.all_messages().flat_map(|message| {
        let known = old.get_message_by_name(message.full_name());
        let is_known = move |number| {
            let known = known.as_ref();
            known.is_some_and(|known| known.get_field(number).is_some())
        };
        let fields: Vec<_> = message.fields().collect();
        fields
            .into_iter()
            .filter(move |field| !is_known(field.number()))
    });
    let fields: Vec<_> = fields.map(|field| field.full_name().to_owned()).collect();
    let services: Vec<_> = today.services().collect();
    let methods = services.iter().flat_map(|service| {
        let path = |method: MethodDescriptor| {
            let path = format!("/{}/{}", service.full_name(), method.name());
            method_of(old, &path).is_none().then_some(path)
        };
        service.methods().filter_map(path).collect::<Vec<_>>()
    });
    Ok(methods.chain(fields).collect())
}

impl Relay {
    /// Opens a line to `upstream` on a free port of the loopback.
    ///
    /// # Errors
    /// When the machine has no port to give, or the protocol cannot be read.
    pub async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let channel = Endpoint::try_from(format!("http://{upstream}"))?.connect_lazy();
        let line = Line {
            pool: baseline()?,
            channel,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        // Ends when the relay is dropped.
        let serving = tokio::spawn(async move {
            let served = Server::builder().serve_with_incoming(line, incoming).await;
            if let Err(error) = served {
                tracing::warn!(%error, "the line broke");
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Debug, Clone)]
struct Line {
    pool: DescriptorPool,
    channel: Channel,
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(method) = method_of(&self.pool, request.uri().path()) else {
            let status = Status::unimplemented("an older peer has no such method");
            return Box::pin(async { Ok(status.into_http()) });
        };
        let call = Call {
            channel: self.channel.clone(),
            path: request.uri().path().to_owned(),
            answer: method.output(),
        };
        let mut server = server::Grpc::new(Codec(method.input()));
        Box::pin(async move { Ok(server.streaming(call, request).await) })
    }
}

fn method_of(pool: &DescriptorPool, path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let service = pool.get_service_by_name(service)?;
    service.methods().find(|found| found.name() == method)
}

/// A call on its way. What is unary is a stream of one, which looks the same on the wire.
struct Call {
    channel: Channel,
    path: String,
    answer: MessageDescriptor,
}

impl StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let mut client = client::Grpc::new(self.channel.clone());
        let (path, codec) = (self.path.parse(), Codec(self.answer.clone()));
        Box::pin(async move {
            let path = path.map_err(|_| Status::internal("no path"))?;
            let (metadata, extensions, messages) = request.into_parts();
            // A client that breaks off has its call broken off, too: this future is dropped.
            let messages = messages.filter_map(|message| async { message.ok() });
            let request = Request::from_parts(metadata, extensions, messages);
            let ready = client.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            let response = client.streaming(request, path, codec).await?;
            Ok(response.map(StreamExt::boxed))
        })
    }
}

/// Reads messages as the committed protocol has them; writes what it is given.
#[derive(Debug, Clone)]
struct Codec(MessageDescriptor);

impl codec::Codec for Codec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Self;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl codec::Decoder for Codec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut codec::DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let bytes = rewritten(&self.0, bytes).map_err(|error| Status::internal(error.to_string()));
        bytes.map(Some)
    }
}

#[derive(Debug)]
struct Raw;

impl codec::Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, bytes: Bytes, to: &mut codec::EncodeBuf<'_>) -> Result<(), Status> {
        to.put(bytes);
        Ok(())
    }
}

/// A message less what its descriptor does not know.
fn rewritten(message: &MessageDescriptor, bytes: Bytes) -> anyhow::Result<Bytes> {
    use prost::Message as _;
    let mut message = DynamicMessage::decode(message.clone(), bytes)?;
    forget(&mut message);
    Ok(message.encode_to_vec().into())
}

fn forget(message: &mut DynamicMessage) {
    message.take_unknown_fields().for_each(drop);
    for (_, value) in message.fields_mut() {
        forget_in(value);
    }
}

fn forget_in(value: &mut Value) {
    match value {
        Value::Message(message) => forget(message),
        Value::List(values) => values.iter_mut().for_each(forget_in),
        Value::Map(values) => values.values_mut().for_each(forget_in),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use temper_proto::v1;

    use super::*;

    /// Field 2000 with the number 1: no protocol of ours has it.
    const STRANGE: &[u8] = &[0x80, 0x7d, 0x01];

    #[test]
    fn fields_that_the_baseline_lacks_are_dropped_at_every_depth_and_others_stay() {
        let lease = v1::LeaseRef {
            job: "jobs/1".to_owned(),
            incarnation: "i".to_owned(),
            fence: 3,
        };
        let whole = v1::HeartbeatRequest {
            incarnation: "i".to_owned(),
            leases: vec![lease.clone()],
        };
        let inner = [&lease.encode_to_vec()[..], STRANGE].concat();
        let mut later = whole.encode_to_vec();
        // The lease once more, with what a later peer would say in it; and something beside it.
        later.extend([0x12, u8::try_from(inner.len()).unwrap()]);
        later.extend(inner);
        later.extend(STRANGE);

        let name = "temper.v1.HeartbeatRequest";
        let descriptor = baseline().unwrap().get_message_by_name(name).unwrap();
        let older = rewritten(&descriptor, later.into()).unwrap();
        let expected = v1::HeartbeatRequest {
            leases: vec![lease.clone(), lease],
            ..whole
        };
        assert_eq!(older, expected.encode_to_vec());
    }

    #[test]
    fn methods_are_those_of_the_baseline() {
        let pool = baseline().unwrap();
        assert!(method_of(&pool, "/temper.v1.WorkerService/Complete").is_some());
        for path in [
            "/temper.v1.WorkerService/Divine",
            "/temper.v2.X/Complete",
            "x",
        ] {
            assert!(method_of(&pool, path).is_none(), "{path}");
        }
    }
}
