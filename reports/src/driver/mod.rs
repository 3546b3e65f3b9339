//! How much of the driver a run has executed: its lines and the directions of its branches. The kernel counts,
//! gcov reads; here it becomes numbers and pages.

mod claims;
mod gcov;
mod render;

pub use claims::{Claim, Proof, proof};
pub use gcov::{GcovError, parse};
pub use render::terminal;

use serde::Serialize;

use crate::report::KernelHeader;

/// One run's coverage of the driver.
#[derive(Clone, Debug, Serialize)]
pub struct DriverCoverage {
    /// Which kernel, built how.
    pub kernel: KernelHeader,
    /// The run whose scenarios were counted.
    pub run_id: String,
    /// Scenarios whose counters came.
    pub scenarios_counted: u32,
    /// Planned scenarios whose counters did not: they took the machine with them.
    pub scenarios_lost: Vec<String>,
    /// From the first boot to the last, in milliseconds.
    pub duration_ms: u64,
    /// Lines with code.
    pub lines: Share,
    /// Directions of branches.
    pub branches: Share,
    /// Rows of the errno map that scenarios say they reached; none where the driver's source is not the one that the
    /// rows' lines are of.
    pub claims: Option<Vec<Claim>>,
    /// Every line with code, in order.
    pub detail: Vec<Line>,
}

/// Some of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many were taken.
    pub taken: u32,
    /// How many there are.
    pub all: u32,
}

impl Share {
    /// In percent; nothing of nothing is nothing.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.taken) * 100.0 / f64::from(self.all.max(1))
    }

    fn of(counts: impl Iterator<Item = u64>) -> Self {
        counts.fold(Self::default(), |share, count| Self {
            taken: share.taken + u32::from(count > 0),
            all: share.all + 1,
        })
    }
}

/// One line of the driver's source that has code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number, from 1.
    pub number: u32,
    /// The function it is in.
    pub function: String,
    /// How often it was run.
    pub count: u64,
    /// How often each direction of its branches was taken.
    pub branches: Vec<u64>,
}

impl Line {
    /// Directions that were never taken.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.branches.iter().filter(|count| **count == 0).count()
    }
}

/// The shares of these lines: of lines, and of directions.
#[must_use]
pub fn shares(detail: &[Line]) -> (Share, Share) {
    let lines = Share::of(detail.iter().map(|line| line.count));
    let branches = Share::of(detail.iter().flat_map(|line| line.branches.iter().copied()));
    (lines, branches)
}

impl DriverCoverage {
    /// Lines that were never run, next to each other in one function, as first and last number.
    #[must_use]
    pub fn uncovered(&self) -> Vec<(&str, u32, u32)> {
        let mut found: Vec<(&str, u32, u32)> = Vec::new();
        // The line before is the neighbour with code, whatever comments are between.
        let mut open = false;
        for line in &self.detail {
            match found.last_mut() {
                _ if line.count > 0 => open = false,
                Some((function, _, last)) if open && *function == line.function => {
                    *last = line.number;
                }
                _ => {
                    found.push((&line.function, line.number, line.number));
                    open = true;
                }
            }
        }
        found
    }
}
