//! Reports and baselines for the gate's tests, small enough to be read as a whole.

use std::collections::BTreeMap;

use reports::gate::{Acceptance, Baseline};
use reports::perf::{
    Cell, CellResult, CountResult, Operation, PERF_SCHEMA_VERSION, PerfReport, Role, SubjectResult,
};
use reports::report::{KernelHeader, LockEntry, QemuFacts, RunHeader};

const QD1: Cell = Cell::new(Operation::Read, 1);
const QD32: Cell = Cell::new(Operation::Read, 32);
const IOS: u64 = 10_000;

fn cell(cell: Cell, samples: &[f64]) -> CellResult {
    let median_iops = samples[samples.len() / 2];
    CellResult {
        cell,
        samples_iops: samples.to_vec(),
        median_iops,
        interval_iops: None,
        latency: Vec::new(),
        cost_ns_per_io: 1e9 / median_iops,
        ratio: None,
    }
}

fn subject(name: &str, cells: Vec<CellResult>) -> SubjectResult {
    let count = CountResult {
        cell: QD32,
        ios: IOS,
        enters_per_io: 0.088,
        syscalls_per_io: 0.113,
        switches_per_io: 0.037,
        futexes: 0,
        allocations: Some(0),
        server_ns_per_io: Some(3000.0),
        client_ns_per_io: None,
    };
    SubjectResult {
        name: name.into(),
        mode: "copy".into(),
        role: Role::Ours,
        skipped: None,
        target: None,
        version: None,
        note: None,
        device: None,
        cells,
        counts: vec![count],
        idle_switches_per_s: None,
    }
}

fn report(clock: &str, subjects: Vec<SubjectResult>) -> PerfReport {
    let fio = LockEntry { name: "fio".into(), version: "3.39-1".into(), ..LockEntry::default() };
    PerfReport {
        schema_version: PERF_SCHEMA_VERSION.into(),
        run: RunHeader {
            qemu: QemuFacts { version: "10.0.2".into(), ..QemuFacts::default() },
            ..RunHeader::default()
        },
        kernel: KernelHeader {
            release: Some("7.3.4".into()),
            config_sha256: Some("c0ffee".into()),
            packages: vec![fio],
            ..KernelHeader::default()
        },
        clock: clock.into(),
        cpus: 1,
        ios_per_sample: 40_000,
        toolchain: Some("rustc 1.95.0".into()),
        host_load: None,
        mirrored_rounds: None,
        subjects,
        start_up: Vec::new(),
        benches: Vec::new(),
        comparisons: Vec::new(),
        errors: Vec::new(),
    }
}

/// A report of the instruction clock, `factor` times as fast as the baseline.
pub(crate) fn instructions(factor: f64) -> PerfReport {
    let cells = vec![cell(QD1, &[46_000.0 * factor; 3]), cell(QD32, &[88_000.0 * factor; 3])];
    report("instructions", vec![subject("ublk", cells)])
}

/// Sets the samples of the cell at depth 32, as multiples of the baseline's.
pub(crate) fn samples(report: &mut PerfReport, name: &str, factors: &[f64]) {
    let subject = report.subjects.iter_mut().find(|subject| subject.name == name).unwrap();
    for cell in &mut subject.cells {
        let base = if cell.cell == QD32 { 88_000.0 } else { 46_000.0 };
        cell.samples_iops = factors.iter().map(|factor| base * factor).collect();
    }
}

/// Changes what was counted.
pub(crate) fn counted(report: &mut PerfReport, change: impl Fn(&mut CountResult)) {
    report.subjects.iter_mut().flat_map(|s| &mut s.counts).for_each(change);
}

/// A report of the wall clock in rounds `base head control control head base`. The host's speed depends on
/// the round and on the place in it, from 0 to 1.
pub(crate) fn wall(
    rounds: u32,
    host: impl Fn(u32, f64) -> f64,
    head: f64,
    control: f64,
) -> PerfReport {
    let taken = |there: f64, factor: f64| -> Vec<f64> {
        let place = |round, place| 88_000.0 * factor * host(round, place);
        (0..rounds).flat_map(|round| [place(round, there), place(round, 1.0 - there)]).collect()
    };
    let of = |name, there, factor| subject(name, vec![cell(QD32, &taken(there, factor))]);
    let subjects = vec![of("base", 0.0, 1.0), of("ublk", 0.2, head), of("control", 0.4, control)];
    PerfReport { mirrored_rounds: Some(rounds), ..report("wall", subjects) }
}

/// Who accepts.
pub(crate) fn acceptance(reason: &str) -> Acceptance {
    Acceptance { at_unix_ms: 1, commit: None, dirty: false, reason: reason.into() }
}

/// The baseline of [`instructions`] at 1.
pub(crate) fn baseline() -> Baseline {
    let reports = [instructions(1.0)];
    Baseline::accept(None, &reports, acceptance("the first"), &BTreeMap::new()).unwrap()
}
