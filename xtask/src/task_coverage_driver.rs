//! `coverage driver`: the suite on a kernel that counts, and how much of the driver it has run.

use std::sync::Arc;

use reports::driver::{DriverCoverage, Proof};
use reports::plan::DebugOptions;
use reports::report::ExitCode;

use crate::cli::DriverCoverageArgs;
use crate::driver;
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::run::{Request, run_in};
use crate::task_vm_e2e::{choose, show};

pub(crate) fn run(args: &DriverCoverageArgs) -> Result<ExitCode, Error> {
    let scenarios = choose(&args.filters, None)?;
    let progress = Arc::new(Terminal::new());
    let mut workshop = Workshop::open(&args.run.sources, args.run.machine.arch, &progress)?;
    let kernel = workshop.fetch(&args.kernel)?;
    let Some(notes) = kernel.driver_notes else {
        let message = format!("kernel {} counts nothing: use 7.3+gcov", args.kernel);
        return Err(Error::usage(message));
    };
    let request = Request {
        kernels: vec![args.kernel.clone()],
        scenarios,
        selftests: &[],
        seed: args.run.seed,
        partition: None,
        model_input: None,
        server: None,
        debug: DebugOptions { driver_counters: true, ..DebugOptions::default() },
        output: args.run.output.as_deref(),
        jobs: args.run.jobs,
        until_red: false,
        machine: &args.run.machine,
        sources: &args.run.sources,
    };
    let done = run_in(&mut workshop, &request, &progress)?;
    if !args.run.json {
        show(&done, false)?;
    }
    let coverage = driver::coverage(&done, &notes)?;
    driver::write(&done.folder, &coverage, &notes)?;
    if args.run.json {
        let text = serde_json::to_string_pretty(&coverage).map_err(Error::infrastructure)?;
        anstream::println!("{text}");
    } else {
        anstream::println!("\n{}", reports::driver::terminal(&coverage));
        anstream::println!(
            "  coverage.html the source with what was run, in {}",
            done.folder.display()
        );
    }
    verdict(args, &coverage, done.report.exit_code())
}

/// A red run is red whatever it covered; else too little is a failure.
fn verdict(
    args: &DriverCoverageArgs,
    coverage: &DriverCoverage,
    of_run: ExitCode,
) -> Result<ExitCode, Error> {
    let wanted = [
        ("lines", coverage.lines.percent(), args.min_lines),
        ("branches", coverage.branches.percent(), args.min_branches),
    ];
    let mut short: Vec<String> = wanted
        .iter()
        .filter(|(_, share, least)| share < least)
        .map(|(what, share, least)| format!("{share:.1} % of {what} where {least} are wanted"))
        .collect();
    let refuted = coverage.claims.iter().flatten().filter(|claim| claim.proof == Proof::Refuted);
    short.extend(refuted.map(|claim| format!("no scenario was at the line of {}", claim.row)));
    match (of_run, short.is_empty()) {
        (ExitCode::Passed, true) => Ok(ExitCode::Passed),
        (ExitCode::Passed, false) => Err(Error::failed(short.join(", "))),
        (red, _) => Ok(red),
    }
}
