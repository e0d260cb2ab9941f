//! When children that die are started again, and when that is hopeless.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A child that lived this long was well.
pub(crate) const WELL: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Deaths, one soon after the other, with which a seat counts as hopeless.
const TRIES: u32 = 5;

/// The deaths on one seat since it last was well.
#[derive(Debug, Default)]
pub(crate) struct Deaths(u32);

impl Deaths {
    /// Notes a death, and says how long to wait.
    pub(crate) fn add(&mut self) -> Duration {
        let wait = FIRST_WAIT * 2_u32.saturating_pow(self.0.min(16));
        self.0 = self.0.saturating_add(1);
        wait.min(LONGEST_WAIT)
    }

    /// The child is well.
    pub(crate) fn forget(&mut self) {
        self.0 = 0;
    }

    pub(crate) fn are_hopeless(&self) -> bool {
        self.0 >= TRIES
    }
}

/// The seats of a fleet. One whose children die goes on trying while another is well; when all of them
/// do, whoever started the fleet should know.
#[derive(Debug)]
pub(crate) struct Health(Mutex<Seats>);

#[derive(Debug)]
struct Seats {
    taken: BTreeSet<usize>,
    hopeless: BTreeSet<usize>,
}

impl Health {
    pub(crate) fn new(seats: usize) -> Self {
        Self(Mutex::new(Seats {
            taken: (0..seats).collect(),
            hopeless: BTreeSet::new(),
        }))
    }

    /// Notes how a seat is.
    pub(crate) fn note(&self, seat: usize, is_hopeless: bool) {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_hopeless {
            seats.hopeless.insert(seat);
        } else {
            seats.hopeless.remove(&seat);
        }
    }

    /// A seat's child has ended well, and none comes after it.
    pub(crate) fn leave(&self, seat: usize) {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seats.taken.remove(&seat);
        seats.hopeless.remove(&seat);
    }

    /// Whether no seat is left with a child that lives for long.
    pub(crate) fn is_hopeless(&self) -> bool {
        let seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !seats.taken.is_empty() && seats.taken == seats.hopeless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_once_a_child_was_well() {
        let mut deaths = Deaths::default();
        let waits: Vec<_> = (0..20).map(|_| deaths.add()).collect();
        assert_eq!(waits[0], FIRST_WAIT);
        assert_eq!(waits[19], LONGEST_WAIT);
        assert!(waits.is_sorted() && deaths.are_hopeless(), "{waits:?}");
        deaths.forget();
        assert!(!deaths.are_hopeless());
        assert_eq!(deaths.add(), FIRST_WAIT);
    }

    #[test]
    fn fleet_is_hopeless_when_every_seat_that_is_left_is() {
        let health = Health::new(3);
        health.note(0, true);
        health.note(1, true);
        assert!(!health.is_hopeless());
        health.leave(2);
        assert!(health.is_hopeless());
        health.note(1, false);
        assert!(!health.is_hopeless());
        health.leave(0);
        health.leave(1);
        assert!(!health.is_hopeless(), "all have ended well");
    }
}
