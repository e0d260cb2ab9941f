//! When children that die are started again, and when that is hopeless.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A child that lived this long was well.
pub(crate) const WELL: Duration = Duration::from_secs(30);
/// Before a child follows the first that died.
pub(crate) const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Deaths, one soon after the other, with which a seat counts as hopeless.
const TRIES: u32 = 5;

/// The deaths on one seat since it last was well.
#[derive(Debug)]
pub(crate) struct Deaths {
    number: u32,
    first_wait: Duration,
}

impl Deaths {
    /// None yet.
    pub(crate) fn new(first_wait: Duration) -> Self {
        Self {
            number: 0,
            first_wait,
        }
    }

    /// Notes a death, and says how long to wait.
    pub(crate) fn add(&mut self) -> Duration {
        let wait = self.first_wait * 2_u32.saturating_pow(self.number.min(16));
        self.number = self.number.saturating_add(1);
        wait.min(LONGEST_WAIT)
    }

    /// The child is well.
    pub(crate) fn forget(&mut self) {
        self.number = 0;
    }

    pub(crate) fn are_hopeless(&self) -> bool {
        self.number >= TRIES
    }
}

/// The seats of a fleet. One whose children die goes on trying while another is well; when it is not, the
/// fleet is given up, and when no seat was ever left well, whoever started the fleet should know.
#[derive(Debug)]
pub(crate) struct Health(Mutex<Seats>);

#[derive(Debug)]
struct Seats {
    taken: BTreeSet<usize>,
    hopeless: BTreeSet<usize>,
    /// Whether a seat's child has ended well.
    served: bool,
    given_up: bool,
}

impl Health {
    pub(crate) fn new(seats: usize) -> Self {
        Self(Mutex::new(Seats {
            taken: (0..seats).collect(),
            hopeless: BTreeSet::new(),
            served: false,
            given_up: false,
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
        seats.served = true;
    }

    /// Gives the fleet up if no seat is left with a child that lives for long; whether it has.
    pub(crate) fn give_up(&self) -> bool {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_hopeless = !seats.taken.is_empty() && seats.taken == seats.hopeless;
        seats.given_up |= is_hopeless;
        is_hopeless
    }

    /// Whether the fleet was given up without having been of any use.
    pub(crate) fn has_failed(&self) -> bool {
        let seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seats.given_up && !seats.served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_once_a_child_was_well() {
        let mut deaths = Deaths::new(FIRST_WAIT);
        let waits: Vec<_> = (0..20).map(|_| deaths.add()).collect();
        assert_eq!(waits[0], FIRST_WAIT);
        assert_eq!(waits[19], LONGEST_WAIT);
        assert!(waits.is_sorted() && deaths.are_hopeless(), "{waits:?}");
        deaths.forget();
        assert!(!deaths.are_hopeless());
        assert_eq!(deaths.add(), FIRST_WAIT);
    }

    #[test]
    fn fleet_is_given_up_when_every_seat_that_is_left_is_hopeless() {
        let health = Health::new(3);
        health.note(0, true);
        health.note(1, true);
        assert!(!health.give_up());
        health.leave(2);
        assert!(health.give_up());
        assert!(!health.has_failed(), "one has ended well");
        health.note(1, false);
        assert!(!health.give_up());
        health.leave(0);
        health.leave(1);
        assert!(!health.give_up(), "all have ended well");
    }

    #[test]
    fn fleet_of_which_no_child_ever_ended_well_has_failed() {
        let health = Health::new(2);
        health.note(0, true);
        health.note(1, true);
        assert!(!health.has_failed(), "not before it is given up");
        assert!(health.give_up() && health.has_failed());
    }
}
