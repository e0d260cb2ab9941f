//! Errors as gRPC statuses, and statuses as text for people. The one map from [`ErrorKind`] to a
//! code is here.

use std::{error::Error, fmt, str::FromStr};

use temper_core::{ErrorKind, FieldViolation as Violation, Violations, shortened};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// Bytes of a message that are sent. A status goes in trailers, and clients bound those: hyper's and
/// gRPC's own refuse more than 16 KiB, and what they then report is a broken connection. A message
/// grows to at most three times its length on the way, details by a third.
const MESSAGE_BYTES: usize = 2 << 10;
/// Bytes of violations that are sent.
const DETAILS_BYTES: usize = 4 << 10;

/// A status, its message no longer than a client takes.
#[must_use]
pub fn plain(code: Code, message: impl Into<String>) -> Status {
    Status::new(code, shortened(message.into(), MESSAGE_BYTES))
}

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
            plain(code, message)
        }
        _ => plain(code, message),
    }
}

/// `INVALID_ARGUMENT` with every violation, in the message and as `google.rpc.BadRequest`. Where
/// there are more than a client takes, a last one that names no field says how many.
#[must_use]
pub fn bad_request(violations: &Violations) -> Status {
    let mut room = DETAILS_BYTES;
    let fits = |violation: &&Violation| {
        // Each has some bytes of tags and lengths around it.
        let bytes = violation.field.len() + violation.description.len() + 16;
        let left = room.checked_sub(bytes);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let told = violations.as_slice().iter().take_while(fits);
    let mut fields: Vec<_> = told
        .map(|violation| FieldViolation::new(&violation.field, &violation.description))
        .collect();
    let more = violations.count() - fields.len();
    if more > 0 {
        fields.push(FieldViolation::new("", format!("and {more} more")));
    }
    let details = ErrorDetails::with_bad_request(fields);
    let message = shortened(violations.to_string(), MESSAGE_BYTES);
    Status::with_error_details(Code::InvalidArgument, message, details)
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
            let lines = fields.iter().map(|field| match field.field.as_str() {
                "" => format!("\n  {}", field.description),
                name => format!("\n  {name}: {}", field.description),
            });
            let lines: String = lines.collect();
            // What names no field is no mistake of its own.
            let mistakes = fields.iter().filter(|field| !field.field.is_empty());
            format!("the request has {} mistake(s):{lines}", mistakes.count())
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

    /// What a client has to take of a status: names and values of its headers.
    fn header_bytes(status: &Status) -> usize {
        let mut headers = tonic::metadata::MetadataMap::new().into_headers();
        status.add_header(&mut headers).unwrap();
        let header = headers.iter();
        header
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum()
    }

    #[test]
    fn status_fits_into_what_clients_take_however_much_is_wrong() {
        let mut violations = Violations::default();
        for i in 0..1_000_000 {
            violations.require(false, &format!("spec.models[{i}]"), || {
                format!("unknown model `{}`", "é".repeat(i))
            });
        }
        let refused = bad_request(&violations);
        assert!(
            header_bytes(&refused) < 16 << 10,
            "{}",
            header_bytes(&refused)
        );
        let told = refused.get_details_bad_request().unwrap().field_violations;
        let (last, named) = told.split_last().unwrap();
        assert_eq!(
            last.description,
            format!("and {} more", 1_000_000 - named.len())
        );
        assert!(named.len() > 5 && named.iter().all(|one| !one.field.is_empty()));
        let explained = explain(&refused);
        assert!(
            explained.ends_with(&format!("\n  {}", last.description)),
            "{explained}"
        );

        let long = "%".repeat(1 << 20);
        let statuses = [
            field::<u8>("name", &long).unwrap_err(),
            bad_field(&long, long.clone()),
            plain(Code::Aborted, long.clone()),
            of(ErrorKind::NotFound, &std::io::Error::other(long)),
        ];
        for status in statuses {
            assert!(
                header_bytes(&status) < 16 << 10,
                "{}",
                header_bytes(&status)
            );
        }
    }

    #[test]
    fn status_without_details_is_explained_by_its_message_and_code() {
        assert_eq!(
            explain(&Status::not_found("no sweep 7")),
            "no sweep 7 (NotFound)"
        );
    }
}
