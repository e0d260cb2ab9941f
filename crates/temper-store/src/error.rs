use sqlx::migrate::MigrateError;
use temper_core::{
    ErrorKind, Violations,
    curve::CurveError,
    job::{JobKind, JobState, TransitionError},
};
use uuid::Uuid;

use crate::{JobId, SweepState};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// How it was named.
        id: String,
    },
    /// A client used one request id for two requests.
    #[error("request id {0} was used before, for another request")]
    RequestReused(Uuid),
    /// The sweep is not as it was when the caller looked at it.
    #[error("sweep {sweep} has been changed since: get it anew, and repeat with its etag")]
    Stale {
        /// The sweep.
        sweep: Uuid,
    },
    /// A sweep that cannot do this where it stands.
    #[error("sweep {sweep} is {state} and cannot {what}")]
    SweepState {
        /// The sweep.
        sweep: Uuid,
        /// Where it stands.
        state: SweepState,
        /// What it cannot do, and what would help.
        what: &'static str,
    },
    /// A worker that has not registered, or that another database knows.
    #[error("no worker with incarnation {0} is registered")]
    UnknownWorker(Uuid),
    /// An incarnation that is another token's.
    #[error("incarnation {0} is registered under another token")]
    WorkerTaken(Uuid),
    /// A role of a reader's name may do more than a reader.
    #[error(
        "the role {0} may do more than read (it is superuser, makes roles or databases, replicates, \
         or is a member of another role): take that from it, or drop it"
    )]
    RoleTaken(String),
    /// The writer no longer holds the job, or never did.
    #[error("the lease of job {job} is lost: {reason}")]
    LeaseLost {
        /// The job.
        job: JobId,
        /// Who holds it now, or what became of it.
        reason: String,
    },
    /// A training was handed in without all of its epochs.
    #[error(
        "job {job} has {epochs} epochs; {handed_in} are handed in and {reported} were reported"
    )]
    EpochGap {
        /// The job.
        job: JobId,
        /// Epochs that it trains.
        epochs: u32,
        /// Epochs that the worker says it has trained.
        handed_in: u32,
        /// Epochs reported.
        reported: u32,
    },
    /// What was handed in does not fit the job.
    #[error("the report does not fit job {job}: {reason}")]
    Mismatch {
        /// The job.
        job: JobId,
        /// What does not fit.
        reason: String,
    },
    /// A curve that is none was handed in.
    #[error("the measurement of job {job} is no curve")]
    Curve {
        /// The job.
        job: JobId,
        /// What is wrong with it.
        source: CurveError,
    },
    /// The job has no such result, or not yet.
    #[error("job {job} ({kind}, {state}) has no {what}")]
    NoResult {
        /// The job.
        job: JobId,
        /// What it is.
        kind: JobKind,
        /// Where it stands.
        state: JobState,
        /// What was asked for.
        what: &'static str,
    },
    /// A filter names what the sweep does not have; fields are relative to the filter.
    #[error("the filter does not fit the sweep")]
    Filter(#[source] Violations),
    /// A job cannot take this step.
    #[error("the job's state does not allow it")]
    Transition(#[from] TransitionError),
    /// A stored value cannot be read back: a defect, or a hand at the tables.
    #[error("the stored {what} cannot be read: {reason}")]
    Corrupt {
        /// Which value.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// A value does not fit its column.
    #[error("{what} is too large to be stored")]
    TooLarge {
        /// Which value.
        what: &'static str,
    },
    /// The tables could not be brought up to date.
    #[error("migrating the database failed")]
    Migration(#[from] MigrateError),
    /// The database refused or did not answer.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::RequestReused(_) | Self::WorkerTaken(_) => ErrorKind::AlreadyExists,
            Self::LeaseLost { .. } => ErrorKind::LeaseLost,
            Self::Stale { .. } => ErrorKind::Conflict,
            Self::UnknownWorker(_)
            | Self::SweepState { .. }
            | Self::EpochGap { .. }
            | Self::NoResult { .. }
            | Self::RoleTaken(_)
            | Self::Transition(_) => ErrorKind::FailedPrecondition,
            Self::Mismatch { .. }
            | Self::Curve { .. }
            | Self::Filter(_)
            | Self::TooLarge { .. } => ErrorKind::InvalidInput,
            Self::Migration(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            )
            | Self::Database(error) => database_kind(error),
            Self::Corrupt { .. } | Self::Migration(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn not_found(what: &'static str, id: &impl ToString) -> Self {
        Self::NotFound {
            what,
            id: id.to_string(),
        }
    }

    pub(crate) fn corrupt(what: &'static str, reason: &(impl ToString + ?Sized)) -> Self {
        Self::Corrupt {
            what,
            reason: reason.to_string(),
        }
    }
}

/// Whether the caller's value is to blame, or trying again may help: the connection is gone, the
/// server starts or stops, or two transactions stood in each other's way.
fn database_kind(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => ErrorKind::Unavailable,
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // Classes 08 connection, 40 rollback (serialisation, deadlock), 53 resources,
            // 57P operator intervention (shutdown, starting up).
            Some(code)
                if ["08", "40", "53", "57P"]
                    .iter()
                    .any(|class| code.starts_with(class)) =>
            {
                ErrorKind::Unavailable
            }
            // A text with a NUL, for a column or in JSON: nothing that is stored can be like it.
            Some("22021" | "22P05") => ErrorKind::InvalidInput,
            _ => ErrorKind::Internal,
        },
        _ => ErrorKind::Internal,
    }
}
