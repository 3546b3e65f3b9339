//! One number that is watched: which, in which unit, in which direction, and how much worse is too much.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::perf::{Cell, PerfReport};

/// What is measured of a cell.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// I/Os per second: more is better.
    Iops,
    /// CPU time of the server per I/O in nanoseconds; under the instruction clock, instructions.
    ServerNsPerIo,
    /// `io_uring_enter` calls per I/O.
    EntersPerIo,
    /// System calls per I/O.
    SyscallsPerIo,
    /// Context switches per I/O.
    SwitchesPerIo,
    /// Calls of allocating functions per I/O.
    AllocationsPerIo,
}

/// Which number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct MetricId {
    /// Data mode of the server.
    pub mode: String,
    /// Which cell.
    pub cell: Cell,
    /// What of it.
    pub kind: Kind,
}

/// How a loss is reckoned, and from where on it is too much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// By ratio, as a natural logarithm: 0.01 is about one percent.
    Ratio(f64),
    /// By difference, in the metric's own unit: what is rare has no meaningful ratio, and what is 0 none.
    PerIo(f64),
}

impl Kind {
    /// As people read it.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Iops => "IOPS",
            Self::ServerNsPerIo => "server ns per I/O",
            Self::EntersPerIo => "io_uring_enter per I/O",
            Self::SyscallsPerIo => "system calls per I/O",
            Self::SwitchesPerIo => "context switches per I/O",
            Self::AllocationsPerIo => "allocations per I/O",
        }
    }

    /// What is allowed under the instruction clock: the one percent for what is a rate. The counts move
    /// a little with when the guest's timer ticks, and how often a server tries to yield at depth 1 with what
    /// the last tries brought; docs/gate.md has the spread that was seen.
    pub(super) const fn tolerance_of_instructions(self) -> Tolerance {
        match self {
            Self::Iops | Self::ServerNsPerIo => Tolerance::Ratio(0.01),
            Self::EntersPerIo | Self::SwitchesPerIo => Tolerance::PerIo(0.02),
            Self::SyscallsPerIo => Tolerance::PerIo(0.15),
            Self::AllocationsPerIo => Tolerance::PerIo(0.001),
        }
    }

    /// What is allowed by the wall clock; `noise` is what the metric's own history makes of it. With several
    /// CPUs how much is done in one system call depends on who is faster, so only a gross change counts.
    pub(super) const fn tolerance_of_wall(self, noise: f64) -> Tolerance {
        match self {
            Self::Iops => Tolerance::Ratio(noise),
            Self::ServerNsPerIo => Tolerance::Ratio(0.5),
            Self::EntersPerIo | Self::SyscallsPerIo | Self::SwitchesPerIo => Tolerance::PerIo(0.5),
            Self::AllocationsPerIo => Tolerance::PerIo(0.001),
        }
    }
}

impl Tolerance {
    /// The number alone.
    #[must_use]
    pub const fn limit(self) -> f64 {
        match self {
            Self::Ratio(limit) | Self::PerIo(limit) => limit,
        }
    }

    /// How much worse `head` is than `base`; below 0 it is better.
    pub(super) fn loss(self, kind: Kind, base: f64, head: f64) -> f64 {
        let worse = match self {
            Self::Ratio(_) => (head / base).ln(),
            Self::PerIo(_) => head - base,
        };
        if kind == Kind::Iops { -worse } else { worse }
    }
}

impl MetricId {
    /// As people read it: `copy read-qd32 IOPS`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {} {}", self.mode, self.cell.name(), self.kind.unit())
    }
}

/// Every number of the subjects with this name, by what it is. Samples in the order they were taken.
pub(super) fn metrics_of(report: &PerfReport, name: &str) -> BTreeMap<MetricId, Vec<f64>> {
    let mut found = BTreeMap::new();
    for subject in report.subjects.iter().filter(|subject| subject.name == name) {
        let id = |cell, kind| MetricId { mode: subject.mode.clone(), cell, kind };
        for cell in &subject.cells {
            found.insert(id(cell.cell, Kind::Iops), cell.samples_iops.clone());
        }
        for count in &subject.counts {
            let ios = count.ios.max(1) as f64;
            let values = [
                (Kind::EntersPerIo, Some(count.enters_per_io)),
                (Kind::SyscallsPerIo, Some(count.syscalls_per_io)),
                (Kind::SwitchesPerIo, Some(count.switches_per_io)),
                (Kind::AllocationsPerIo, count.allocations.map(|sum| sum as f64 / ios)),
                (Kind::ServerNsPerIo, count.server_ns_per_io),
            ];
            for (kind, value) in values {
                if let Some(value) = value {
                    found.insert(id(count.cell, kind), vec![value]);
                }
            }
        }
    }
    found
}
