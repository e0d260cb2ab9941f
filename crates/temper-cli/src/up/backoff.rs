//! How soon a worker that died is started again, and when no more.

use std::time::Duration;

/// A worker that lived this long was well.
const WELL: Duration = Duration::from_secs(20);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Deaths one soon after the other, with which a worker is given up.
pub const TRIES: u32 = 6;

/// The deaths of a worker since it last was well.
#[derive(Debug, Default)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// How long to wait after a death at this age; none to give up.
    pub fn after(&mut self, age: Duration) -> Option<Duration> {
        self.deaths = if age >= WELL { 1 } else { self.deaths + 1 };
        if self.deaths >= TRIES {
            return None;
        }
        Some((FIRST_WAIT * 2_u32.pow(self.deaths - 1)).min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_that_dies_at_once_is_given_up_after_growing_waits() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = std::iter::from_fn(|| backoff.after(Duration::ZERO)).collect();
        assert_eq!(waits.len(), TRIES as usize - 1);
        assert!(waits.is_sorted() && waits[0] == FIRST_WAIT, "{waits:?}");
        assert!(waits.iter().sum::<Duration>() < Duration::from_secs(30));
    }

    #[test]
    fn worker_that_was_well_starts_afresh() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert_eq!(backoff.after(WELL), Some(FIRST_WAIT));
        }
    }
}
