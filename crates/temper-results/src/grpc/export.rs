//! Exports, from the database to the client with the rows of a few cells in between.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use temper_core::{
    ErrorKind, Violations,
    curve::{Distribution, Figures},
};
use temper_proto::{SweepName, v1};
use temper_service::status::{self, bad_field};
use temper_store::{CellCurve, Exported, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Results, refused, request::refuse};
use crate::export::{CurveRow, EncodeError, Encoder, Format, Row, provenance};

/// Bytes of a message, about: a client takes many times that.
const CHUNK: usize = 256 << 10;
/// Messages that wait for the client.
const WAITING: usize = 2;

/// What a stream of an export carries, in order.
pub type Parts = Pin<Box<dyn Stream<Item = Result<v1::ExportResponse, Status>> + Send + 'static>>;

type Sender = mpsc::Sender<Result<v1::ExportResponse, Status>>;

/// What is exported.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Jobs,
    Epochs,
    Evaluations,
    Curves,
}

/// Why an export ends before its last row.
enum Cut {
    /// The client is gone.
    Gone,
    /// Something failed.
    Failed(Status),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Epochs => "epochs",
            Self::Evaluations => "evaluations",
            Self::Curves => "curves",
        }
    }
}

/// An export under way.
struct Export {
    store: Store,
    sweep: Uuid,
    format: Format,
    provenance: String,
    sender: Sender,
    /// Given back when the export ends, before the client learns of that.
    permit: OwnedSemaphorePermit,
}

pub async fn stream(results: &Results, request: &v1::ExportRequest) -> Result<Parts, Status> {
    let (sweep, kind, format) = read(request)?;
    let permit = results.exports.clone().acquire_owned().await;
    let permit = permit.map_err(|_| Status::unavailable("the service is stopping"))?;
    let of = results
        .store
        .sweep_provenance(sweep)
        .await
        .map_err(refused)?;
    let provenance = provenance(sweep, &of).map_err(|error| broken(&error))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let info = v1::ExportInfo {
        file_name: format!("{sweep}-{}.{}", kind.name(), format.extension()),
        media_type: format.media_type().to_owned(),
        provenance: provenance.clone(),
    };
    let export = Export {
        store: results.store.clone(),
        sweep,
        format,
        provenance,
        sender,
        permit,
    };
    // It ends with its last row, or with the client: nobody takes what it sends then.
    let span = tracing::info_span!("export", %sweep, kind = kind.name());
    tokio::spawn(export.run(kind).instrument(span));
    let first = v1::export_response::Part::Info(info);
    let rest = stream::unfold(receiver, |mut receiver| async {
        let part = receiver.recv().await?;
        Some((part, receiver))
    });
    Ok(Box::pin(stream::iter([Ok(part(first))]).chain(rest)))
}

fn read(request: &v1::ExportRequest) -> Result<(Uuid, Kind, Format), Status> {
    use v1::{ExportFormat, ExportKind};
    let mut violations = Violations::default();
    let sweep = violations.take("sweep", request.sweep.parse::<SweepName>());
    let kind = match ExportKind::try_from(request.kind) {
        Ok(ExportKind::Jobs) => Some(Kind::Jobs),
        Ok(ExportKind::Epochs) => Some(Kind::Epochs),
        Ok(ExportKind::Evaluations) => Some(Kind::Evaluations),
        Ok(ExportKind::Curves) => Some(Kind::Curves),
        Ok(ExportKind::Unspecified) | Err(_) => {
            violations.add("kind", "must be jobs, epochs, evaluations or curves");
            None
        }
    };
    let format = match ExportFormat::try_from(request.format) {
        Ok(ExportFormat::Unspecified | ExportFormat::Csv) => Some(Format::Csv),
        Ok(ExportFormat::Json) => Some(Format::Json),
        Ok(ExportFormat::Parquet) => Some(Format::Parquet),
        Err(error) => {
            violations.add("format", error.to_string());
            None
        }
    };
    refuse(violations)?;
    match (sweep, kind, format) {
        (Some(SweepName(sweep)), Some(kind), Some(format)) => Ok((sweep, kind, format)),
        _ => Err(bad_field("sweep", "must be given")),
    }
}

impl Export {
    async fn run(self, kind: Kind) {
        let (store, sweep) = (self.store.clone(), self.sweep);
        let outcome = match kind {
            Kind::Jobs => self.send(store.jobs_export(sweep)).await,
            Kind::Epochs => self.send(store.epochs_export(sweep)).await,
            Kind::Evaluations => self.send(store.points_export(sweep)).await,
            Kind::Curves => {
                self.send(store.curves_export(sweep).map(figured).boxed())
                    .await
            }
        };
        drop(self.permit);
        if let Err(Cut::Failed(status)) = outcome {
            // Nobody listens where the client has gone.
            let _ = self.sender.send(Err(status)).await;
        }
    }

    async fn send<R: Row>(&self, mut rows: Exported<'_, R>) -> Result<(), Cut> {
        let mut encoder = Encoder::begin::<R>(self.format, &self.provenance)?;
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(refused)
            .map_err(Cut::Failed)?
        {
            encoder.push(row)?;
            if encoder.ready() >= CHUNK {
                self.chunks(encoder.take()).await?;
            }
        }
        encoder.finish()?;
        self.chunks(encoder.take()).await
    }

    /// Sends bytes, in pieces that a client takes.
    async fn chunks(&self, bytes: Vec<u8>) -> Result<(), Cut> {
        for piece in bytes.chunks(4 * CHUNK) {
            let piece = v1::export_response::Part::Chunk(piece.to_vec());
            let sent = self.sender.send(Ok(part(piece))).await;
            sent.map_err(|_| Cut::Gone)?;
        }
        Ok(())
    }
}

impl From<EncodeError> for Cut {
    fn from(error: EncodeError) -> Self {
        Self::Failed(broken(&error))
    }
}

fn figured(curve: Result<CellCurve, StoreError>) -> Result<CurveRow, StoreError> {
    let curve = curve?;
    let points = curve.points.as_deref();
    // The store has checked every curve that it holds.
    let figures = points.and_then(|points| Figures::of(points, &Distribution::default()).ok());
    Ok(CurveRow(curve, figures))
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Status {
    status::of(ErrorKind::Internal, error)
}

fn part(part: v1::export_response::Part) -> v1::ExportResponse {
    v1::ExportResponse { part: Some(part) }
}
