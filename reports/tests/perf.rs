//! The fold of a perf run: good lines give medians and ratios, everything else gives errors.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

use reports::perf::{
    Cell, CountRequest, Counted, Launch, Measured, Operation, PERF_PROTOCOL_VERSION, PerfEvent,
    PerfInput, PerfLine, PerfPlan, PerfReport, Role, StartUp, Subject, Visit, comparisons, fold,
    markdown,
};
use reports::report::{KernelHeader, RunHeader};

const CELL: Cell = Cell::new(Operation::Read, 32);

fn fio(iops: u32, error: u32) -> String {
    let bytes = iops * 4096;
    format!(
        r#"{{"fio version":"fio-3.39","timestamp":1,"timestamp_ms":1000,"time":"now","jobs":[{{
        "jobname":"read-qd32","groupid":0,"error":{error},"elapsed":1,"read":{{"io_bytes":{bytes},
        "bw":{kib},"bw_bytes":{bytes},"iops":{iops},"runtime":1000,"total_ios":{iops},"short_ios":0,
        "drop_ios":0,"iops_samples":2,"clat_ns":{{"min":100,"max":900,"mean":300.0,"stddev":1.0,
        "N":{iops}}}}}}}]}}"#,
        kib = iops * 4,
    )
}

fn subject(name: &str, role: Role) -> Subject {
    Subject {
        name: name.into(),
        mode: "copy".into(),
        role,
        features: 0,
        launch: Launch::Server { argv: vec![name.into()], id: 1, allocators: vec![16] },
        device: "/dev/ublkb1".into(),
        target: None,
        proof: None,
    }
}

fn visit(subject: usize, count: bool) -> Visit {
    let job = || "[read-qd32]".to_owned();
    Visit {
        subject,
        extra_argv: Vec::new(),
        job_file: (!count).then(job),
        count: count.then(|| CountRequest { jobs: vec![(CELL, job())], idle_ms: 2000 }),
        depth: 128,
        recover_argv: None,
    }
}

fn plan() -> PerfPlan {
    PerfPlan {
        protocol_version: PERF_PROTOCOL_VERSION,
        nonce: "nonce".into(),
        subjects: vec![subject("ublk", Role::Ours), subject("kublk", Role::Reference)],
        visits: vec![
            visit(0, false),
            visit(1, false),
            visit(0, false),
            visit(0, false),
            visit(0, true),
        ],
        benches: Vec::new(),
    }
}

fn measured(visit: usize, iops: u32) -> PerfEvent {
    let start_up = Some(StartUp { elapsed_ns: 4_000_000, allocations: None });
    let measured = Measured { start_up, fio: Some(fio(iops, 0)), ..Measured::default() };
    PerfEvent::Measured { visit, measured: Box::new(measured) }
}

fn counted(syscalls: u64) -> PerfEvent {
    let counted = Counted {
        cell: Some(CELL),
        fio: fio(1000, 0),
        enters: 100,
        syscalls,
        voluntary_switches: 90,
        allocations: Some(0),
        ..Counted::default()
    };
    let measured =
        Measured { counted: vec![counted], idle_switches: Some(4), ..Measured::default() };
    PerfEvent::Measured { visit: 4, measured: Box::new(measured) }
}

fn good() -> Vec<PerfEvent> {
    vec![
        PerfEvent::Ready { kernel_release: "7.3".into(), cpus: 1 },
        measured(0, 900),
        measured(1, 1000),
        measured(2, 1300),
        measured(3, 1100),
        counted(110),
        PerfEvent::Finished,
    ]
}

fn report(events: Vec<PerfEvent>) -> PerfReport {
    let line = |(seq, event)| PerfLine { nonce: "nonce".into(), seq: seq as u64, event };
    let lines = events.into_iter().enumerate().map(line);
    let lines: Vec<String> = lines.map(|line| serde_json::to_string(&line).unwrap()).collect();
    report_of(&lines)
}

fn report_of(lines: &[String]) -> PerfReport {
    fold(&PerfInput {
        run: &RunHeader::default(),
        kernel: &KernelHeader::default(),
        clock: "instructions",
        cpus: 1,
        ios_per_sample: 1000,
        toolchain: None,
        host_load: None,
        mirrored_rounds: None,
        cells: &[CELL],
        plan: &plan(),
        lines,
        host_benches: Vec::new(),
        host_errors: Vec::new(),
    })
}

#[test]
fn a_good_run_gives_medians_ratios_and_counts_per_io() {
    let report = report(good());
    assert_eq!(report.errors, Vec::<String>::new());
    let ours = &report.subjects[0];
    assert_eq!(ours.cells[0].samples_iops, [900.0, 1300.0, 1100.0]);
    assert_eq!(ours.cells[0].median_iops, 1100.0);
    assert_eq!(ours.cells[0].ratio, Some(1.1));
    let count = &ours.counts[0];
    assert_eq!((count.enters_per_io, count.syscalls_per_io), (0.1, 0.11));
    assert_eq!((count.switches_per_io, count.allocations), (0.09, Some(0)));
    assert_eq!(ours.idle_switches_per_s, Some(2.0));
    assert_eq!(report.start_up[0].median_ns, 4_000_000);
    let text = markdown(&report);
    assert!(text.contains("| ublk (ours) | copy | 1.1 (1.100) |"), "{text}");
}

#[test]
fn whatever_is_missing_or_wrong_is_an_error() {
    let without = |number: usize| {
        let mut events = good();
        events.remove(number);
        report(events).errors
    };
    assert_eq!(without(2), ["visit 1, kublk/copy: no answer"]);
    assert_eq!(without(5), ["visit 4, ublk/copy: no answer"]);
    assert_eq!(without(6), ["the guest did not say that it is finished"]);
    let with = |number: usize, event: PerfEvent| {
        let mut events = good();
        events[number] = event;
        report(events).errors
    };
    assert_eq!(with(5, counted(0)), ["visit 4, ublk/copy: read-qd32: 1000 I/Os, 0 system calls"]);
    let failed = PerfEvent::Failed { visit: 0, reason: "it hung".into() };
    assert_eq!(with(1, failed), ["visit 0, ublk/copy: it hung"]);
    assert_eq!(with(1, measured(1, 1)).len(), 2, "one answered twice, one not at all");
    let bad = Measured { fio: Some(fio(1000, 28)), ..Measured::default() };
    let bad = PerfEvent::Measured { visit: 0, measured: Box::new(bad) };
    assert_eq!(with(1, bad).len(), 1);
    let silent = PerfEvent::Measured { visit: 0, measured: Box::default() };
    assert_eq!(with(1, silent), ["visit 0, ublk/copy: fio printed nothing"]);
}

#[test]
fn a_line_of_another_run_counts_for_nothing() {
    let line = PerfLine { nonce: "other".into(), seq: 0, event: measured(0, 1000) };
    let report = report_of(&[serde_json::to_string(&line).unwrap(), "{".to_owned()]);
    assert!(report.subjects[0].cells.is_empty());
    assert!(report.errors.iter().any(|error| error.contains("another run")));
    assert!(report.errors.iter().any(|error| error.contains("cannot be read")));
}

#[test]
fn a_skip_carries_its_probe_and_is_no_error() {
    let probe = "GET_FEATURES says 0x0".to_owned();
    let mut events = good();
    events[2] = PerfEvent::Skipped { visit: 1, probe: probe.clone() };
    let report = report(events);
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.subjects[1].skipped, Some(probe));
    assert_eq!(report.subjects[0].cells[0].ratio, None);
}

#[test]
fn a_subject_that_starts_in_some_visits_only_is_an_error() {
    let mut events = good();
    events[3] = PerfEvent::Skipped { visit: 2, probe: "it was started, and died".into() };
    let errors = report(events).errors;
    assert_eq!(errors, ["ublk/copy was skipped in some visits only: it was started, and died"]);
}

#[test]
fn markdown_of_a_comparison_has_ratios_and_no_number_by_itself() {
    let mut report = report(good());
    for subject in &mut report.subjects {
        subject.target = Some("null".into());
        subject.cells[0].samples_iops = vec![1000.0, 1100.0, 1200.0];
    }
    report.subjects[1].note = Some("of the kernel".into());
    report.comparisons = comparisons(&report.subjects, 1);
    let text = markdown(&report);
    assert!(text.contains("| ublk | copy | 1 |"), "{text}");
    assert!(text.contains("| kublk | copy | 1.000 [1.000, 1.000] |"), "{text}");
    assert!(text.contains("- kublk: of the kernel"), "{text}");
    assert!(!text.contains("IOPS") && !text.contains("ms from"), "{text}");
}
