//! Which workers jobs may go to.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// What a sweep asks of the workers that run its jobs; nothing by default. It decides where a job
/// runs, not what comes of it, and is part of no key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The kind of device; none: any.
    pub device_kind: Option<DeviceKind>,
    /// Labels that a worker must bear with these values.
    pub labels: BTreeMap<String, String>,
    /// Bytes of the device's memory that must be free, above 0, until a job that differs in ramp and
    /// seed alone has succeeded: from then on, what that one took. None: not known.
    pub memory_bytes: Option<u64>,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A processor.
    Cpu,
    /// A GPU of NVIDIA's.
    Cuda,
}

/// What keeps a worker from taking a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Constraint {
    /// It has another kind of device.
    DeviceKind,
    /// It lacks a label, or bears another value.
    Labels,
    /// Its device does not compute in the number format.
    Precision,
    /// It is of a release that yields other numbers.
    ResultVersion,
    /// Too little of its memory is free.
    Memory,
    /// Its time on the machine ends before a checkpoint could be written.
    WallTime,
    /// It has another job.
    Busy,
    /// It has not been heard of for longer than a lease.
    Silent,
}

impl DeviceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// As it is written, and as devices begin.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Constraint {
    /// All of them, those of the placement first.
    pub const ALL: [Self; 8] = [
        Self::DeviceKind,
        Self::Labels,
        Self::Precision,
        Self::ResultVersion,
        Self::Memory,
        Self::WallTime,
        Self::Busy,
        Self::Silent,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceKind => "device-kind",
            Self::Labels => "labels",
            Self::Precision => "precision",
            Self::ResultVersion => "result-version",
            Self::Memory => "memory",
            Self::WallTime => "wall-time",
            Self::Busy => "busy",
            Self::Silent => "silent",
        }
    }

    /// The constraint of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for constraint in Constraint::ALL {
            assert_eq!(Constraint::from_name(constraint.as_str()), Some(constraint));
        }
        for kind in DeviceKind::ALL {
            assert_eq!(DeviceKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(DeviceKind::from_name("tpu"), None);
    }
}
