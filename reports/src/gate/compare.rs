//! Brings each metric's samples and what they are compared with together, as losses.
//!
//! A stored baseline gives one value for all samples. A base in the same run gives one for each: by the wall
//! clock every round visits base, head and control there and back, and only what the round's own members
//! differ by is used, because between rounds the host may have become another one.

use std::collections::BTreeMap;

use super::baseline::{Baseline, Environment, HEAD, same_place};
use super::metric::{Kind, MetricId, Tolerance, metrics_of};
use super::noise;
use super::refusal::{Refusal, whole};
use crate::perf::PerfReport;
use crate::stats::median;

/// Name of the other tree's server, measured in the same run.
pub const BASE: &str = "base";
/// Name of that server measured once more, as if it were another: what it differs by is noise.
pub const CONTROL: &str = "control";

/// What the samples are compared with.
#[derive(Clone, Debug)]
pub enum Reference {
    /// Numbers of an earlier run.
    Stored(Box<Baseline>),
    /// The subject `base` of the same run; the baseline is only asked for its noise.
    Beside(Option<Box<Baseline>>),
}

/// One metric, ready to be judged.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compared {
    pub(super) base: f64,
    pub(super) head: f64,
    pub(super) tolerance: Tolerance,
    pub(super) losses: Vec<f64>,
}

/// All metrics of a pool of runs, and the controls beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Comparison {
    pub(super) metrics: BTreeMap<MetricId, Compared>,
    pub(super) controls: BTreeMap<MetricId, Compared>,
}

/// Compares a pool of runs of the same tree.
pub(super) fn compare(
    reference: &Reference,
    reports: &[PerfReport],
) -> Result<Comparison, Refusal> {
    let mut comparison = Comparison::default();
    let mut heads: BTreeMap<MetricId, Vec<f64>> = BTreeMap::new();
    let mut bases: BTreeMap<MetricId, Vec<f64>> = BTreeMap::new();
    for report in reports {
        whole(report)?;
        let here = Environment::of(report);
        match reference {
            Reference::Stored(baseline) => same_place(&baseline.environment, &here)?,
            Reference::Beside(_) => same_place(&Environment::of(&reports[0]), &here)?,
        }
        let head = usable(metrics_of(report, HEAD))?;
        if head.is_empty() {
            return Err(Refusal::NoSubject { name: HEAD.into() });
        }
        let base = match reference {
            Reference::Stored(baseline) => {
                baseline.medians().into_iter().map(|(id, value)| (id, vec![value])).collect()
            }
            Reference::Beside(_) => usable(metrics_of(report, BASE))?,
        };
        same_metrics(&base, &head)?;
        let tolerance = |id: &MetricId| tolerance(reference, &here, id);
        if report.clock == "wall" {
            if matches!(reference, Reference::Stored(_)) {
                return Err(Refusal::NotInterleaved);
            }
            let rounds = report.mirrored_rounds.ok_or(Refusal::NotInterleaved)?;
            let control = usable(metrics_of(report, CONTROL))?;
            if control.is_empty() {
                return Err(Refusal::NotInterleaved);
            }
            add_rounds(&mut comparison.metrics, &base, &head, rounds, &tolerance)?;
            let control = control.into_iter().filter(|(id, _)| id.kind == Kind::Iops).collect();
            add_rounds(&mut comparison.controls, &base, &control, rounds, &tolerance)?;
        } else {
            add_plain(&mut comparison.metrics, &base, &head, &tolerance);
        }
        for (id, samples) in head {
            heads.entry(id).or_default().extend(samples);
        }
        for (id, samples) in base {
            bases.entry(id).or_default().extend(samples);
        }
    }
    for (id, compared) in &mut comparison.metrics {
        compared.head = median(&heads[id]);
        compared.base = median(&bases[id]);
    }
    Ok(comparison)
}

fn tolerance(reference: &Reference, here: &Environment, id: &MetricId) -> Tolerance {
    if here.clock != "wall" {
        return id.kind.tolerance_of_instructions();
    }
    let history = match reference {
        // The noise of another host says nothing of this one.
        Reference::Beside(Some(baseline)) if baseline.environment == *here => Some(baseline),
        Reference::Beside(_) | Reference::Stored(_) => None,
    };
    let noise = history.map_or(noise::THRESHOLD_WITHOUT_HISTORY, |b| noise::threshold(b, id));
    id.kind.tolerance_of_wall(noise)
}

/// A sample that is not finite, negative, or a rate of 0 was not measured.
fn usable(metrics: BTreeMap<MetricId, Vec<f64>>) -> Result<BTreeMap<MetricId, Vec<f64>>, Refusal> {
    for (id, samples) in &metrics {
        let positive = matches!(id.kind, Kind::Iops | Kind::ServerNsPerIo);
        let bad = |s: &f64| !s.is_finite() || *s < 0.0 || (positive && *s == 0.0);
        if samples.is_empty() || samples.iter().any(bad) {
            return Err(Refusal::Sample { metric: id.name() });
        }
    }
    Ok(metrics)
}

fn same_metrics(
    base: &BTreeMap<MetricId, Vec<f64>>,
    head: &BTreeMap<MetricId, Vec<f64>>,
) -> Result<(), Refusal> {
    let lacks = |side, of: &BTreeMap<MetricId, Vec<f64>>, other: &BTreeMap<MetricId, Vec<f64>>| {
        let missing = other.keys().filter(|id| !of.contains_key(id));
        let metrics: Vec<String> = missing.map(MetricId::name).collect();
        if metrics.is_empty() { Ok(()) } else { Err(Refusal::Missing { side, metrics }) }
    };
    lacks("report", head, base)?;
    lacks("baseline", base, head)
}

/// Each sample of the head against the median of the base.
fn add_plain(
    into: &mut BTreeMap<MetricId, Compared>,
    base: &BTreeMap<MetricId, Vec<f64>>,
    head: &BTreeMap<MetricId, Vec<f64>>,
    tolerance: &impl Fn(&MetricId) -> Tolerance,
) {
    for (id, samples) in head {
        let (tolerance, value) = (tolerance(id), median(&base[id]));
        let losses = samples.iter().map(|sample| tolerance.loss(id.kind, value, *sample));
        slot(into, id, tolerance).losses.extend(losses);
    }
}

/// What each round's members differ by; counts, which are not taken in rounds, as they are.
fn add_rounds(
    into: &mut BTreeMap<MetricId, Compared>,
    base: &BTreeMap<MetricId, Vec<f64>>,
    head: &BTreeMap<MetricId, Vec<f64>>,
    rounds: u32,
    tolerance: &impl Fn(&MetricId) -> Tolerance,
) -> Result<(), Refusal> {
    for (id, samples) in head {
        let tolerance = tolerance(id);
        let others = base.get(id).ok_or_else(|| Refusal::Sample { metric: id.name() })?;
        if id.kind != Kind::Iops {
            let loss = tolerance.loss(id.kind, median(others), median(samples));
            slot(into, id, tolerance).losses.push(loss);
            continue;
        }
        let expected = rounds as usize * 2;
        if samples.len() != expected || others.len() != expected {
            return Err(Refusal::Sample { metric: id.name() });
        }
        let losses = samples.chunks(2).zip(others.chunks(2)).map(|(head, base)| {
            let pairs = head.iter().zip(base);
            pairs.map(|(head, base)| tolerance.loss(id.kind, *base, *head)).sum::<f64>() / 2.0
        });
        // The first round warms everything up that a warm-up does not reach.
        let skip = usize::from(rounds > 1);
        slot(into, id, tolerance).losses.extend(losses.skip(skip));
    }
    Ok(())
}

fn slot<'a>(
    into: &'a mut BTreeMap<MetricId, Compared>,
    id: &MetricId,
    tolerance: Tolerance,
) -> &'a mut Compared {
    into.entry(id.clone()).or_insert_with(|| Compared {
        base: f64::NAN,
        head: f64::NAN,
        tolerance,
        losses: Vec::new(),
    })
}
