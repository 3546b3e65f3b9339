//! The formats that people already chart: github-action-benchmark's `customBiggerIsBetter` and the Bencher
//! Metric Format.
//!
//! Both are flat lists of named values, so a name is made of program, mode and cell and stays the same
//! for as long as what it measures does. Nothing is exported of a run with errors: a chart has no place to
//! say that a point is wrong.

use serde_json::{Map, Value, json};

use super::bench::{BenchPlace, BenchResult};
use super::report::{CellResult, PerfReport, StartUpResult, SubjectResult};
use crate::stats::Interval;

/// `customBiggerIsBetter` of github-action-benchmark: a list of name, unit and value, where more is better.
#[must_use]
pub fn github(report: &PerfReport) -> String {
    let entries: Vec<Value> = cells(report)
        .map(|(subject, cell)| {
            let mut entry = json!({
                "name": name(subject, cell),
                "unit": "IOPS",
                "value": cell.median_iops,
                "extra": format!("samples: {:?}", cell.samples_iops),
            });
            if let Some(interval) = width(cell) {
                let half = (interval.high - interval.low) / 2.0;
                entry["range"] = json!(format!("± {half:.1}"));
            }
            entry
        })
        .collect();
    format!("{:#}\n", Value::from(entries))
}

/// Bencher Metric Format: per benchmark its measures, each with a value and, where known, its bounds.
#[must_use]
pub fn bencher(report: &PerfReport) -> String {
    let mut benchmarks = Map::new();
    for (subject, cell) in cells(report) {
        let mut iops = json!({ "value": cell.median_iops });
        if let Some(interval) = width(cell) {
            iops["lower_value"] = json!(interval.low);
            iops["upper_value"] = json!(interval.high);
        }
        let mut measures = json!({ "iops": iops });
        for point in &cell.latency {
            // A slug must hold no dot: p99.9 is p99-9.
            let slug = format!("latency-p{}-ns", point.percent).replace('.', "-");
            measures[slug] = json!({ "value": point.latency_ns as f64 });
        }
        if let Some(count) = subject.counts.iter().find(|count| count.cell == cell.cell) {
            measures["io-uring-enters-per-io"] = json!({ "value": count.enters_per_io });
            measures["system-calls-per-io"] = json!({ "value": count.syscalls_per_io });
            if let Some(server) = count.server_ns_per_io {
                measures["server-ns-per-io"] = json!({ "value": server });
            }
        }
        benchmarks.insert(name(subject, cell), measures);
    }
    if report.errors.is_empty() {
        benchmarks.extend(report.start_up.iter().map(life));
        let clock = report.clock.as_str();
        benchmarks.extend(report.benches.iter().map(|own| bench(own, clock)));
    }
    format!("{:#}\n", Value::from(benchmarks))
}

/// A server's beginning, end and replacement at one depth.
fn life(life: &StartUpResult) -> (String, Value) {
    let mut measures = json!({ "start-ns": { "value": life.median_ns as f64 } });
    let known = [
        ("stop-ns", life.stop_median_ns),
        ("recovery-ns", life.recovery_median_ns),
        ("resident-bytes", life.resident_bytes),
    ];
    for (slug, value) in known {
        if let Some(value) = value {
            measures[slug] = json!({ "value": value as f64 });
        }
    }
    (format!("{}/{}/depth{}", life.name, life.mode, life.depth), measures)
}

/// A criterion bench; what it is counted in depends on where it ran.
fn bench(bench: &BenchResult, clock: &str) -> (String, Value) {
    let (place, slug) = match (bench.place, clock) {
        (BenchPlace::Guest, "instructions") => ("guest", "instructions"),
        (BenchPlace::Guest, _) => ("guest", "latency-ns"),
        (BenchPlace::Host, _) => ("host", "latency-ns"),
    };
    let (value, deviation) = (bench.ns_per_iteration as f64, bench.deviation_ns as f64);
    let bounds = json!({
        "value": value,
        "lower_value": (value - deviation).max(0.0),
        "upper_value": value + deviation,
    });
    (format!("bench/{place}/{}", bench.name), json!({ slug: bounds }))
}

/// The interval of a cell; none of a single sample, which knows nothing of its own noise.
fn width(cell: &CellResult) -> Option<Interval> {
    cell.interval_iops.filter(|_| cell.samples_iops.len() > 1)
}

fn cells(report: &PerfReport) -> impl Iterator<Item = (&SubjectResult, &CellResult)> {
    let whole = report.errors.is_empty();
    let subjects = report.subjects.iter().filter(move |_| whole);
    subjects.flat_map(|subject| subject.cells.iter().map(move |cell| (subject, cell)))
}

fn name(subject: &SubjectResult, cell: &CellResult) -> String {
    format!("{}/{}/{}", subject.name, subject.mode, cell.cell.name())
}
