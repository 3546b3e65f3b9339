//! `gate`: measures this tree, or takes reports, and ends with the number that says what follows.

use rand::Rng;
use reports::gate::{
    Acceptance, Baseline, Decision, Gate, Next, Options, Reference, markdown, terminal,
};
use reports::perf::{PerfReport, load_perf};
use reports::render::Palette;
use reports::report::ExitCode;

use crate::cli::{GateArgs, PerfClock};
use crate::error::Error;
use crate::gate::baselines;
use crate::gate::course::Course;
use crate::{environment, workspace};

/// Machines whose numbers make a baseline: what differs between boots is in it then.
const ACCEPTED_MACHINES: u32 = 2;

pub(crate) fn run(args: &GateArgs) -> Result<ExitCode, Error> {
    let seed = args.measure.seed.unwrap_or_else(|| rand::rng().random());
    if args.accept {
        return accept(args, seed);
    }
    let decision = decide(args, seed)?;
    show(args, &decision)?;
    Ok(decision.status.exit_code())
}

/// The decision, of reports or of machines.
pub(crate) fn decide(args: &GateArgs, seed: u64) -> Result<Decision, Error> {
    let path = baselines::path(args);
    let beside = args.base.is_some() || args.base_program.is_some();
    let baseline = if beside || (args.measure.clock == PerfClock::Wall && args.baseline.is_none()) {
        baselines::load_if_there(&path)?
    } else {
        Some(baselines::load(&path)?)
    };
    if let Some(baseline) = &baseline {
        baselines::is_of_clock(baseline, args.measure.clock)?;
    }
    let reference = match &baseline {
        Some(baseline) if !beside && args.measure.clock == PerfClock::Instructions => {
            Reference::Stored(Box::new(baseline.clone()))
        }
        // Noise by the wall clock is of one place.
        baseline => Reference::Beside(baseline.clone().map(Box::new)),
    };
    if !args.reports.is_empty() {
        return of_files(args, reference, seed);
    }
    if args.measure.clock == PerfClock::Wall && !beside {
        let message = "the wall clock has no stored numbers: give --base REVISION";
        return Err(Error::usage(message));
    }
    let mut course = Course::prepare(args, baseline.as_ref(), seed)?;
    let mut gate = Gate::new(reference, Options { seed, confirm: true });
    let mut factor = 1;
    let decision = loop {
        let report = course.measure(factor)?;
        match gate.take(report).map_err(|refusal| Error::refused(&refusal))? {
            Next::Done(decision) => break decision,
            Next::Measure { factor: wanted, why } => {
                course.say(&format!("gate: {why}"));
                factor = wanted;
            }
        }
    };
    let folder = course.folder();
    let json = serde_json::to_string_pretty(&decision).map_err(Error::infrastructure)?;
    workspace::write(&folder.join("gate.json"), &json)?;
    workspace::write(&folder.join("gate.md"), markdown(&decision))?;
    course.say(&format!("reports: {}", folder.display()));
    Ok(decision)
}

/// Judges files. Under the instruction clock one is enough to be red; by the wall clock a second has to agree.
fn of_files(args: &GateArgs, reference: Reference, seed: u64) -> Result<Decision, Error> {
    let refused = |refusal| Error::refused(&refusal);
    let confirm = args.measure.clock == PerfClock::Wall || args.reports.len() > 1;
    let mut gate = Gate::new(reference, Options { seed, confirm });
    let mut missing = String::new();
    for report in load(args)? {
        match gate.take(report).map_err(refused)? {
            Next::Done(decision) => return Ok(decision),
            Next::Measure { why, .. } => missing = why,
        }
    }
    gate.conclude(&missing).map_err(refused)
}

fn load(args: &GateArgs) -> Result<Vec<PerfReport>, Error> {
    let load = |path: &std::path::PathBuf| load_perf(path).map_err(Error::usage);
    args.reports.iter().map(load).collect()
}

/// Makes the new baseline, whatever the old one was: another kernel is a reason to accept.
fn accept(args: &GateArgs, seed: u64) -> Result<ExitCode, Error> {
    let path = baselines::path(args);
    let before = baselines::load_if_there(&path)?;
    let refused = |refusal| Error::refused(&refusal);
    let reports = if args.reports.is_empty() {
        // What is measured may change by an acceptance alone, so it is the usual and not the old one's.
        let mut course = Course::prepare(args, None, seed)?;
        let machines = if args.measure.clock == PerfClock::Wall { 1 } else { ACCEPTED_MACHINES };
        (0..machines).map(|_| course.measure(1)).collect::<Result<Vec<_>, _>>()?
    } else {
        load(args)?
    };
    let mut deltas = std::collections::BTreeMap::new();
    if args.measure.clock == PerfClock::Wall {
        let mut gate = Gate::new(Reference::Beside(None), Options { seed, confirm: true });
        for report in &reports {
            gate.take(report.clone()).map_err(refused)?;
        }
        deltas = gate.control_deltas().map_err(refused)?;
    }
    let (commit, dirty) = workspace::commit();
    let acceptance = Acceptance {
        at_unix_ms: environment::unix_ms(),
        commit: Some(commit).filter(|commit| commit != "unknown"),
        dirty,
        reason: args.reason.clone().unwrap_or_default(),
    };
    let made = Baseline::accept(before.as_ref(), &reports, acceptance, &deltas).map_err(refused)?;
    let json = serde_json::to_string_pretty(&made).map_err(Error::infrastructure)?;
    workspace::write(&path, format!("{json}\n"))?;
    let metrics = made.metrics.len();
    anstream::println!("gate: accepted: {metrics} metrics in {}", path.display());
    Ok(ExitCode::Passed)
}

fn show(args: &GateArgs, decision: &Decision) -> Result<(), Error> {
    if args.measure.json {
        let text = serde_json::to_string_pretty(decision).map_err(Error::infrastructure)?;
        anstream::println!("{text}");
    } else {
        anstream::print!("{}", terminal(decision, Palette::ansi()));
    }
    Ok(())
}
