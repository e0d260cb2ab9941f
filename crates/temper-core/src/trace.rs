//! Where a trace goes on: W3C Trace Context, level 1.

use std::{fmt, str::FromStr};

/// A trace and the span in it that goes on elsewhere, of a trace that is kept (the flag `sampled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: [u8; 16],
    span: [u8; 8],
}

/// A text that is no `traceparent` of a sampled trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent of a sampled trace: 00-<32 hexadecimal digits>-<16 of them>-01 is one")]
pub struct ParseTraceParentError;

impl TraceParent {
    /// The number of bytes of a trace's id and a span's.
    pub const BYTES: usize = 24;

    /// As it is stored: the trace's id, then the span's.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..].copy_from_slice(&self.span);
        bytes
    }

    /// What was stored; none where an id is of another length, or nothing but zeros.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace, span) = bytes.split_first_chunk::<16>()?;
        let span: [u8; 8] = span.try_into().ok()?;
        let known = trace.iter().any(|byte| *byte != 0) && span.iter().any(|byte| *byte != 0);
        known.then_some(Self {
            trace: *trace,
            span,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (hex::encode(self.trace), hex::encode(self.span));
        write!(f, "00-{trace}-{span}-01")
    }
}

impl FromStr for TraceParent {
    type Err = ParseTraceParentError;

    fn from_str(text: &str) -> Result<Self, ParseTraceParentError> {
        let mut parts = text.split('-');
        let (Some("00"), Some(trace), Some(span), Some(flags), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(ParseTraceParentError);
        };
        let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let ids = [trace, span].concat();
        if flags.len() != 2 || trace.len() != 32 || !(ids + flags).bytes().all(is_lower) {
            return Err(ParseTraceParentError);
        }
        let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        let bytes = hex::decode([trace, span].concat()).map_err(|_| ParseTraceParentError)?;
        sampled
            .then(|| Self::from_bytes(&bytes))
            .flatten()
            .ok_or(ParseTraceParentError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the recommendation.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn text_and_bytes_come_back() {
        let parent: TraceParent = EXAMPLE.parse().unwrap();
        assert_eq!(parent.to_string(), EXAMPLE);
        let bytes = parent.to_bytes();
        assert_eq!((bytes[0], bytes[23]), (0x4b, 0xb7));
        assert_eq!(TraceParent::from_bytes(&bytes), Some(parent));
    }

    #[test]
    fn what_is_not_sampled_or_no_traceparent_is_refused() {
        let (zero_trace, zero_span) = ("0".repeat(32), "0".repeat(16));
        for text in [
            "",
            "00",
            &EXAMPLE.replace("-01", "-00"),
            &EXAMPLE.replace("-01", "-1"),
            &EXAMPLE.replace("00-4b", "ff-4b"),
            &EXAMPLE.replace("4bf9", "4BF9"),
            &EXAMPLE.replace("4bf9", "4bé"),
            &EXAMPLE.replace("4bf9", "4bf99"),
            &format!("{EXAMPLE}-00"),
            &EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zero_trace),
            &EXAMPLE.replace("00f067aa0ba902b7", &zero_span),
        ] {
            assert_eq!(
                text.parse::<TraceParent>(),
                Err(ParseTraceParentError),
                "{text}"
            );
        }
    }

    #[test]
    fn bytes_of_another_length_are_none() {
        for length in [0, 16, 23, 25] {
            assert_eq!(TraceParent::from_bytes(&vec![1; length]), None);
        }
    }
}
