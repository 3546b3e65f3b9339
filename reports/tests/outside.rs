//! What breaks around the guest, and the exit code a script sees of it.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use reports::event::{BootEnd, Record, Seen};
use reports::plan::{Expectation, PlannedScenario};
use reports::report::{KernelHeader, RunErrorKind, Verdict};
use reports::{ExitCode, KernelInput, Report, RunInput, Status, fold};
use support::{Stream, run_header};

fn kernel(setup_error: Option<&str>, ids: &[&str]) -> KernelInput {
    let planned = |id: &&str| PlannedScenario {
        id: (*id).into(),
        budget_ms: 1_000,
        expect: Expectation::Pass,
    };
    KernelInput {
        header: KernelHeader { spec: "6.12".into(), ..KernelHeader::default() },
        planned: ids.iter().map(planned).collect(),
        whole: Vec::new(),
        setup_error: setup_error.map(Into::into),
    }
}

fn folded(
    kernels: &[KernelInput],
    records: &[Record],
    host_errors: &[String],
    interrupted: bool,
) -> Report {
    fold(&RunInput { run: &run_header(), kernels, records, host_errors, interrupted })
}

#[test]
fn nothing_planned_is_nothing_ran() {
    for kernels in [vec![], vec![kernel(None, &[])]] {
        let report = folded(&kernels, &[], &[], false);
        assert_eq!(report.status(), Status::NothingRan);
        assert_eq!(report.exit_code(), ExitCode::NothingRan);
    }
}

#[test]
fn a_kernel_that_cannot_be_had_is_the_infrastructures_fault() {
    let report = folded(&[kernel(Some("no network"), &["a/b"])], &[], &[], false);
    assert_eq!((report.status(), report.exit_code()), (Status::Failed, ExitCode::Infrastructure));
    assert_eq!(report.errors[0].kind, RunErrorKind::Infrastructure);
    assert!(report.status_reason.contains("no network"));
    assert_eq!(report.kernels[0].scenarios[0].verdict, Verdict::Error);
}

#[test]
fn a_kernel_that_cannot_be_had_does_not_excuse_a_failure_on_another() {
    let stream = Stream::named("panic-text");
    let planned = stream.expected.planned[0].clone();
    let kernels = [KernelInput { planned, ..kernel(None, &[]) }, kernel(Some("x"), &["a/b"])];
    let report = folded(&kernels, &stream.records, &[], false);
    assert_eq!((report.status(), report.exit_code()), (Status::Failed, ExitCode::Failed));
}

#[test]
fn an_error_of_the_host_turns_a_green_run_red() {
    let stream = Stream::named("retry-before-ready");
    let planned = stream.expected.planned[0].clone();
    let kernels = [KernelInput { planned, ..kernel(None, &[]) }];
    assert_eq!(folded(&kernels, &stream.records, &[], false).status(), Status::Passed);
    let report = folded(&kernels, &stream.records, &["the disk is full".into()], false);
    assert_eq!((report.status(), report.exit_code()), (Status::Failed, ExitCode::Infrastructure));
}

#[test]
fn one_kernel_that_shows_nothing_is_not_covered_by_another() {
    let stream = Stream::named("retry-before-ready");
    let planned = stream.expected.planned[0].clone();
    let kernels = [KernelInput { planned, ..kernel(None, &[]) }, kernel(None, &[])];
    assert_eq!(folded(&kernels, &stream.records, &[], false).status(), Status::NothingRan);
}

#[test]
fn an_interruption_between_boots_is_one() {
    let report = folded(&[kernel(None, &["a/b"])], &[], &[], true);
    assert_eq!(report.exit_code(), ExitCode::Interrupted);
    assert_eq!(report.kernels[0].scenarios[0].verdict, Verdict::NotRun);
}

#[test]
fn a_scenario_planned_twice_is_an_error() {
    let report = folded(&[kernel(None, &["a/b", "a/b"])], &[], &[], false);
    assert_eq!(report.errors[0].kind, RunErrorKind::Plan);
    assert_ne!(report.status(), Status::Passed);
}

#[test]
fn a_record_of_no_kernel_makes_the_run_invalid() {
    let stream = Stream::named("retry-before-ready");
    let mut records = stream.records.clone();
    let stray = Record { kernel: 7, ..records.last().unwrap().clone() };
    records.push(stray);
    assert_eq!(stream.fold_records(&records).status(), Status::Invalid);
}

#[test]
fn a_record_that_goes_back_in_time_makes_the_run_invalid() {
    let stream = Stream::named("retry-before-ready");
    let mut records = stream.records.clone();
    records[6].at_ms = records[5].at_ms - 1;
    let report = stream.fold_records(&records);
    assert!(report.violations[0].what.contains("back in time"));
    assert_eq!(report.status(), Status::Invalid);
}

/// With a shared nonce, lines left over from one boot would be believed in the other.
#[test]
fn two_boots_with_one_nonce_make_the_run_invalid() {
    let stream = Stream::named("retry-before-ready");
    let mut records = stream.records.clone();
    let nonce_of = |record: &Record| match &record.seen {
        Seen::BootStarted { nonce, .. } => Some(nonce.clone()),
        _ => None,
    };
    let last = records.iter().filter_map(nonce_of).next_back().unwrap();
    if let Seen::BootStarted { nonce, .. } = &mut records[0].seen {
        *nonce = last;
    }
    let report = stream.fold_records(&records);
    assert!(report.violations[0].what.contains("same nonce"));
    assert_eq!(report.status(), Status::Invalid);
}

#[test]
fn a_guest_that_does_not_power_off_is_an_error() {
    let stream = Stream::named("retry-before-ready");
    let mut records = stream.records.clone();
    if let Seen::BootEnded { end, .. } = &mut records.last_mut().unwrap().seen {
        *end = BootEnd::Deadline { which: "power-off".into() };
    }
    let report = stream.fold_records(&records);
    assert_eq!(report.errors[0].kind, RunErrorKind::Unfinished);
    assert_eq!(report.status(), Status::Failed);
}

/// The host's flag and the console text say the same thing; neither alone can hide a crash.
#[test]
fn a_crash_on_the_console_counts_though_the_flag_is_not_set() {
    let stream = Stream::named("panic-after-finish");
    let mut records = stream.records.clone();
    if let Seen::BootEnded { console_splat, .. } = &mut records.last_mut().unwrap().seen {
        *console_splat = false;
    }
    let report = stream.fold_records(&records);
    assert_eq!(report.errors[0].kind, RunErrorKind::Splat);
}

#[test]
fn a_lost_machine_is_not_excused_by_trouble_elsewhere() {
    let stream = Stream::named("lost-vm");
    let planned = stream.expected.planned[0].clone();
    let kernels = [KernelInput { planned, ..kernel(None, &[]) }];
    let report = folded(&kernels, &stream.records, &["the disk is full".into()], false);
    assert_eq!(report.exit_code(), ExitCode::Failed);
}

#[test]
fn violations_beyond_the_limit_are_counted() {
    let stream = Stream::named("retry-before-ready");
    let mut records = stream.records.clone();
    let line = Record { seen: Seen::Line { text: "?".into() }, ..records[5].clone() };
    for _ in 0..150 {
        records.insert(6, line.clone());
    }
    let report = stream.fold_records(&records);
    assert_eq!(report.violations.len() as u64 + report.violations_cut, 150);
    assert!(report.violations_cut > 0);
}

#[test]
fn folding_twice_gives_the_same_bytes() {
    let stream = Stream::named("clean");
    let json = || serde_json::to_string(&stream.fold()).unwrap();
    assert_eq!(json(), json());
}
