//! Parts of one run, merged: the whole again if all are there, red if one is missing, and refused if they are not of one run.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use reports::plan::PlannedScenario;
use reports::report::{Cause, ExitCode, Report, Status, Verdict};
use reports::{KernelInput, MergeError, Partition, RunInput, fold, merge};

use support::run_header;

const KERNELS: [&str; 2] = ["6.12", "7.3"];
const SCENARIOS: usize = 12;

/// What both kernels are to do.
fn whole() -> Vec<PlannedScenario> {
    let planned = |n: usize| PlannedScenario {
        id: format!("a/scenario-{n}"),
        budget_ms: 1000,
        expect: reports::plan::Expectation::Pass,
    };
    (0..SCENARIOS).map(planned).collect()
}

/// A part of a run in which everything passed.
fn part(index: u32, count: u32) -> Report {
    let partition = Partition::new(index, count).unwrap();
    let mut run = run_header();
    run.run_id = format!("run-{index}");
    run.partition = Some(partition);
    let mut kernels = Vec::new();
    let mut records = Vec::new();
    for (number, spec) in (0..).zip(KERNELS) {
        let planned: Vec<_> =
            whole().into_iter().filter(|one| partition.has(spec, &one.id)).collect();
        records.extend(support::clean_boot(number, &planned));
        let header = reports::report::KernelHeader { spec: spec.into(), ..Default::default() };
        kernels.push(KernelInput { header, planned, whole: whole(), setup_error: None });
    }
    fold(&RunInput {
        run: &run,
        kernels: &kernels,
        records: &records,
        host_errors: &[],
        interrupted: false,
    })
}

#[test]
fn all_parts_are_the_whole() {
    let parts: Vec<_> = (1..=3).map(|index| part(index, 3)).collect();
    for one in &parts {
        assert_eq!(one.status, Status::Passed, "{}", one.status_reason);
    }
    let merged = merge(&parts).unwrap();
    assert_eq!(merged.status, Status::Passed, "{}", merged.status_reason);
    assert_eq!(merged.counts.passed, (SCENARIOS * KERNELS.len()) as u64);
    for kernel in &merged.kernels {
        let ids: Vec<_> = kernel.scenarios.iter().map(|scenario| scenario.id.clone()).collect();
        assert_eq!(ids, whole().into_iter().map(|one| one.id).collect::<Vec<_>>());
        let boots: Vec<_> = kernel.boots.iter().map(|boot| boot.boot).collect();
        assert_eq!(boots, (0..boots.len() as u32).collect::<Vec<_>>());
    }
    assert_eq!(merged.parts.len(), 3);
    assert_eq!(merged.run.partition, None);
    // In whatever order they come.
    let turned: Vec<_> = parts.iter().rev().cloned().collect();
    assert_eq!(merge(&turned).unwrap().counts, merged.counts);
}

#[test]
fn a_missing_part_is_named_and_all_of_it_is_red() {
    let (first, third) = (part(1, 3), part(3, 3));
    let merged = merge(&[first.clone(), third.clone()]).unwrap();
    assert_eq!(merged.status, Status::Failed);
    assert!(merged.status_reason.contains("part 2 of 3 is missing"), "{}", merged.status_reason);
    assert_eq!(merged.exit_code(), ExitCode::Infrastructure);
    let lost = (SCENARIOS * KERNELS.len()) as u64 - first.counts.passed - third.counts.passed;
    assert_eq!((merged.counts.errors, merged.counts.planned), (lost, 24));
    let red = merged.scenarios().find(|(_, one)| one.verdict == Verdict::Error).unwrap().1;
    assert_eq!(red.cause, Some(Cause::NotReported));
}

#[test]
fn what_is_not_of_one_run_is_refused_in_one_line() {
    let (first, second) = (part(1, 2), part(2, 2));
    let merged = |spoil: &dyn Fn(&mut Report)| {
        let mut other = second.clone();
        spoil(&mut other);
        merge(&[first.clone(), other]).unwrap_err().to_string()
    };
    let says = [
        (merged(&|other| other.run.seed = 7), "seed 0x5eed and 0x7"),
        (merged(&|other| other.run.commit = Some("fedcba".into())), "commit"),
        (merged(&|other| other.run.dirty = false), "with local changes"),
        (merged(&|other| other.run.partition = None), "--partition"),
        (merged(&|other| other.run.partition = first.run.partition), "both part hash:1/2"),
        (merged(&|other| drop(other.kernels.pop())), "kernels"),
        (merged(&|other| drop(other.kernels[1].whole_plan.pop())), "plans for kernel 7.3"),
        (
            merged(&|other| other.run.partition = Some(Partition::new(2, 3).unwrap())),
            "number of parts 2 and 3",
        ),
    ];
    for (told, expected) in says {
        assert!(told.contains(expected) && !told.contains('\n'), "{told}");
    }
    assert_eq!(merge(&[]).unwrap_err(), MergeError::Nothing);
}
