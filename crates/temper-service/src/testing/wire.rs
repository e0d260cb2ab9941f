//! Calls of any method with any bytes, and what may be answered.

use std::time::Duration;

use prost::bytes::{Buf as _, BufMut as _};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Body as HttpBody, Bytes, StdError, http::uri::PathAndQuery},
};
use tonic_types::StatusExt as _;

/// How tonic begins what it says of bytes that are no message: gRPC makes them `INTERNAL`.
const UNDECODABLE: &str = "failed to decode Protobuf message";
/// Bytes of a violation's description at most.
const DESCRIPTION_BYTES: usize = 2000;

/// A method of `temper.v1`.
#[derive(Debug, Clone)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    /// Its name alone.
    pub name: String,
    /// Of its requests.
    pub input: MessageDescriptor,
    /// Whether it answers by a stream.
    pub streams: bool,
}

/// What came of a call.
#[derive(Debug)]
pub enum Answer {
    /// It was done; of a stream, its first message came or it ended well.
    Done,
    /// It was refused.
    Refused(Status),
    /// Nothing came in time.
    Silence,
}

/// Every method of these services, by the descriptors.
///
/// # Errors
/// When the descriptors are broken.
pub fn methods(services: &[&str]) -> Result<Vec<Method>, prost_reflect::DescriptorError> {
    let pool = DescriptorPool::decode(temper_proto::DESCRIPTORS)?;
    let served = pool.services().filter(|one| services.contains(&one.name()));
    let methods = served.flat_map(|service| {
        let methods = service.methods().map(|method| Method {
            path: format!("/{}/{}", service.full_name(), method.name()),
            name: method.name().to_owned(),
            input: method.input(),
            streams: method.is_server_streaming(),
        });
        methods.collect::<Vec<_>>()
    });
    Ok(methods.collect())
}

/// Calls a method with these bytes for a message, and waits so long for the first of its answer.
pub async fn call<T>(channel: T, method: &Method, request: Vec<u8>, patience: Duration) -> Answer
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let answer = timeout(patience, first(Grpc::new(channel), method, request));
    match answer.await {
        Ok(Ok(())) => Answer::Done,
        Ok(Err(status)) => Answer::Refused(status),
        Err(_) => Answer::Silence,
    }
}

async fn first<T>(mut client: Grpc<T>, method: &Method, request: Vec<u8>) -> Result<(), Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::try_from(&method.path);
    let path = path.map_err(|error| Status::from_error(error.into()))?;
    let request = Request::new(request);
    if method.streams {
        let answer = client.server_streaming(request, path, Raw).await?;
        answer.into_inner().message().await.map(drop)
    } else {
        client.unary(request, path, Raw).await.map(drop)
    }
}

/// What is wrong with an answer, if anything. `waits` says whether the method may be silent.
#[must_use]
pub fn objection(answer: &Answer, waits: bool) -> Option<String> {
    let status = match answer {
        Answer::Done => return None,
        Answer::Silence if waits => return None,
        Answer::Silence => return Some("nothing was answered".to_owned()),
        Answer::Refused(status) => status,
    };
    let fits = match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange => true,
        Code::Internal => status.message().starts_with(UNDECODABLE),
        // Unknown, unavailable, cancelled: the handler or its connection did not survive.
        _ => false,
    };
    if !fits {
        return Some(format!("it was answered {status:?}"));
    }
    let request = status.get_details_bad_request();
    let violations = request.map(|request| request.field_violations);
    let long = violations.into_iter().flatten().find(|violation| {
        violation.description.is_empty() || violation.description.len() > DESCRIPTION_BYTES
    });
    long.map(|violation| format!("a violation is described in vain or at length: {violation:?}"))
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}
