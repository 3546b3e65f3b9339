//! What other tools chart of a real run: every cell under a name of its own, in the shape their readers want,
//! and nothing of a run that went wrong.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

use std::collections::BTreeSet;
use std::path::Path;

use reports::perf::{BenchPlace, BenchResult, PerfReport, bencher, github, load_perf};
use serde_json::Value;

fn report() -> PerfReport {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut report = load_perf(&tests.join("pages/performance/now/perf.json")).unwrap();
    report.benches = vec![BenchResult {
        name: "tag/turn".into(),
        place: BenchPlace::Guest,
        ns_per_iteration: 32,
        deviation_ns: 40,
    }];
    report
}

fn cells(report: &PerfReport) -> usize {
    report.subjects.iter().map(|subject| subject.cells.len()).sum()
}

#[test]
fn github_action_benchmark_gets_a_named_number_for_each_cell() {
    let report = report();
    let entries: Vec<Value> = serde_json::from_str(&github(&report)).unwrap();
    assert_eq!(entries.len(), cells(&report));
    let names: BTreeSet<&str> = entries.iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), entries.len());
    assert!(names.contains("ublk/copy/read-qd32"));
    for entry in &entries {
        assert!(entry["value"].as_f64().unwrap() > 1000.0 && entry["unit"] == "IOPS", "{entry}");
        // One sample has no range, and none is claimed.
        assert!(entry.get("range").is_none(), "{entry}");
    }
}

#[test]
fn bencher_gets_measures_with_slugs_for_cells_lives_and_benches() {
    let report = report();
    let all: Value = serde_json::from_str(&bencher(&report)).unwrap();
    let all = all.as_object().unwrap();
    assert_eq!(all.len(), cells(&report) + report.start_up.len() + report.benches.len());
    for (name, measures) in all {
        for (slug, measure) in measures.as_object().unwrap() {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(slug.chars().all(fits), "{name}: {slug}");
            let value = measure["value"].as_f64().unwrap();
            let bound = |bound: &str| measure.get(bound).map_or(value, |b| b.as_f64().unwrap());
            assert!(
                bound("lower_value") <= value && value <= bound("upper_value"),
                "{name}: {slug}"
            );
        }
    }
    assert!(all["ublk/copy/depth32"]["start-ns"]["value"].as_f64().unwrap() > 1e6);
    assert_eq!(all["bench/guest/tag/turn"]["instructions"]["lower_value"], 0.0);
}

#[test]
fn nothing_is_exported_of_a_run_with_errors() {
    let mut report = report();
    report.errors.push("visit 3, ublk/copy: no answer".into());
    assert_eq!((github(&report).trim(), bencher(&report).trim()), ("[]", "{}"));
}
