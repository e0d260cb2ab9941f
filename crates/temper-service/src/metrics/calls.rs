//! Rate, errors and duration of every call, told by method. What the table of methods does not name is
//! `other`: callers cannot make series.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, Request, Response},
    },
};

use super::{Metric, counter, gauge, histogram};
use crate::access::{Method, Shape, method};

const REQUESTS: &str = "temper_rpc_requests_total";
const DURATION: &str = "temper_rpc_duration_seconds";
const IN_FLIGHT: &str = "temper_rpc_in_flight";

/// What is told of calls.
pub const METRICS: &[Metric] = &[
    counter(REQUESTS, "Calls that have ended, by their gRPC status."),
    histogram(
        DURATION,
        "Time from a call to the end of its answer. By shape: unary calls answer as soon as they can, polls \
         wait for something to tell, streams last as long as somebody listens.",
    ),
    gauge(IN_FLIGHT, "Calls that have not ended."),
];

/// Where a status stands, in headers or trailers.
const STATUS: &str = "grpc-status";

const OTHER: Method = Method {
    service: "other",
    name: "other",
    shape: Shape::Unary,
};

/// Counts what goes through.
#[derive(Clone)]
pub struct Calls<S>(pub S);

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut call = Call::begin(request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            let (head, body) = answer.await?.into_parts();
            // An answer that is nothing but its status has it here.
            if let Some(code) = code(&head.headers) {
                call.end(code);
                return Ok(Response::from_parts(head, body));
            }
            let body = Body::new(Counted { body, call });
            Ok(Response::from_parts(head, body))
        })
    }
}

/// A call under way. Dropped before it has ended, it was given up by the client or cut.
struct Call {
    method: Method,
    since: Instant,
    ended: bool,
}

impl Call {
    fn begin(path: &str) -> Self {
        let method = method(path).unwrap_or(OTHER);
        in_flight(method).increment(1.0);
        Self {
            method,
            since: Instant::now(),
            ended: false,
        }
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Method {
            service,
            name,
            shape,
        } = self.method;
        let took = self.since.elapsed();
        let duration = metrics::histogram!(
            DURATION, "service" => service, "method" => name, "shape" => shaped(shape)
        );
        duration.record(took);
        metrics::counter!(
            REQUESTS, "service" => service, "method" => name, "shape" => shaped(shape), "code" => named(code)
        )
        .increment(1);
        in_flight(self.method).decrement(1.0);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

fn in_flight(method: Method) -> metrics::Gauge {
    metrics::gauge!(IN_FLIGHT, "service" => method.service, "method" => method.name)
}

/// An answer that tells when it has ended, and how.
struct Counted {
    body: Body,
    call: Call,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let ended = match &frame {
            None => Some(Code::Unknown),
            Some(Err(status)) => Some(status.code()),
            Some(Ok(frame)) => frame
                .trailers_ref()
                .map(|trailers| code(trailers).unwrap_or(Code::Unknown)),
        };
        if let Some(code) = ended {
            self.call.end(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    let value = headers.get(STATUS)?;
    Some(Code::from_bytes(value.as_bytes()))
}

fn shaped(shape: Shape) -> &'static str {
    match shape {
        Shape::Unary => "unary",
        Shape::Poll => "poll",
        Shape::Stream => "stream",
    }
}

/// A code by its name in the protocol.
fn named(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
