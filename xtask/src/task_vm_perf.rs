//! `vm-perf`: our server and its peers under the instruction clock, in one machine, as one table.

use std::sync::Arc;

use rand::Rng;
use reports::perf::{PerfReport, Subject, bencher, github};
use reports::report::ExitCode;
use vmimage::arch::Arch;
use vmimage::fsio;

use crate::cli::PerfArgs;
use crate::error::Error;
use crate::perf::deliver::deliver;
use crate::perf::layout::{Extent, Order, cells};
use crate::perf::measure::Bench;
use crate::perf::subjects::{self, Programs};
use crate::perf::{benches, choice, libublk};
use crate::prepare::{Workshop, cache_dir};
use crate::progress::Terminal;
use crate::section;
use crate::{environment, workspace};

/// The section of a page that holds these tables.
const SECTION: &str = "vm-perf";

pub(crate) fn run(args: &PerfArgs) -> Result<ExitCode, Error> {
    let progress = Arc::new(Terminal::new());
    let run_id = format!("perf-{}", environment::unix_ms());
    let folder = match &args.measure.output {
        Some(path) => path.clone(),
        None => workspace::root().join("artifacts").join(&run_id),
    };
    if let Some(path) = &args.into {
        section::check(path, SECTION)?;
    }
    let mut workshop = Workshop::open(&args.measure.sources, Arch::X86_64, &progress)?;
    let emulator = workshop.emulator(args.measure.clock.accel())?;
    let programs = programs(&mut workshop, args, &progress)?;
    workshop.add_guest_files(programs.guest_files());
    let benches = if args.benches {
        progress.doing("build: the criterion benches");
        Some(benches::build()?)
    } else {
        None
    };
    workshop.add_guest_files(benches.iter().map(|program| benches::guest_file(program)).collect());
    let ready = workshop.kernel(&args.kernel)?;
    let subjects = chosen(subjects::all(&programs, &args.targets, args.queues), args)?;
    let seed = args.measure.seed.unwrap_or_else(|| rand::rng().random());
    let extent = Extent {
        order: Order::Shuffled { repetitions: args.repetitions },
        ios: args.ios,
        count: !args.no_count,
        start_up: !args.no_start_up,
        recovery: args.recovery,
        seed,
    };
    let cells = cells(&args.depths, &args.block_bytes, args.queues);
    let bench = Bench {
        emulator: &emulator,
        ready: &ready,
        clock: args.measure.clock,
        cpus: args.queues,
        memory_mib: args.measure.memory_mib,
        run_id: &run_id,
        benches: benches.as_deref(),
        progress: &progress,
    };
    let report = bench.measure(subjects, &cells, &extent, &folder.join("machine"))?;
    export(args, &report)?;
    let into = args.into.as_deref().map(|path| (path, SECTION));
    deliver(&report, &folder, args.measure.json, into)
}

/// Builds or finds everybody. A peer that cannot be had is said and left out: the rest still compares.
fn programs(
    workshop: &mut Workshop,
    args: &PerfArgs,
    progress: &Terminal,
) -> Result<Programs, Error> {
    progress.doing("build: ublk as it is shipped, optimised across crates");
    let ublk = workspace::build_measured_ublk()?;
    let mut programs = Programs { ublk, other: args.other.clone(), ..Programs::default() };
    progress.doing("build: kublk, from the kernel's sources");
    match vmimage::selftests::kublk(workshop.archive(), None) {
        Ok(found) => programs.kublk = Some(found.kublk),
        Err(error) => progress.line(&format!("note: kublk is left out: {error}")),
    }
    progress.doing(&format!("build: libublk {}", libublk::VERSION));
    match libublk::build(&cache_dir(&args.measure.sources)) {
        Ok(found) => programs.libublk = Some(found.null),
        Err(error) => progress.line(&format!("note: libublk is left out: {error}")),
    }
    Ok(programs)
}

fn chosen(all: Vec<Subject>, args: &PerfArgs) -> Result<Vec<Subject>, Error> {
    choice::check(&all.iter().collect::<Vec<_>>(), &args.filters, &args.modes)?;
    let wanted = |subject: &Subject| choice::is_meant(subject, &args.filters, &args.modes);
    Ok(all.into_iter().filter(wanted).collect())
}

/// What other tools chart. Nothing is written of a run with errors: a chart could not say that.
fn export(args: &PerfArgs, report: &PerfReport) -> Result<(), Error> {
    let wanted = [(&args.export_github, github(report)), (&args.export_bencher, bencher(report))];
    for (path, text) in wanted {
        let Some(path) = path.as_ref().filter(|_| report.errors.is_empty()) else { continue };
        fsio::write(path, text.as_bytes()).map_err(Error::infrastructure)?;
    }
    Ok(())
}
