//! What workers report, decoded: mistakes are named by their fields.

use std::time::Duration;

use temper_core::{
    Violations,
    curve::Point,
    report::{Audit, MaskingFlag},
    spec::Precision,
};
use temper_proto::v1;
use temper_service::status::{self, bad_field, field};
use temper_store::{Artifact, BestModel, LeaseRef, Measured, Trained};
use tonic::Status;

/// The number formats of a worker's device: single precision alone where it does not say.
pub fn precisions(numbers: &[i32]) -> Result<Vec<Precision>, Status> {
    if numbers.is_empty() {
        return Ok(vec![Precision::Fp32]);
    }
    let named = numbers.iter().enumerate().map(|(i, number)| {
        listed::<v1::Precision, Precision>(&format!("precisions[{i}]"), *number)
    });
    named.collect()
}

/// What a training made. Its best model may be absent: nothing may have been validated, or the
/// worker is of the release before.
pub fn trained(result: v1::TrainResult, lease: &LeaseRef) -> Result<Trained, Status> {
    let last = result.artifact.unwrap_or_default();
    let best = result.best.map(|best| {
        let artifact = artifact("train.best", best, lease)?;
        if result.best_epoch >= result.epochs {
            let epochs = result.epochs;
            let reason = format!("{} is none of {epochs} epochs", result.best_epoch);
            return Err(bad_field("train.best_epoch", reason));
        }
        Ok(BestModel {
            artifact,
            epoch: result.best_epoch,
        })
    });
    Ok(Trained {
        artifact: artifact("train.artifact", last, lease)?,
        best: best.transpose()?,
        epochs: result.epochs,
        micro_batch_size: Some(result.micro_batch_size).filter(|size| *size > 0),
        peak_memory_bytes: known("train.peak_memory_bytes", result.peak_memory_bytes)?,
    })
}

/// What an evaluation measured.
pub fn measured(result: &v1::EvaluateResult) -> Result<Measured, Status> {
    let points: Result<Vec<_>, _> = result.points.iter().map(Point::try_from).collect();
    let points = points.map_err(|violations| status::bad_request(&violations.below("evaluate")))?;
    let flags = result.flags.iter().enumerate().map(|(i, number)| {
        listed::<v1::MaskingFlag, MaskingFlag>(&format!("evaluate.flags[{i}]"), *number)
    });
    Ok(Measured {
        points,
        audit: result.audit.as_ref().map(Audit::from),
        flags: flags.collect::<Result<_, _>>()?,
        passes: Some(result.passes).filter(|passes| *passes > 0),
        peak_memory_bytes: known("evaluate.peak_memory_bytes", result.peak_memory_bytes)?,
    })
}

fn artifact(name: &str, message: v1::Artifact, lease: &LeaseRef) -> Result<Artifact, Status> {
    let part = |part: &str| format!("{name}.{part}");
    let artifact = Artifact {
        sha256: field(&part("sha256"), &message.sha256)?,
        size: unsigned(&part("size"), message.size)?,
        path: message.path,
    };
    check_path(&part("path"), &artifact.path, lease)?;
    Ok(artifact)
}

/// An element of a list of enums, which must be one that there is.
fn listed<M, T>(name: &str, number: i32) -> Result<T, Status>
where
    M: TryFrom<i32, Error: std::fmt::Display>,
    T: TryFrom<M, Error = Violations>,
{
    let message = M::try_from(number).map_err(|error| bad_field(name, error.to_string()))?;
    T::try_from(message).map_err(|_| bad_field(name, "must be given"))
}

/// Bytes of which 0 says that they are not known.
pub fn known(name: &str, bytes: i64) -> Result<Option<u64>, Status> {
    Ok(Some(unsigned(name, bytes)?).filter(|bytes| *bytes > 0))
}

/// Longest path that is stored, in bytes.
const MAX_PATH: usize = 500;

/// Every lease has a folder of its own, so that a worker which lost its lease can neither replace
/// nor pass off a file of its successor's.
pub fn check_path(name: &str, path: &str, lease: &LeaseRef) -> Result<(), Status> {
    let mut parts = path.split('/');
    let fence = (parts.next(), parts.next(), parts.next(), parts.next());
    if path.len() > MAX_PATH || path.contains('\0') {
        let wanted = format!("must have at most {MAX_PATH} bytes, and no NUL");
        return Err(bad_field(name, wanted));
    }
    match fence {
        (Some(_), Some(fence), Some(_), None) if fence == lease.fence.to_string() => Ok(()),
        _ => Err(bad_field(
            name,
            format!("`{path}` is not {{key}}/{}/{{file}}", lease.fence),
        )),
    }
}

/// Longest time that a worker may tell, 100 years: far beyond it no time is left in the database's calendar.
const MAX_TIME: Duration = Duration::from_hours(100 * 365 * 24);

/// A length of time that may be absent.
pub fn duration(
    name: &str,
    time: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Status> {
    let read = time.map(Duration::try_from).transpose();
    let read = read.map_err(|error| bad_field(name, error.to_string()))?;
    if read.is_some_and(|time| time > MAX_TIME) {
        return Err(bad_field(name, "must be at most 100 years"));
    }
    Ok(read)
}

/// A count that the protocol writes with a sign.
pub fn unsigned(name: &str, value: i64) -> Result<u64, Status> {
    u64::try_from(value).map_err(|_| bad_field(name, format!("{value} is negative")))
}
