//! The statuses that a worker's process ends with.
//!
//! | status | of | means |
//! |---|---|---|
//! | 0 | every worker | it left well; of a fleet's child: it was given nothing for as long as it may be idle |
//! | 1 | every worker | it failed |
//! | 75 | every worker | it was cut |
//! | 76 | a fleet's child | it left well: its time on the machine is over |
//! | 77 | a fleet's child | it left well: it was told to |
//!
//! Only the parent of a fleet sees the last two.

use std::process::ExitStatus;

use crate::session::Left;

/// The status of a process that failed.
pub const FAILED: u8 = 1;
/// The status of a process that was cut: what it held is not given back, its lease runs out. That of
/// sysexits.h which means that trying again is worth it.
pub const CUT: u8 = 75;
/// The status of a fleet's child whose time is over.
pub const TIME_OVER: u8 = 76;
/// The status of a fleet's child that was told to stop.
pub const TOLD: u8 = 77;

/// The status of a process that left well.
#[must_use]
pub const fn status(left: Left, in_fleet: bool) -> u8 {
    match left {
        Left::TimeOver if in_fleet => TIME_OVER,
        Left::Told if in_fleet => TOLD,
        Left::TimeOver | Left::Told | Left::Idle => 0,
    }
}

/// What a fleet's child says by its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It left well.
    Left(Left),
    /// It was cut, or killed: what it held is not given back.
    Cut,
    /// It failed. What it held it has given back or reported, or its coordinator does not want it.
    Failed,
}

/// Reads a child's status.
pub(crate) fn ending(status: ExitStatus) -> Ending {
    // By a signal there is no code.
    let Some(code) = status.code() else {
        return Ending::Cut;
    };
    match u8::try_from(code) {
        Ok(0) => Ending::Left(Left::Idle),
        Ok(TIME_OVER) => Ending::Left(Left::TimeOver),
        Ok(TOLD) => Ending::Left(Left::Told),
        Ok(CUT) => Ending::Cut,
        _ => Ending::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn ended(code: u8) -> ExitStatus {
        ExitStatus::from_raw(i32::from(code) << 8)
    }

    #[test]
    fn fleets_child_says_by_its_status_why_it_left_and_nobody_else_does() {
        for left in [Left::Told, Left::TimeOver, Left::Idle] {
            assert_eq!(ending(ended(status(left, true))), Ending::Left(left));
            assert_eq!(status(left, false), 0, "{left:?}");
        }
    }

    #[test]
    fn only_a_cut_and_a_signal_leave_a_lease_behind() {
        assert_eq!(ending(ended(CUT)), Ending::Cut);
        assert_eq!(ending(ExitStatus::from_raw(9)), Ending::Cut);
        for code in [FAILED, 2, 101] {
            assert_eq!(ending(ended(code)), Ending::Failed, "{code}");
        }
    }
}
