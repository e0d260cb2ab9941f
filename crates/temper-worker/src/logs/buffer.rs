//! Lines that wait to be sent: so many and no more, the oldest dropped first.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use temper_proto::v1::LogLine;

/// Lines that wait at most.
const MAX_LINES: usize = 2000;
/// Bytes of text that wait at most.
const MAX_BYTES: usize = 1 << 20;
/// Lines of a batch.
const BATCH: usize = 200;

/// The lines of a job that wait to be sent.
#[derive(Debug)]
pub(crate) struct Buffer(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Number of the first of them, from 1: it counts those that were sent or dropped before.
    first: u32,
}

/// Some of the lines, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    /// Number of the first line.
    pub first: u32,
    /// At least one.
    pub lines: Vec<LogLine>,
}

impl Batch {
    /// Number of the last line.
    pub(crate) fn last(&self) -> u32 {
        let more = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        self.first.saturating_add(more).saturating_sub(1)
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            lines: VecDeque::new(),
            bytes: 0,
            first: 1,
        }))
    }
}

impl Buffer {
    /// Adds a line, and drops the oldest where there are too many.
    pub(crate) fn push(&self, line: LogLine) {
        let mut waiting = self.waiting();
        waiting.bytes += size(&line);
        waiting.lines.push_back(line);
        while waiting.lines.len() > MAX_LINES || waiting.bytes > MAX_BYTES {
            waiting.pop();
        }
    }

    /// The lines to send next; they stay until [`Self::forget`].
    pub(crate) fn batch(&self) -> Option<Batch> {
        let waiting = self.waiting();
        let lines: Vec<_> = waiting.lines.iter().take(BATCH).cloned().collect();
        let first = waiting.first;
        (!lines.is_empty()).then_some(Batch { first, lines })
    }

    /// Lines up to this number have arrived; some may have been dropped meanwhile.
    pub(crate) fn forget(&self, last: u32) {
        let mut waiting = self.waiting();
        while waiting.first <= last && !waiting.lines.is_empty() {
            waiting.pop();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.bytes -= size(&line);
            self.first = self.first.saturating_add(1);
        }
    }
}

fn size(line: &LogLine) -> usize {
    line.target.len() + line.message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: impl Into<String>) -> LogLine {
        LogLine {
            message: message.into(),
            ..LogLine::default()
        }
    }

    #[test]
    fn oldest_lines_are_dropped_and_their_numbers_tell_of_it() {
        let buffer = Buffer::default();
        for i in 1..=MAX_LINES + 30 {
            buffer.push(line(i.to_string()));
        }
        let batch = buffer.batch().unwrap();
        assert_eq!((batch.first, batch.lines.len()), (31, BATCH));
        assert_eq!(batch.lines[0].message, "31");
    }

    #[test]
    fn few_long_lines_are_dropped_as_well() {
        let buffer = Buffer::default();
        for _ in 0..5 {
            buffer.push(line("x".repeat(MAX_BYTES / 4)));
        }
        let batch = buffer.batch().unwrap();
        assert_eq!((batch.first, batch.lines.len()), (2, 4));
    }

    #[test]
    fn batch_is_repeated_until_it_has_arrived() {
        let buffer = Buffer::default();
        for i in 1..=BATCH + 3 {
            buffer.push(line(i.to_string()));
        }
        let batch = buffer.batch().unwrap();
        assert_eq!(buffer.batch(), Some(batch.clone()));
        buffer.forget(batch.last());
        let rest = buffer.batch().unwrap();
        assert_eq!((rest.first, rest.last()), (201, 203));
        buffer.forget(rest.last());
        assert_eq!(buffer.batch(), None);
        buffer.push(line("204"));
        assert_eq!(buffer.batch().unwrap().first, 204);
    }

    #[test]
    fn what_arrived_and_was_dropped_meanwhile_is_not_forgotten_twice() {
        let buffer = Buffer::default();
        buffer.push(line("1"));
        let batch = buffer.batch().unwrap();
        for i in 2..=MAX_LINES + 2 {
            buffer.push(line(i.to_string()));
        }
        buffer.forget(batch.last());
        assert_eq!(buffer.batch().unwrap().lines[0].message, "3");
    }
}
