//! Which errors of the driver the suite has reached: the map's rows against what scenarios showed.
//!
//! A row counts as covered on a kernel when a scenario that names it passed there, and as nothing else. Why
//! one is not covered is part of the answer.

mod rows;

pub use rows::{ROWS, SOURCE_SHA256};

use reports::report::{KernelReport, ScenarioReport, Verdict};

use crate::catalogue;
use crate::kernel::KernelRelease;

/// One error path of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name in the errno map.
    pub id: &'static str,
    /// What is answered.
    pub errno: &'static str,
    /// What it takes to get there.
    pub reach: Reach,
    /// Whether Linux 6.12 has this path.
    pub in_6_12: bool,
    /// The first line of its condition and the last of its answer, in the text of the driver with [`SOURCE_SHA256`].
    pub lines: (u32, u32),
}

/// What it takes to reach a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any program gets there, every time.
    Sure,
    /// A kernel that is configured otherwise.
    Config,
    /// An allocation that fails.
    Memory,
    /// A signal at the right moment.
    Signal,
    /// A race.
    Timing,
    /// Nothing, by inspection.
    Never,
    /// It is not seen outside the kernel.
    Inside,
}

impl Reach {
    /// Why a row of this kind has no scenario; none where it should have one.
    #[must_use]
    pub fn excuse(self) -> Option<&'static str> {
        match self {
            Self::Sure => None,
            Self::Config => Some("needs a kernel that is configured otherwise"),
            Self::Memory => Some("needs an allocation that fails"),
            Self::Signal => Some("needs a signal at the right moment"),
            Self::Timing => Some("needs a race"),
            Self::Never => Some("cannot be reached, by inspection"),
            Self::Inside => Some("is not seen outside the kernel"),
        }
    }
}

impl Row {
    /// The scenarios that say they get there.
    pub fn scenarios(&self) -> impl Iterator<Item = &'static str> + use<> {
        let id = self.id;
        catalogue::all()
            .filter(move |scenario| scenario.covers.contains(&id))
            .map(|scenario| scenario.id)
    }
}

/// What a run says about a row on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// This scenario reached it and passed.
    Covered(String),
    /// This scenario reaches it and is red, or known to be.
    Red(String),
    /// Every scenario for it was skipped or not in the run; the reason.
    NotRun(String),
    /// This kernel has no such path.
    Absent,
    /// No scenario is for it, which is excused.
    Excused(&'static str),
    /// No scenario is for it.
    Missing,
}

/// What the run of one kernel says about every row, in the order of [`ROWS`].
#[must_use]
pub fn coverage(kernel: &KernelReport) -> Vec<(&'static Row, Coverage)> {
    let release = kernel.kernel.release.as_deref().and_then(KernelRelease::parse);
    ROWS.iter().map(|row| (row, of_row(row, release, &kernel.scenarios))).collect()
}

fn of_row(row: &Row, release: Option<KernelRelease>, reports: &[ScenarioReport]) -> Coverage {
    if !row.in_6_12 && release.is_some_and(|kernel| !kernel.at_least(6, 13)) {
        return Coverage::Absent;
    }
    let named: Vec<&str> = row.scenarios().collect();
    if named.is_empty() {
        return row.reach.excuse().map_or(Coverage::Missing, Coverage::Excused);
    }
    let ran: Vec<_> = reports.iter().filter(|r| named.contains(&r.id.as_str())).collect();
    let first = |verdict: &dyn Fn(Verdict) -> bool| ran.iter().find(|r| verdict(r.verdict));
    if let Some(report) = first(&|verdict| verdict == Verdict::Pass) {
        return Coverage::Covered(report.id.clone());
    }
    if let Some(report) = first(&|verdict| !matches!(verdict, Verdict::Skip | Verdict::NotRun)) {
        return Coverage::Red(report.id.clone());
    }
    match ran.first() {
        None => Coverage::NotRun(format!("{} was not in the run", named[0])),
        Some(report) => Coverage::NotRun(format!("{}: {}", report.id, report.message)),
    }
}

/// Rows of one kernel, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Rows this kernel has and any program can reach.
    pub reachable: u32,
    /// Those among them that a passed scenario covers.
    pub covered: u32,
    /// Those among them whose scenario is red.
    pub red: u32,
    /// Those among them whose scenario did not run here.
    pub not_run: u32,
    /// Those among them that no scenario is for.
    pub missing: u32,
    /// Covered rows that take more than any program: a signal, a race.
    pub covered_beyond: u32,
    /// Rows that no scenario is for, with a reason.
    pub excused: u32,
    /// Rows this kernel does not have.
    pub absent: u32,
}

impl Sum {
    /// Counts.
    #[must_use]
    pub fn of(rows: &[(&'static Row, Coverage)]) -> Self {
        let mut sum = Self::default();
        for (row, coverage) in rows {
            let sure = row.reach == Reach::Sure;
            if sure && *coverage != Coverage::Absent {
                sum.reachable += 1;
            }
            match coverage {
                Coverage::Covered(_) if sure => sum.covered += 1,
                Coverage::Covered(_) => sum.covered_beyond += 1,
                Coverage::Absent => sum.absent += 1,
                Coverage::Excused(_) => sum.excused += 1,
                Coverage::Red(_) if sure => sum.red += 1,
                Coverage::NotRun(_) if sure => sum.not_run += 1,
                Coverage::Red(_) | Coverage::NotRun(_) => sum.excused += 1,
                Coverage::Missing => sum.missing += 1,
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_map_has_its_288_rows_once_each() {
        let ids: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!((ROWS.len(), ids.len()), (288, 288));
        assert_eq!(ROWS.iter().filter(|row| row.reach == Reach::Sure).count(), 242);
    }

    #[test]
    fn every_row_has_its_place_in_the_source() {
        for row in ROWS {
            let (first, last) = row.lines;
            assert!(first > 1 && first <= last, "{}", row.id);
        }
    }

    /// Fields of the ABI whose names begin as a row's.
    const FIELDS: [&str; 3] = ["commit.result", "commit.short", "commit.zone_append_lba"];

    /// A misspelt row would be covered by nobody and missed by nobody.
    #[test]
    fn what_looks_like_a_row_in_a_scenario_is_one() {
        let sections: BTreeSet<_> =
            ROWS.iter().filter_map(|row| row.id.split('.').next()).collect();
        for scenario in catalogue::all() {
            for covers in scenario.covers {
                let section = covers.split_once('.').map(|(section, _)| section);
                let like_a_row = section.is_some_and(|section| sections.contains(section));
                if like_a_row && !FIELDS.contains(covers) {
                    let known = ROWS.iter().any(|row| row.id == *covers);
                    assert!(known, "{} covers {covers}, which is no row", scenario.id);
                }
            }
        }
    }
}
