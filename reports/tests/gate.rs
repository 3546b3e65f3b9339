//! The gate's decisions: what is red, what is not, and what does not become a number at all.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod gate_support;

use std::collections::BTreeMap;

use gate_support::{acceptance, baseline, counted, instructions, samples, wall};
use proptest::prelude::*;
use reports::gate::{
    Baseline, Decision, Gate, GateStatus, Next, Options, Reference, Refusal, Verdict, markdown,
};
use reports::perf::PerfReport;
use reports::report::ExitCode;
use rstest::rstest;

const OPTIONS: Options = Options { seed: 7, confirm: true };
const AT_ONCE: Options = Options { seed: 7, confirm: false };

fn stored() -> Reference {
    Reference::Stored(Box::new(baseline()))
}

fn take_all(reference: Reference, options: Options, reports: Vec<PerfReport>) -> Next {
    let mut gate = Gate::new(reference, options);
    let mut last = None;
    for report in reports {
        last = Some(gate.take(report).unwrap());
    }
    last.unwrap()
}

fn done(next: Next) -> Decision {
    match next {
        Next::Done(decision) => decision,
        Next::Measure { why, .. } => panic!("not decided: {why}"),
    }
}

fn asks_for(next: &Next) -> u32 {
    match next {
        Next::Measure { factor, .. } => *factor,
        Next::Done(decision) => panic!("decided: {}", decision.reason),
    }
}

fn refusal(reference: Reference, report: PerfReport) -> Refusal {
    Gate::new(reference, OPTIONS).take(report).unwrap_err()
}

#[test]
fn the_same_numbers_pass() {
    let decision = done(take_all(stored(), OPTIONS, vec![instructions(1.0)]));
    assert_eq!((decision.status, decision.runs), (GateStatus::Passed, 1));
    assert!(decision.findings.iter().all(|f| f.verdict == Verdict::BetterOrEqual));
    assert!(markdown(&decision).contains("| copy read-qd32 IOPS | 88000 | 88000 | +0.00 %"));
}

#[rstest]
#[case::slightly_slower(0.995, GateStatus::Passed)]
#[case::much_faster(1.3, GateStatus::Passed)]
#[case::slower(0.98, GateStatus::Regressed)]
fn one_percent_is_the_line(#[case] factor: f64, #[case] status: GateStatus) {
    let decision = done(take_all(stored(), AT_ONCE, vec![instructions(factor)]));
    assert_eq!(decision.status, status);
}

#[test]
fn a_red_one_is_red_after_a_fresh_machine_agrees() {
    let mut gate = Gate::new(stored(), OPTIONS);
    assert_eq!(asks_for(&gate.take(instructions(0.98)).unwrap()), 1);
    let decision = done(gate.take(instructions(0.981)).unwrap());
    assert_eq!((decision.status, decision.runs), (GateStatus::Regressed, 2));
    assert!(decision.reason.contains("copy read-qd1 IOPS and 1 more got worse"));
    assert_eq!(decision.status.exit_code(), ExitCode::Failed);
}

#[test]
fn a_red_one_that_is_not_confirmed_is_not_red() {
    let first = instructions(0.988);
    let decision = done(take_all(stored(), OPTIONS, vec![first.clone(), instructions(1.001)]));
    assert_eq!(
        decision.status,
        GateStatus::Inconclusive,
        "half of all say so: {}",
        decision.reason
    );
    let mut many = instructions(1.0);
    samples(&mut many, "ublk", &[1.001; 15]);
    let decision = done(take_all(stored(), OPTIONS, vec![first, many]));
    assert_eq!(decision.status, GateStatus::Passed, "{}", decision.reason);
    assert!(decision.reason.contains("a fresh machine did not confirm it"));
    // A confirmation that is itself in doubt is asked for more.
    let mut unsure = instructions(1.0);
    samples(&mut unsure, "ublk", &[0.97, 0.998, 1.0]);
    let next = take_all(stored(), OPTIONS, vec![instructions(0.97), unsure]);
    assert_eq!(asks_for(&next), 2);
}

#[test]
fn doubt_is_answered_with_more_samples_and_then_named() {
    let mut unsure = instructions(1.0);
    samples(&mut unsure, "ublk", &[0.985, 1.0, 1.01]);
    let mut gate = Gate::new(stored(), OPTIONS);
    assert_eq!(asks_for(&gate.take(unsure.clone()).unwrap()), 2);
    let mut settled = instructions(1.0);
    samples(&mut settled, "ublk", &[1.0; 6]);
    assert_eq!(done(gate.take(settled).unwrap()).status, GateStatus::Passed);

    let mut gate = Gate::new(stored(), OPTIONS);
    assert_eq!(asks_for(&gate.take(unsure.clone()).unwrap()), 2);
    let mut still = instructions(1.0);
    samples(&mut still, "ublk", &[0.985, 0.985, 1.0, 1.0, 0.985, 1.0]);
    assert_eq!(asks_for(&gate.take(still.clone()).unwrap()), 4);
    let decision = done(gate.take(still).unwrap());
    assert_eq!(decision.status, GateStatus::Inconclusive);
    assert!(decision.reason.contains("conclusive would be"), "{}", decision.reason);
    assert_eq!(decision.status.exit_code(), ExitCode::Inconclusive);

    let mut gate = Gate::new(stored(), OPTIONS);
    gate.take(unsure).unwrap();
    let decision = gate.conclude("it is unclear").unwrap();
    assert_eq!(decision.status, GateStatus::Inconclusive);
}

#[rstest]
#[case::enter(|c: &mut reports::perf::CountResult| c.enters_per_io += 1.0, "io_uring_enter")]
#[case::syscall(|c: &mut reports::perf::CountResult| c.syscalls_per_io += 0.2, "system calls")]
#[case::switch(|c: &mut reports::perf::CountResult| c.switches_per_io += 0.1, "context switches")]
#[case::allocation(|c: &mut reports::perf::CountResult| c.allocations = Some(10_000), "allocations")]
#[case::server(|c: &mut reports::perf::CountResult| c.server_ns_per_io = Some(3200.0), "server ns")]
fn counts_are_gated_beside_iops(
    #[case] worsen: fn(&mut reports::perf::CountResult),
    #[case] named: &str,
) {
    let mut report = instructions(1.0);
    counted(&mut report, worsen);
    let decision = done(take_all(stored(), AT_ONCE, vec![report]));
    assert_eq!(decision.status, GateStatus::Regressed);
    assert!(decision.reason.contains(named), "{}", decision.reason);
}

#[rstest]
#[case::kernel(|r: &mut PerfReport| r.kernel.release = Some("7.3.5".into()), "kernel 7.3.4", ExitCode::Inconclusive)]
#[case::config(|r: &mut PerfReport| r.kernel.config_sha256 = None, "kernel config", ExitCode::Inconclusive)]
#[case::qemu(|r: &mut PerfReport| r.run.qemu.version = "11.0.0".into(), "QEMU 10.0.2 (baseline) and 11.0.0", ExitCode::Inconclusive)]
#[case::compiler(|r: &mut PerfReport| r.toolchain = None, "compiler", ExitCode::Inconclusive)]
#[case::fio(|r: &mut PerfReport| r.kernel.packages.clear(), "fio", ExitCode::Inconclusive)]
#[case::ios(|r: &mut PerfReport| r.ios_per_sample = 1, "I/Os a sample", ExitCode::Inconclusive)]
#[case::clock(|r: &mut PerfReport| r.clock = "wall".into(), "clock", ExitCode::Usage)]
#[case::errors(|r: &mut PerfReport| r.errors.push("it hung".into()), "it hung", ExitCode::Infrastructure)]
#[case::cell(|r: &mut PerfReport| drop(r.subjects[0].cells.pop()), "the report lacks copy read-qd32 IOPS", ExitCode::Usage)]
#[case::count(|r: &mut PerfReport| r.subjects[0].counts.clear(), "the report lacks", ExitCode::Usage)]
#[case::zero(|r: &mut PerfReport| r.subjects[0].cells[0].samples_iops[0] = 0.0, "no measurement", ExitCode::Usage)]
#[case::nobody(|r: &mut PerfReport| r.subjects.clear(), "no subject", ExitCode::Usage)]
fn what_cannot_be_compared_is_refused(
    #[case] change: fn(&mut PerfReport),
    #[case] says: &str,
    #[case] code: ExitCode,
) {
    let mut report = instructions(1.0);
    change(&mut report);
    let refusal = refusal(stored(), report);
    let text = refusal.to_string();
    assert!(text.contains(says) && !text.contains('\n'), "{text}");
    assert_eq!(refusal.exit_code(), code, "{text}");
}

#[test]
fn a_cell_that_the_baseline_lacks_is_refused() {
    let mut small = baseline();
    small.metrics.pop();
    let refusal = refusal(Reference::Stored(Box::new(small)), instructions(1.0));
    assert!(refusal.to_string().starts_with("the baseline lacks copy read-qd32"));
}

#[test]
fn a_file_that_is_no_baseline_is_refused() {
    let text = serde_json::to_string_pretty(&baseline()).unwrap();
    assert_eq!(Baseline::parse(&text).unwrap(), baseline());
    let cut = &text[..text.len() / 2];
    let says = |text: &str| Baseline::parse(text).unwrap_err().to_string();
    assert!(says(cut).contains("ends in the middle"), "{}", says(cut));
    let version = |version: &str| text.replacen("\"1.0\"", &format!("\"{version}\""), 1);
    assert!(says(&version("2.0")).contains("schema version 2.0, this program reads 1.0"));
    assert!(says("{}").contains("does not say its schema version"));
    assert!(says("[]").starts_with("not a baseline"));
    assert!(says(&text.replace("88000.0", "-1.0")).contains("no usable sample"));
    let mut empty = baseline();
    empty.metrics.clear();
    assert!(says(&serde_json::to_string(&empty).unwrap()).contains("not one number"));
    // A newer minor version, with a field that this program does not know.
    let newer = version("1.9").replacen('{', "{\"colour\": \"red\",", 1);
    assert_eq!(Baseline::parse(&newer).unwrap().metrics, baseline().metrics);
}

#[test]
fn a_report_of_another_minor_version_is_read_and_of_another_major_refused() {
    let text = serde_json::to_string(&instructions(1.0)).unwrap();
    let parse = reports::perf::parse_perf;
    assert_eq!(parse(&text).unwrap(), instructions(1.0));
    let version = reports::perf::PERF_SCHEMA_VERSION;
    let other = |other: &str| text.replacen(&format!("\"{version}\""), &format!("\"{other}\""), 1);
    let newer = other("1.99").replacen('{', "{\"colour\": \"red\",", 1);
    assert_eq!(parse(&newer).unwrap().subjects, instructions(1.0).subjects);
    // What 1.0 did not have yet has a default.
    let mut older: serde_json::Value = serde_json::from_str(&other("1.0")).unwrap();
    for field in ["toolchain", "host_load", "mirrored_rounds"] {
        older.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(parse(&older.to_string()).unwrap().toolchain, None);
    assert!(parse(&other("2.0")).unwrap_err().to_string().contains("schema version 2.0"));
    assert!(parse(&text[..100]).unwrap_err().to_string().contains("ends in the middle"));
    assert!(parse("{}").unwrap_err().to_string().contains("does not say its schema version"));
}

#[test]
fn accepting_keeps_the_reason_and_refuses_none() {
    let before = baseline();
    let accept = |reason: &str, reports: &[PerfReport]| {
        Baseline::accept(Some(&before), reports, acceptance(reason), &BTreeMap::new())
    };
    let made = accept("two copies less", &[instructions(1.2), instructions(1.21)]).unwrap();
    let reasons: Vec<&str> = made.acceptances.iter().map(|a| a.reason.as_str()).collect();
    assert_eq!(reasons, ["the first", "two copies less"]);
    assert_eq!(made.metrics[0].samples.len(), 6);
    assert!(matches!(accept(" ", &[instructions(1.0)]), Err(Refusal::NoReason)));
    assert!(matches!(accept("x", &[]), Err(Refusal::Empty)));
    let mut elsewhere = instructions(1.0);
    elsewhere.cpus = 4;
    let mixed = accept("x", &[instructions(1.0), elsewhere]);
    assert!(matches!(mixed, Err(Refusal::Elsewhere { .. })));
    let mut broken = instructions(1.0);
    broken.errors.push("it hung".into());
    assert!(matches!(accept("x", &[broken]), Err(Refusal::Broken { .. })));
}

#[test]
fn by_the_wall_clock_pairs_of_one_run_are_compared() {
    let beside = || Reference::Beside(None);
    let quiet = |head| wall(8, |_, _| 1.0, head, 1.0);
    assert_eq!(done(take_all(beside(), OPTIONS, vec![quiet(1.0)])).status, GateStatus::Passed);
    let twice = vec![quiet(0.9), quiet(0.9)];
    assert_eq!(done(take_all(beside(), OPTIONS, twice)).status, GateStatus::Regressed);
    // A host that gets slower all the time is the same for both: there and back, it cancels out.
    let drifting = wall(8, |round, place| 1.0 - 0.02 * (f64::from(round) + place), 1.0, 1.0);
    assert_eq!(done(take_all(beside(), OPTIONS, vec![drifting])).status, GateStatus::Passed);
}

#[test]
fn a_control_that_differs_from_itself_voids_the_run() {
    for control in [0.9, 1.1] {
        let report = wall(8, |_, _| 1.0, 0.9, control);
        let decision = done(take_all(Reference::Beside(None), OPTIONS, vec![report]));
        assert_eq!(decision.status, GateStatus::NoisyHost);
        assert_eq!(decision.status.exit_code(), ExitCode::NoisyHost);
        assert!(decision.reason.contains("void"), "{}", decision.reason);
    }
}

#[test]
fn by_the_wall_clock_stored_numbers_and_plain_orders_are_refused() {
    let report = wall(8, |_, _| 1.0, 1.0, 1.0);
    let one = std::slice::from_ref(&report);
    let own = Baseline::accept(None, one, acceptance("x"), &BTreeMap::new()).unwrap();
    let refused = refusal(Reference::Stored(Box::new(own)), report.clone());
    assert!(matches!(refused, Refusal::NotInterleaved));
    let mut plain = report;
    plain.mirrored_rounds = None;
    assert!(matches!(refusal(Reference::Beside(None), plain), Refusal::NotInterleaved));
    let mut uncontrolled = wall(8, |_, _| 1.0, 1.0, 1.0);
    uncontrolled.subjects.retain(|subject| subject.name != "control");
    assert!(matches!(refusal(Reference::Beside(None), uncontrolled), Refusal::NotInterleaved));
}

#[test]
fn the_first_round_is_for_warming_up() {
    let mut report = wall(2, |_, _| 1.0, 1.0, 1.0);
    let head = report.subjects.iter_mut().find(|subject| subject.name == "ublk").unwrap();
    head.cells[0].samples_iops[..2].iter_mut().for_each(|sample| *sample *= 0.5);
    let decision = done(take_all(Reference::Beside(None), AT_ONCE, vec![report]));
    assert_eq!(decision.status, GateStatus::Passed);
}

#[test]
fn a_metric_earns_its_threshold_by_its_own_noise() {
    let report = |head| wall(8, |_, _| 1.0, head, 1.0);
    let mut made: Option<Baseline> = None;
    for delta in [0.001, -0.002, 0.001, 0.0, 0.002, -0.001, 0.001, 0.002] {
        let mut gate = Gate::new(Reference::Beside(None), OPTIONS);
        gate.take(report(1.0)).unwrap();
        let deltas = gate.control_deltas().unwrap().into_keys().map(|id| (id, delta)).collect();
        let next = Baseline::accept(made.as_ref(), &[report(1.0)], acceptance("a/a"), &deltas);
        made = Some(next.unwrap());
    }
    // 3 % is within the 5 % that hold without a history, and out of what this one allows.
    let slower = || vec![report(0.97), report(0.97)];
    let without = done(take_all(Reference::Beside(None), AT_ONCE, slower()[..1].to_vec()));
    assert_eq!(without.status, GateStatus::Passed);
    // What another host's noise was says nothing here.
    let mut elsewhere = made.clone();
    elsewhere.iter_mut().for_each(|baseline| baseline.environment.host_cpu = Some("other".into()));
    let elsewhere = Reference::Beside(elsewhere.map(Box::new));
    let decision = done(take_all(elsewhere, AT_ONCE, slower()[..1].to_vec()));
    assert_eq!(decision.status, GateStatus::Passed);
    let with = Reference::Beside(made.map(Box::new));
    assert_eq!(done(take_all(with, OPTIONS, slower())).status, GateStatus::Regressed);
}

proptest! {
    // Each case is thousands of resamplings.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The instruction clock repeats to a third of a percent: whatever it does within that, half a percent is
    /// never red and two percent always are.
    #[test]
    fn noise_of_the_instruction_clock_decides_nothing(
        noise in prop::collection::vec(-0.003..0.003_f64, 3),
        shift in -0.005..0.05_f64,
        drop in 0.02..0.5_f64,
    ) {
        let with = |factor: f64| {
            let mut report = instructions(1.0);
            let all: Vec<f64> = noise.iter().map(|n| factor * (1.0 + n)).collect();
            samples(&mut report, "ublk", &all);
            report
        };
        let fine = done(take_all(stored(), AT_ONCE, vec![with(1.0 + shift)]));
        prop_assert_eq!(fine.status, GateStatus::Passed);
        let red = done(take_all(stored(), AT_ONCE, vec![with(1.0 - drop)]));
        prop_assert_eq!(red.status, GateStatus::Regressed);
    }

    /// A metric that is missing is never a pass, whichever it is.
    #[test]
    fn no_decision_without_every_metric(number in 0..7_usize) {
        let mut less = baseline();
        less.metrics.remove(number % less.metrics.len());
        let reference = Reference::Stored(Box::new(less));
        prop_assert!(Gate::new(reference, OPTIONS).take(instructions(1.0)).is_err());
    }

    /// A host that drifts linearly, however fast, and noise below the threshold: no regression.
    #[test]
    fn drift_is_nobodys_regression(slope in -0.03..0.03_f64, seed in any::<u64>()) {
        let report = wall(8, |round, place| (slope * (f64::from(round) + place)).exp(), 1.0, 1.0);
        let options = Options { seed, confirm: false };
        let next = Gate::new(Reference::Beside(None), options).take(report).unwrap();
        prop_assert_eq!(done(next).status, GateStatus::Passed);
    }
}
