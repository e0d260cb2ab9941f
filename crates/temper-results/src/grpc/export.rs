//! Exports, from the database to the client with the rows of a few cells in between.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use temper_core::{
    ErrorKind, Violations,
    curve::{Distribution, Figures},
};
use temper_proto::{
    SweepName,
    v1::{self, export_response::Part},
};
use temper_service::status::{self, bad_field};
use temper_store::{CellCurve, Exported, Store, StoreError};
use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc},
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tonic::Status;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Results, refused, request::refuse};
use crate::export::{CurveRow, EncodeError, Encoder, Format, Row, provenance};

/// Bytes of a message, about: a client takes many times that.
const CHUNK: usize = 256 << 10;
/// Messages that wait for the client.
const WAITING: usize = 2;
/// How long an export waits for its client to take a message, and for its turn. Whoever reads no more,
/// as under `| less`, must not keep others from theirs.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a stream of an export carries, in order.
pub type Parts = Pin<Box<dyn Stream<Item = Result<v1::ExportResponse, Status>> + Send + 'static>>;

type Sender = mpsc::Sender<v1::ExportResponse>;

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
    /// So many run at a time.
    turns: Arc<Semaphore>,
}

pub async fn stream(results: &Results, request: &v1::ExportRequest) -> Result<Parts, Status> {
    let (sweep, kind, format) = read(request)?;
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
        turns: Arc::clone(&results.exports),
    };
    // It ends with its last row, or with the client: nobody takes what it sends then.
    let span = tracing::info_span!("export", %sweep, kind = kind.name());
    let export = tokio::spawn(export.run(kind).instrument(span));
    Ok(parts(info, receiver, export))
}

/// What comes, at once, also before it is the export's turn; the rows; and at last what went wrong, if
/// something did: what merely ended would be taken for whole.
fn parts(
    info: v1::ExportInfo,
    rows: mpsc::Receiver<v1::ExportResponse>,
    export: JoinHandle<Result<(), Status>>,
) -> Parts {
    let rows = stream::unfold(rows, |mut rows| async {
        let row = rows.recv().await?;
        Some((Ok(row), rows))
    });
    let end = stream::once(export).filter_map(|ended| future::ready(failure(ended).map(Err)));
    let info = stream::iter([Ok(part(Part::Info(info)))]);
    Box::pin(info.chain(rows).chain(end))
}

fn failure(ended: Result<Result<(), Status>, JoinError>) -> Option<Status> {
    match ended {
        Ok(outcome) => outcome.err(),
        Err(error) => Some(broken(&error)),
    }
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
    async fn run(self, kind: Kind) -> Result<(), Status> {
        match self.rows(kind).await {
            // Nobody listens where the client has gone.
            Ok(()) | Err(Cut::Gone) => Ok(()),
            Err(Cut::Failed(status)) => Err(status),
        }
    }

    async fn rows(&self, kind: Kind) -> Result<(), Cut> {
        // Given back when the export ends, before the client learns of that.
        let _turn = turn(&self.turns, &self.sender).await?;
        let (store, sweep) = (&self.store, self.sweep);
        match kind {
            Kind::Jobs => self.send(store.jobs_export(sweep)).await,
            Kind::Epochs => self.send(store.epochs_export(sweep)).await,
            Kind::Evaluations => self.send(store.points_export(sweep)).await,
            Kind::Curves => {
                self.send(store.curves_export(sweep).map(figured).boxed())
                    .await
            }
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
            hand(&self.sender, Part::Chunk(piece.to_vec())).await?;
        }
        Ok(())
    }
}

/// Waits for a turn, while the client does.
async fn turn<'a>(turns: &'a Semaphore, sender: &Sender) -> Result<SemaphorePermit<'a>, Cut> {
    let turn = tokio::select! {
        turn = timeout(PATIENCE, turns.acquire()) => turn,
        () = sender.closed() => return Err(Cut::Gone),
    };
    let late = |_| {
        Status::resource_exhausted(
            "other exports are under way, as many as may be at a time: repeat this one later",
        )
    };
    let turn = turn.map_err(late).map_err(Cut::Failed)?;
    turn.map_err(|_| Cut::Failed(Status::unavailable("the service is stopping")))
}

/// Hands the client a message, which it takes before long, or it is left.
async fn hand(sender: &Sender, message: Part) -> Result<(), Cut> {
    let Ok(sent) = timeout(PATIENCE, sender.send(part(message))).await else {
        tracing::info!("the client has stopped reading: its export ends");
        let seconds = PATIENCE.as_secs();
        return Err(Cut::Failed(Status::deadline_exceeded(format!(
            "nothing of the export was read for {seconds} s: let it be written to a file, and read that"
        ))));
    };
    sent.map_err(|_| Cut::Gone)
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

fn part(part: Part) -> v1::ExportResponse {
    v1::ExportResponse { part: Some(part) }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// Parts of an export that does this with its sender.
    fn exported<F>(export: impl FnOnce(Sender) -> F) -> Parts
    where
        F: Future<Output = Result<(), Cut>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(1);
        let outcome = export(sender);
        let task = tokio::spawn(async {
            match outcome.await {
                Err(Cut::Failed(status)) => Err(status),
                Ok(()) | Err(Cut::Gone) => Ok(()),
            }
        });
        parts(v1::ExportInfo::default(), receiver, task)
    }

    async fn without_a_turn(sender: Sender) -> Result<(), Cut> {
        turn(&Semaphore::new(0), &sender).await.map(drop)
    }

    async fn without_an_end(sender: Sender) -> Result<(), Cut> {
        loop {
            hand(&sender, Part::Chunk(vec![7])).await?;
        }
    }

    async fn next(parts: &mut Parts) -> Result<Option<Part>, Code> {
        let message = parts.try_next().await.map_err(|status| status.code())?;
        Ok(message.and_then(|message| message.part))
    }

    #[tokio::test(start_paused = true)]
    async fn export_says_what_comes_before_its_turn_and_does_not_wait_for_that_for_ever() {
        let mut parts = exported(without_a_turn);
        assert!(matches!(next(&mut parts).await, Ok(Some(Part::Info(_)))));
        assert_eq!(next(&mut parts).await, Err(Code::ResourceExhausted));
    }

    #[tokio::test(start_paused = true)]
    async fn export_whose_client_goes_waits_for_no_turn() {
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        assert!(matches!(without_a_turn(sender).await, Err(Cut::Gone)));
    }

    #[tokio::test(start_paused = true)]
    async fn export_that_nobody_reads_ends_and_is_not_taken_for_whole() {
        let mut parts = exported(without_an_end);
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(matches!(next(&mut parts).await, Ok(Some(Part::Info(_)))));
        assert_eq!(next(&mut parts).await, Ok(Some(Part::Chunk(vec![7]))));
        assert_eq!(next(&mut parts).await, Err(Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn export_that_breaks_off_is_not_taken_for_whole() {
        let task = tokio::spawn(future::pending());
        task.abort();
        let (_, receiver) = mpsc::channel(1);
        let mut parts = parts(v1::ExportInfo::default(), receiver, task);
        assert!(matches!(next(&mut parts).await, Ok(Some(Part::Info(_)))));
        assert_eq!(next(&mut parts).await, Err(Code::Internal));
    }
}
