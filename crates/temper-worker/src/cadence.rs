//! When a training is to hand over a checkpoint within an epoch.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Checkpoints that are handed over and not written yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unwritten(Arc<AtomicUsize>);

/// Says when, by a clock of the caller's.
#[derive(Debug)]
pub(crate) struct Cadence {
    every: Duration,
    last: Instant,
    unwritten: Unwritten,
}

impl Unwritten {
    /// One more.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Cadence {
    pub(crate) fn new(every: Duration, now: Instant, unwritten: Unwritten) -> Self {
        Self {
            every,
            last: now,
            unwritten,
        }
    }

    /// Whether one is due. Where the one before is still being written it is left out, so that a
    /// slow store holds no step up: the next is due a whole interval later.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if now.duration_since(self.last) < self.every {
            return false;
        }
        self.last = now;
        let skipped = self.unwritten.any();
        if skipped {
            tracing::warn!("the last checkpoint is still being written: leaving one out");
        }
        !skipped
    }

    /// One was handed over, whatever for.
    pub(crate) fn handed_over(&mut self, now: Instant) {
        self.last = now;
        self.unwritten.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_is_due_after_the_interval_and_left_out_while_one_is_written() {
        let (start, unwritten) = (Instant::now(), Unwritten::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut cadence = Cadence::new(Duration::from_secs(10), start, unwritten.clone());
        assert!(!cadence.is_due(at(9)));
        assert!(cadence.is_due(at(10)));
        cadence.handed_over(at(10));
        assert!(!cadence.is_due(at(20)), "the one of 10 is not written");
        unwritten.end();
        assert!(!cadence.is_due(at(25)));
        assert!(cadence.is_due(at(30)));
        // That of an epoch's end counts as well.
        cadence.handed_over(at(31));
        unwritten.end();
        assert!(!cadence.is_due(at(40)));
        assert!(cadence.is_due(at(41)));
    }
}
