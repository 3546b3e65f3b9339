//! What a comparison says: each subject against ours, as ratios with their intervals.
//!
//! A ratio is made within a repetition, of samples that were taken minutes apart, and only then summed up:
//! what a machine does over an hour is in both parts of it. The number of I/Os by itself says nothing here
//! and is not shown; whoever wants it finds the samples beside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::{Cell, Role};
use super::report::SubjectResult;
use crate::stats::{Interval, median, median_interval};

/// The mode of ours that everybody of a target is compared with: what `ublk add` does without options.
const REFERENCE_MODE: &str = "copy";

/// Everybody with the same target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// What they serve, as `null` or `file`.
    pub target: String,
    /// Program and mode that is 1 in [`Compared::cells`], as `ublk-file/copy`.
    pub reference: String,
    /// One entry per subject, in the plan's order.
    pub subjects: Vec<Compared>,
}

/// One subject of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Program.
    pub name: String,
    /// Data mode.
    pub mode: String,
    /// Its part.
    pub role: Role,
    /// Its I/Os per second over those of the reference, by cell; empty where it was skipped.
    pub cells: Vec<ComparedCell>,
    /// Ours over it, over all cells; none of ours.
    pub overall: Option<Overall>,
}

/// A ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedCell {
    /// Of which cell.
    pub cell: Cell,
    /// The median of the repetitions' ratios.
    pub ratio: f64,
    /// Where it truly lies.
    pub interval: Interval,
}

/// How many times as many I/Os ours does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overall {
    /// Which of ours: the same mode where ours has it for this target, else the reference.
    pub ours: String,
    /// The median over the repetitions of the geometric mean over the cells.
    pub ratio: f64,
    /// Where it truly lies.
    pub interval: Interval,
    /// The least of any cell.
    pub least: f64,
    /// The most of any cell.
    pub most: f64,
}

/// Compares everybody who has a target with ours of the same target. Where ours was not measured, or has
/// another number of samples than a subject, nothing is said.
#[must_use]
pub fn comparisons(subjects: &[SubjectResult], seed: u64) -> Vec<Comparison> {
    let mut targets: Vec<&str> = Vec::new();
    for target in subjects.iter().filter_map(|subject| subject.target.as_deref()) {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let comparison = |target: &str| {
        let all: Vec<&SubjectResult> =
            subjects.iter().filter(|s| s.target.as_deref() == Some(target)).collect();
        let reference = ours(&all, REFERENCE_MODE)?;
        let compared = all.iter().map(|subject| compared(subject, &all, reference, seed));
        Some(Comparison {
            target: target.to_owned(),
            reference: id(reference),
            subjects: compared.collect(),
        })
    };
    targets.into_iter().filter_map(comparison).collect()
}

fn ours<'a>(all: &[&'a SubjectResult], mode: &str) -> Option<&'a SubjectResult> {
    all.iter().find(|s| s.role == Role::Ours && s.mode == mode && !s.cells.is_empty()).copied()
}

fn id(subject: &SubjectResult) -> String {
    format!("{}/{}", subject.name, subject.mode)
}

fn compared(
    subject: &SubjectResult,
    all: &[&SubjectResult],
    reference: &SubjectResult,
    seed: u64,
) -> Compared {
    let pairs = pairs(subject, reference);
    let cells = pairs.iter().filter_map(|(cell, ratios)| {
        let interval = median_interval(ratios, seed)?;
        Some(ComparedCell { cell: *cell, ratio: median(ratios), interval })
    });
    let overall = || {
        let own = ours(all, &subject.mode).unwrap_or(reference);
        overall(own, subject, seed)
    };
    Compared {
        name: subject.name.clone(),
        mode: subject.mode.clone(),
        role: subject.role,
        cells: cells.collect(),
        overall: (subject.role != Role::Ours).then(overall).flatten(),
    }
}

/// For each cell the ratio `over / under` of each repetition.
fn pairs(over: &SubjectResult, under: &SubjectResult) -> Vec<(Cell, Vec<f64>)> {
    let of_cell = |cell: &super::report::CellResult| {
        let other = under.cells.iter().find(|other| other.cell == cell.cell)?;
        let same = cell.samples_iops.len() == other.samples_iops.len();
        let ratios: Vec<f64> =
            cell.samples_iops.iter().zip(&other.samples_iops).map(|(a, b)| a / b).collect();
        let sound = same && !ratios.is_empty() && ratios.iter().all(|r| r.is_finite() && *r > 0.0);
        sound.then_some((cell.cell, ratios))
    };
    over.cells.iter().filter_map(of_cell).collect()
}

fn overall(ours: &SubjectResult, subject: &SubjectResult, seed: u64) -> Option<Overall> {
    let pairs = pairs(ours, subject);
    // A mean over other cells than the table's would be of something else.
    if pairs.is_empty() || pairs.len() != subject.cells.len() {
        return None;
    }
    let repetitions = pairs.iter().map(|(_, ratios)| ratios.len()).min()?;
    let mean = |repetition: usize| {
        let logs = pairs.iter().map(|(_, ratios)| ratios[repetition].ln());
        (logs.sum::<f64>() / pairs.len() as f64).exp()
    };
    let means: Vec<f64> = (0..repetitions).map(mean).collect();
    let medians = pairs.iter().map(|(_, ratios)| median(ratios));
    let (least, most) =
        medians.fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
    Some(Overall {
        ours: id(ours),
        ratio: median(&means),
        interval: median_interval(&means, seed)?,
        least,
        most,
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::Operation;
    use super::super::report::CellResult;
    use super::*;

    fn subject(name: &str, mode: &str, role: Role, samples: [&[f64]; 2]) -> SubjectResult {
        let cell = |(depth, samples): (u16, &&[f64])| CellResult {
            cell: Cell::new(Operation::Read, depth),
            samples_iops: samples.to_vec(),
            median_iops: median(samples),
            interval_iops: None,
            latency: Vec::new(),
            cost_ns_per_io: 0.0,
            ratio: None,
        };
        SubjectResult {
            name: name.into(),
            mode: mode.into(),
            role,
            skipped: None,
            target: Some("null".into()),
            version: None,
            note: None,
            device: None,
            cells: [1, 32].into_iter().zip(&samples).map(cell).collect(),
            counts: Vec::new(),
            idle_switches_per_s: None,
        }
    }

    #[test]
    fn ratios_are_made_within_a_repetition() {
        // The host is twice as fast in the second repetition; the ratio is the same in both.
        let subjects = [
            subject("ublk", "copy", Role::Ours, [&[100.0, 200.0, 100.0], &[400.0, 800.0, 400.0]]),
            subject("kublk", "copy", Role::Peer, [&[50.0, 100.0, 50.0], &[100.0, 200.0, 100.0]]),
        ];
        let found = comparisons(&subjects, 1);
        assert_eq!((found.len(), found[0].reference.as_str()), (1, "ublk/copy"));
        let kublk = &found[0].subjects[1];
        let seen: Vec<f64> = kublk.cells.iter().map(|cell| cell.ratio).collect();
        assert_eq!(seen, [0.5, 0.25]);
        assert_eq!((kublk.cells[0].interval.low, kublk.cells[0].interval.high), (0.5, 0.5));
        let overall = kublk.overall.as_ref().unwrap();
        assert!((overall.ratio - 8.0_f64.sqrt()).abs() < 1e-12, "{overall:?}");
        assert_eq!((overall.least, overall.most), (2.0, 4.0));
        assert!(found[0].subjects[0].overall.is_none());
    }

    #[test]
    fn a_mode_is_compared_with_the_same_of_ours_where_there_is_one() {
        let both = |ours, peer| {
            let subjects = [
                subject("ublk", "copy", Role::Ours, [&[1.0], &[1.0]]),
                subject("ublk", "auto-buf", Role::Ours, [&[2.0], &[2.0]]),
                subject("peer", peer, Role::Peer, [&[1.0], &[1.0]]),
            ];
            let found = comparisons(&subjects, 1);
            let overall = found[0].subjects[2].overall.clone().unwrap();
            assert_eq!(overall.ours, ours);
        };
        both("ublk/auto-buf", "auto-buf");
        both("ublk/copy", "blk-mq");
    }

    #[test]
    fn nothing_is_said_of_half_a_subject_or_without_ours() {
        let ours = subject("ublk", "copy", Role::Ours, [&[1.0, 1.0], &[1.0, 1.0]]);
        let half = subject("kublk", "copy", Role::Peer, [&[1.0], &[1.0, 1.0]]);
        let found = comparisons(&[ours, half.clone()], 1);
        assert_eq!(found[0].subjects[1].cells.len(), 1);
        assert!(found[0].subjects[1].overall.is_none());
        assert!(comparisons(&[half], 1).is_empty());
    }
}
