//! A collector of spans, which takes them as OpenTelemetry's does: by OTLP, over gRPC.

use std::io;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
pub use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// Keeps the spans that it is sent.
pub struct Collector {
    endpoint: String,
    coming: UnboundedReceiver<Span>,
    told: Vec<Span>,
}

impl Collector {
    /// Starts one at a free port, which takes spans as long as the runtime lives.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (sender, coming) = mpsc::unbounded_channel();
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(Taker(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        Ok(Self {
            endpoint,
            coming,
            told: Vec::new(),
        })
    }

    /// Where it takes spans: for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans that it has been sent, in their order.
    pub fn told(&mut self) -> &[Span] {
        while let Ok(span) = self.coming.try_recv() {
            self.told.push(span);
        }
        &self.told
    }

    /// Waits until the spans that it has been sent are as wanted: for ever, if they never are.
    pub async fn wait(&mut self, wanted: impl Fn(&[Span]) -> bool) {
        while !wanted(self.told()) {
            match self.coming.recv().await {
                Some(span) => self.told.push(span),
                // It takes no more: whoever looks at the spans will see that some are missing.
                None => return,
            }
        }
    }
}

/// Hands on what is sent.
struct Taker(UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Taker {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources.into_iter().flat_map(|spans| spans.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            // A test that is over does not listen.
            let _over = self.0.send(span);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
