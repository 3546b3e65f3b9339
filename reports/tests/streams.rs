//! Every recorded stream gets the verdicts written beside it: each is one way a run can lie, or not.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use std::path::PathBuf;

use rstest::rstest;
use support::{Stream, folder};

#[rstest]
fn a_stream_gets_its_verdicts(#[files("tests/streams/*.jsonl")] path: PathBuf) {
    let stream = Stream::load(&path);
    let (report, expected) = (stream.fold(), &stream.expected);
    let context = || format!("{}: {}\n{report:#?}", path.display(), expected.story);

    for (kernel, verdicts) in report.kernels.iter().zip(&expected.verdicts) {
        for scenario in &kernel.scenarios {
            let verdict = scenario.verdict.as_str();
            let both = scenario.cause.map(|cause| format!("{verdict}/{}", cause.as_str()));
            let both = both.unwrap_or_else(|| verdict.to_owned());
            assert_eq!(Some(&both), verdicts.get(&scenario.id), "{} in {}", scenario.id, context());
        }
        assert_eq!(kernel.scenarios.len(), verdicts.len(), "{}", context());
    }
    assert_eq!(report.kernels.len(), expected.verdicts.len(), "{}", context());

    let whats: Vec<_> = report.violations.iter().map(|v| v.what.as_str()).collect();
    match &expected.violations {
        None => assert!(!whats.is_empty(), "{}", context()),
        Some(parts) => {
            assert_eq!(whats.len(), parts.len(), "{whats:#?} in {}", context());
            for (what, part) in whats.iter().zip(parts) {
                assert!(what.contains(part), "{what} has no {part} in {}", context());
            }
        }
    }
    let kinds: Vec<_> = report.errors.iter().map(|error| error.kind).collect();
    assert_eq!(kinds, expected.errors, "{}", context());
    assert_eq!(report.status(), expected.status, "{}", context());
    assert_eq!(report.exit_code().code(), expected.exit_code, "{}", context());
}

#[test]
fn every_expectation_has_its_stream() {
    for entry in std::fs::read_dir(folder("streams")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(stem) = name.strip_suffix(".expect.json") {
            assert!(path.with_file_name(format!("{stem}.jsonl")).exists(), "{name} is alone");
        }
    }
}

#[test]
fn counts_add_up_in_every_stream() {
    for entry in std::fs::read_dir(folder("streams")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let c = Stream::load(&path).fold().counts;
            let sum = c.passed + c.failed + c.errors + c.skipped + c.known_bugs;
            assert_eq!(sum + c.caught + c.missed + c.not_run, c.planned, "{}", path.display());
        }
    }
}

#[test]
fn a_crash_keeps_its_console_as_evidence() {
    let report = Stream::named("panic-text").fold();
    let crashed = &report.kernels[0].scenarios[1];
    assert!(crashed.message.contains("BUG: kernel NULL pointer dereference"));
    let console = crashed.evidence.iter().find(|e| e.name == "console").unwrap();
    assert!(console.text.contains("RIP: 0010:ublk_ctrl_add_dev"));
    assert_eq!(crashed.last_steps, ["ADD_DEV"]);
}

#[test]
fn a_half_line_of_a_dying_guest_is_noted() {
    let report = Stream::named("truncated-by-crash").fold();
    assert!(report.violations.is_empty());
    assert_eq!(report.kernels[0].boots[0].notes, ["the guest's last message broke off"]);
}

#[test]
fn retries_are_counted() {
    let report = Stream::named("retry-before-ready").fold();
    assert_eq!(report.kernels[0].boots.len(), 3);
    assert_eq!(report.kernels[0].retries(), 2);
    assert_eq!(report.kernels[0].boots[2].ready_after_ms, Some(7));
}
