//! `ci`: everything that continuous integration runs, each step named, all failures named at the end.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use reports::gate::GateStatus;
use reports::plan::DebugOptions;
use reports::render::{self, Palette};
use reports::report::{ExitCode, Status};
use scenarios::{Scenario, catalogue};
use vmimage::arch::Arch;

use crate::cli::{Accel, CiArgs, GateArgs, MachineArgs, ReportShotsArgs};
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::run::{Done, Request, run_in};
use crate::servers::Typed;
use crate::task_vm_e2e::{show, shows_crash};
use crate::{job_summary, task_ci_soundness, task_gate, workspace};

/// The kernels that every change is proven on: the oldest supported series and the newest there is.
const KERNELS: [&str; 2] = ["6.12", "newest"];
/// A released kernel whose driver oopses on the first ADD_DEV: the run of it has to be red.
const OOPSING: &str = "6.18.5";
/// The same series with the fix: the run of it has to be green.
const REPAIRED: &str = "6.18.9";
/// Any will do; one and the same makes two runs of CI the same run.
const GATE_SEED: u64 = 1;

pub(crate) fn run(args: &CiArgs) -> Result<ExitCode, Error> {
    let mut failed = Vec::new();
    step("format", &mut failed, || cargo(&["fmt", "--all", "--check"]));
    step("lints", &mut failed, || {
        cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    if !args.tests_done {
        step("tests", &mut failed, || cargo(&["test", "--workspace"]));
    }
    step("loom", &mut failed, task_ci_soundness::loom);
    match task_ci_soundness::miri_is_missing() {
        None => step("miri", &mut failed, task_ci_soundness::miri),
        Some(reason) => println!("ci: miri: SKIPPED: {reason}"),
    }
    step("tidy", &mut failed, || crate::task_tidy::run().map(drop));
    step("report-shots", &mut failed, || {
        crate::task_report_shots::run(&ReportShotsArgs::default()).map(drop)
    });
    if !args.no_vm {
        step("vm-e2e", &mut failed, || end_to_end(args));
        step("server family", &mut failed, || server_family(args));
        step("gate", &mut failed, || gate(args));
        step("natural canary", &mut failed, || natural_canary(args));
    }
    if failed.is_empty() {
        println!("ci: ok");
        return Ok(ExitCode::Passed);
    }
    Err(Error::failed(format!("ci: failed: {}", failed.join(", "))))
}

fn step(
    name: &'static str,
    failed: &mut Vec<&'static str>,
    work: impl FnOnce() -> Result<(), Error>,
) {
    println!("ci: {name}");
    let begin = Instant::now();
    let result = work();
    let seconds = begin.elapsed().as_secs();
    match result {
        Ok(()) => println!("ci: {name}: ok after {seconds} s"),
        Err(error) => {
            println!("ci: {name}: FAILED after {seconds} s: {error}");
            failed.push(name);
        }
    }
}

fn cargo(arguments: &[&str]) -> Result<(), Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace::root())
        .args(arguments)
        .status()
        .map_err(|error| Error::infrastructure(format!("cannot start cargo: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("cargo {} ended with {status}", arguments.join(" "))))
}

fn machine() -> MachineArgs {
    MachineArgs { cpus: 4, memory_mib: 1024, accel: Accel::Auto, arch: Arch::X86_64 }
}

fn run_on(
    args: &CiArgs,
    kernels: &[&str],
    scenarios: Vec<&'static Scenario>,
    server: Option<&str>,
) -> Result<Done, Error> {
    let progress = Arc::new(Terminal::new());
    let mut workshop = Workshop::open(&args.sources, Arch::X86_64, &progress)?;
    let adapter = server.map(Typed::read).transpose()?;
    let server = adapter.map(|typed| typed.provide(&mut workshop, &progress)).transpose()?;
    let request = Request {
        kernels: kernels.iter().map(|kernel| (*kernel).to_owned()).collect(),
        scenarios,
        selftests: &[],
        seed: None,
        partition: None,
        debug: DebugOptions::default(),
        model_input: None,
        server: server.as_ref(),
        output: None,
        jobs: None,
        until_red: false,
        machine: &machine(),
        sources: &args.sources,
    };
    run_in(&mut workshop, &request, &progress)
}

fn end_to_end(args: &CiArgs) -> Result<(), Error> {
    judge(&run_on(args, &KERNELS, catalogue::all().collect(), None)?)
}

/// What other people's servers are asked, asked of ours: an adapter, and the way of a server into the guest, are in no other run.
fn server_family(args: &CiArgs) -> Result<(), Error> {
    judge(&run_on(args, &["newest"], catalogue::of_a_server().collect(), Some("ublk"))?)
}

fn judge(done: &Done) -> Result<(), Error> {
    show(done, false)?;
    job_summary::append(&render::markdown(&done.report))?;
    match done.report.status() {
        Status::Passed => Ok(()),
        _ => Err(Error::failed(&done.report.status_reason)),
    }
}

/// Under the instruction clock, against the committed baseline. A regression is red. What cannot be told is
/// said and is not: a machine with another kernel or compiler than the baseline's has done nothing wrong.
fn gate(args: &CiArgs) -> Result<(), Error> {
    let decided = task_gate::decide(&GateArgs::of_ci(&args.sources), GATE_SEED);
    let decision = match decided {
        Ok(decision) => decision,
        Err(error) if error.code == ExitCode::Inconclusive => {
            println!("ci: gate: INCONCLUSIVE: {error}");
            return job_summary::append(&format!("gate: inconclusive: {error}\n"));
        }
        Err(error) => return Err(error),
    };
    anstream::print!("{}", reports::gate::terminal(&decision, Palette::ansi()));
    job_summary::append(&reports::gate::markdown(&decision))?;
    match decision.status {
        GateStatus::Passed => Ok(()),
        GateStatus::Inconclusive | GateStatus::NoisyHost => {
            println!("ci: gate: INCONCLUSIVE: {}", decision.reason);
            Ok(())
        }
        GateStatus::Regressed => Err(Error::failed(decision.reason)),
    }
}

/// The harness must see a kernel that is really broken, and must not accuse the one that is repaired.
fn natural_canary(args: &CiArgs) -> Result<(), Error> {
    const SMOKE: [&str; 2] = ["lifecycle/fresh-state", "lifecycle/stop-idle-by-sigterm"];
    for (kernel, broken) in [(OOPSING, true), (REPAIRED, false)] {
        let smoke = SMOKE.iter().filter_map(|id| catalogue::find(id)).collect();
        let done = match run_on(args, &[kernel], smoke, None) {
            Ok(done) => done,
            Err(error) if error.code == ExitCode::Infrastructure => {
                println!("ci: natural canary: {kernel} cannot be had any more: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        show(&done, false)?;
        let status = done.report.status();
        match (broken, status) {
            (true, Status::Failed) if shows_crash(&done.report) => {
                println!(
                    "ci: natural canary: {kernel} is red with the oops as evidence, as it must"
                );
            }
            (false, Status::Passed) => println!("ci: natural canary: {kernel} is green"),
            _ => {
                let reason = &done.report.status_reason;
                return Err(Error::failed(format!("{kernel} ended {}: {reason}", status.as_str())));
            }
        }
    }
    Ok(())
}
