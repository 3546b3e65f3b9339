//! The formats that people already chart: github-action-benchmark's `customBiggerIsBetter` and the Bencher
//! Metric Format.
//!
//! Both are flat lists of named values, so a name is made of program, mode and cell and stays the same
//! for as long as what it measures does. Nothing is exported of a run with errors: a chart has no place to
//! say that a point is wrong.

use serde_json::{Map, Value, json};

use super::report::{CellResult, PerfReport, SubjectResult};

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
            if let Some(interval) = cell.interval_iops {
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
        if let Some(interval) = cell.interval_iops {
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
    format!("{:#}\n", Value::from(benchmarks))
}

fn cells(report: &PerfReport) -> impl Iterator<Item = (&SubjectResult, &CellResult)> {
    let whole = report.errors.is_empty();
    let subjects = report.subjects.iter().filter(move |_| whole);
    subjects.flat_map(|subject| subject.cells.iter().map(move |cell| (subject, cell)))
}

fn name(subject: &SubjectResult, cell: &CellResult) -> String {
    format!("{}/{}/{}", subject.name, subject.mode, cell.cell.name())
}
