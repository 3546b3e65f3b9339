//! `runner --here`: the suite on the machine it is started on, for who has a real kernel and no virtual one.
//!
//! The same plan, agent, record and verdicts as in a guest; what is different is that the machine is somebody's. Nothing
//! begins unless it is allowed by name and no ublk device is there; processes are this run's if they descend from it, devices
//! if the driver says that its group added them; scenarios that could cost the kernel are skipped, and say so.

mod boot;
mod guard;
mod inside;
mod interrupts;
mod options;
mod plan;
mod refusal;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reports::plan::Plan;
use reports::report::{Accelerator, KernelHeader, QemuFacts, RunHeader};
use reports::{KernelInput, Recorder, Report, RunInput, environment, fold, render};
use scenarios::kernel::KernelRelease;

use crate::health::KernelLog;
use crate::init;
use boot::{Boot, say};
use interrupts::Interrupts;
use options::{Options, Wish};
use refusal::Refusal;

pub(crate) use inside::main as agent;

/// The word with which this program starts its own agent.
pub(crate) const AGENT: &str = "here-agent";

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    match run(arguments) {
        Ok(code) => code.into(),
        Err(refusal) => {
            eprintln!("runner: {refusal}");
            refusal.code().into()
        }
    }
}

fn run(arguments: &[String]) -> Result<reports::ExitCode, Refusal> {
    let options = match options::parse(arguments)? {
        Wish::Help => {
            print!("{}", options::HELP);
            return Ok(reports::ExitCode::Passed);
        }
        Wish::Run(options) => options,
    };
    let release = init::kernel_release();
    let kernel = KernelRelease::parse(&release)
        .ok_or_else(|| Refusal::Machine(format!("kernel release `{release}` cannot be read")))?;
    let chosen = plan::choose(&options.filters, kernel)?;
    let left_out = plan::count_left_out(&chosen);
    if options.list {
        plan::list(&chosen);
        return Ok(reports::ExitCode::Passed);
    }
    if !options.allowed {
        return Err(Refusal::NotAllowed { run: chosen.len() - left_out, left_out });
    }
    let server = guard::check()?;
    let interrupts = Interrupts::watch()
        .map_err(|error| Refusal::Machine(format!("cannot be stopped in order: {error}")))?;
    let plan = plan::plan(&chosen, &options, kernel);
    let (report, folder) = record(&options, &plan, &release, &server, &interrupts)?;
    show(&report, &folder, options.json)?;
    Ok(report.exit_code())
}

/// Runs the plan and leaves its reports.
fn record(
    options: &Options,
    plan: &Plan,
    release: &str,
    server: &Path,
    interrupts: &Interrupts,
) -> Result<(Report, PathBuf), Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal::Machine(error.to_string());
    let (header, kernel) = headers(plan, release);
    let folder =
        options.output.clone().unwrap_or_else(|| Path::new("artifacts").join(&header.run_id));
    std::fs::create_dir_all(&folder)
        .map_err(|error| Refusal::Machine(format!("cannot make {}: {error}", folder.display())))?;
    let recorder = Recorder::create(&folder).map_err(|error| failed(&error))?;
    say(&format!(
        "{} scenarios on {release}, seed {:#x}; {}",
        plan.scenarios.len(),
        plan.seed,
        header.accelerator.reason
    ));
    let ran = Boot { plan, server, recorder: &recorder, interrupts }.run();
    let left = ran.map_err(|error| failed(&format!("the agent cannot be started: {error}")))?;
    let records = recorder.finish();
    let planned = plan.scenarios.clone();
    let report = fold(&RunInput {
        run: &header,
        kernels: &[KernelInput { header: kernel, planned, ..KernelInput::default() }],
        records: &records,
        host_errors: &left,
        interrupted: interrupts.count() > 0,
    });
    reports::write_all(&folder, &report, &records).map_err(|error| failed(&error))?;
    Ok((report, folder))
}

fn headers(plan: &Plan, release: &str) -> (RunHeader, KernelHeader) {
    let started_at_unix_ms = environment::unix_ms();
    let log = match KernelLog::open_at_end() {
        Ok(_) => "its kernel log is watched".to_owned(),
        Err(error) => format!("what its kernel logs is not seen: {error}"),
    };
    let none = "none".to_owned();
    let header = RunHeader {
        run_id: format!("run-{started_at_unix_ms}"),
        seed: plan.seed,
        commit: None,
        dirty: false,
        started_at_unix_ms,
        command_line: std::env::args().collect(),
        partition: None,
        server: None,
        accelerator: Accelerator {
            name: none.clone(),
            reason: format!("on this machine itself, {log}"),
        },
        qemu: QemuFacts { version: none, ..QemuFacts::default() },
        host: environment::host(),
    };
    let release = release.to_owned();
    let kernel =
        KernelHeader { spec: release.clone(), release: Some(release), ..KernelHeader::default() };
    (header, kernel)
}

fn show(report: &Report, folder: &Path, json: bool) -> Result<(), Refusal> {
    if json {
        let text = serde_json::to_string_pretty(report)
            .map_err(|error| Refusal::Machine(error.to_string()))?;
        println!("{text}");
        return Ok(());
    }
    let palette = match std::io::stdout().is_terminal() {
        true => render::Palette::ansi(),
        false => render::Palette::plain(),
    };
    println!("{}", render::terminal(report, palette));
    println!("reports: {}", folder.display());
    Ok(())
}
