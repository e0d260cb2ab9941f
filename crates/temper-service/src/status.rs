//! Errors as gRPC statuses, and statuses as text for people. The one map from [`ErrorKind`] to a
//! code is here.

use std::{error::Error, fmt, str::FromStr};

use temper_core::{ErrorKind, Violations};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The status of a library's error: its code by `kind`, its message with all its sources. What is
/// Temper's own fault is logged here, and the caller is told only that it happened.
#[must_use]
pub fn of(kind: ErrorKind, error: &(dyn Error + 'static)) -> Status {
    let message = chain(error);
    let code = code(kind);
    match code {
        Code::Internal => {
            tracing::error!(error = message, ?kind, "request failed by a defect");
            Status::internal("internal error: the service's log has the details")
        }
        Code::Unavailable => {
            tracing::warn!(error = message, "request failed for want of a dependency");
            Status::unavailable(message)
        }
        _ => Status::new(code, message),
    }
}

/// `INVALID_ARGUMENT` with every violation, in the message and as `google.rpc.BadRequest`.
#[must_use]
pub fn bad_request(violations: &Violations) -> Status {
    let fields = violations
        .as_slice()
        .iter()
        .map(|violation| FieldViolation::new(&violation.field, &violation.description))
        .collect::<Vec<_>>();
    let details = ErrorDetails::with_bad_request(fields);
    Status::with_error_details(Code::InvalidArgument, violations.to_string(), details)
}

/// Refuses a request for one field.
#[must_use]
pub fn bad_field(name: &str, description: impl Into<String>) -> Status {
    let mut violations = Violations::default();
    violations.add(name, description);
    bad_request(&violations)
}

/// Parses one field of a request.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming the field.
pub fn field<T: FromStr<Err: fmt::Display>>(name: &str, text: &str) -> Result<T, Status> {
    text.parse()
        .map_err(|error: T::Err| bad_field(name, error.to_string()))
}

/// What `status` says, for people: each violated field on a line of its own.
#[must_use]
pub fn explain(status: &Status) -> String {
    let fields = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations);
    match fields.as_deref() {
        None | Some([]) => {
            // Made on this side, of what the connection suffered: what that was, its sources tell.
            let sources = status.source().map(|source| format!(": {}", chain(source)));
            let sources = sources.unwrap_or_default();
            format!("{}{sources} ({:?})", status.message(), status.code())
        }
        Some(fields) => {
            let lines: Vec<_> = fields
                .iter()
                .map(|field| format!("\n  {}: {}", field.field, field.description))
                .collect();
            let lines = lines.concat();
            format!("the request has {} mistake(s):{lines}", fields.len())
        }
    }
}

/// `error` and its sources in one line, outermost first.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::LeaseLost | ErrorKind::Conflict => Code::Aborted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::OutOfMemory => Code::ResourceExhausted,
        ErrorKind::Diverged | ErrorKind::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the secret table")]
    struct Outer(#[source] std::io::Error);

    fn error() -> Outer {
        Outer(std::io::Error::other("disk on fire"))
    }

    #[test]
    fn kinds_have_the_codes_that_clients_act_on() {
        let expected = [
            (ErrorKind::InvalidInput, Code::InvalidArgument),
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::AlreadyExists, Code::AlreadyExists),
            (ErrorKind::FailedPrecondition, Code::FailedPrecondition),
            (ErrorKind::Conflict, Code::Aborted),
            (ErrorKind::LeaseLost, Code::Aborted),
            (ErrorKind::Unavailable, Code::Unavailable),
            (ErrorKind::OutOfMemory, Code::ResourceExhausted),
            (ErrorKind::Diverged, Code::Internal),
            (ErrorKind::Internal, Code::Internal),
        ];
        for (kind, code) in expected {
            assert_eq!(of(kind, &error()).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn callers_see_the_sources_except_of_a_defect() {
        let told = of(ErrorKind::NotFound, &error());
        assert_eq!(told.message(), "cannot read the secret table: disk on fire");
        let hidden = of(ErrorKind::Internal, &error());
        assert!(!hidden.message().contains("disk"), "{hidden}");
    }

    #[test]
    fn every_violation_survives_the_wire_and_is_explained() {
        let mut violations = Violations::default();
        violations.add("spec.models[0]", "unknown model `resnet9000`");
        violations.add("spec.seeds", "must name at least one");
        let mut headers = tonic::metadata::MetadataMap::new().into_headers();
        bad_request(&violations).add_header(&mut headers).unwrap();
        let received = Status::from_header_map(&headers).unwrap();
        assert_eq!(received.code(), Code::InvalidArgument);
        assert_eq!(
            explain(&received),
            "the request has 2 mistake(s):\n  spec.models[0]: unknown model `resnet9000`\
             \n  spec.seeds: must name at least one"
        );
    }

    #[test]
    fn status_without_details_is_explained_by_its_message_and_code() {
        assert_eq!(
            explain(&Status::not_found("no sweep 7")),
            "no sweep 7 (NotFound)"
        );
    }
}
