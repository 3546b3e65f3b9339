//! `vm-perf`: our server and its peers under the instruction clock, in one machine, as one table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;
use reports::html::Document;
use reports::perf::{PerfReport, bencher, github, markdown, terminal};
use reports::render::Palette;
use reports::report::ExitCode;

use crate::cli::PerfArgs;
use crate::error::Error;
use crate::perf::benches;
use crate::perf::layout::{Extent, Order, cells};
use crate::perf::libublk;
use crate::perf::measure::Bench;
use crate::perf::subjects::{self, Programs};
use crate::prepare::{Workshop, cache_dir};
use crate::progress::Terminal;
use crate::{environment, interrupt, workspace};

pub(crate) fn run(args: &PerfArgs) -> Result<ExitCode, Error> {
    let progress = Arc::new(Terminal::new());
    let run_id = format!("perf-{}", environment::unix_ms());
    let folder = match &args.measure.output {
        Some(path) => path.clone(),
        None => workspace::root().join("artifacts").join(&run_id),
    };
    let mut workshop = Workshop::open(&args.measure.sources, &progress)?;
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
    write(&folder, &report)?;
    show(&report, &folder, args.measure.json)?;
    Ok(match (interrupt::requested(), report.errors.is_empty()) {
        (true, _) => ExitCode::Interrupted,
        (false, true) => ExitCode::Passed,
        (false, false) => ExitCode::Failed,
    })
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
        Ok(path) => programs.libublk = Some(path),
        Err(error) => progress.line(&format!("note: libublk is left out: {error}")),
    }
    Ok(programs)
}

fn chosen(
    all: Vec<reports::perf::Subject>,
    args: &PerfArgs,
) -> Result<Vec<reports::perf::Subject>, Error> {
    let ids: Vec<String> = all.iter().map(reports::perf::Subject::id).collect();
    let filters = &args.filters;
    if let Some(filter) = filters.iter().find(|f| !ids.iter().any(|id| id.contains(f.as_str()))) {
        let known = ids.join(", ");
        return Err(Error::usage(format!("no subject matches `{filter}`; there are {known}")));
    }
    if let Some(mode) = args.modes.iter().find(|mode| !all.iter().any(|s| s.mode == **mode)) {
        let known: BTreeSet<&str> = all.iter().map(|subject| subject.mode.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let known = known.join(", ");
        return Err(Error::usage(format!("there is no mode `{mode}`; there are {known}")));
    }
    let wanted = |subject: &reports::perf::Subject| {
        let id = subject.id();
        (filters.is_empty() || filters.iter().any(|f| id.contains(f.as_str())))
            && (args.modes.is_empty() || args.modes.contains(&subject.mode))
    };
    let chosen: Vec<_> = all.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(Error::usage("no subject matches both --filter and --modes"));
    }
    Ok(chosen)
}

/// What other tools chart. Nothing is written of a run with errors: a chart could not say that.
fn export(args: &PerfArgs, report: &PerfReport) -> Result<(), Error> {
    let wanted = [(&args.export_github, github(report)), (&args.export_bencher, bencher(report))];
    for (path, text) in wanted {
        let Some(path) = path.as_ref().filter(|_| report.errors.is_empty()) else { continue };
        std::fs::write(path, text).map_err(|error| {
            Error::infrastructure(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

fn write(folder: &Path, report: &PerfReport) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(report).map_err(Error::infrastructure)?;
    for (name, text) in [("perf.json", json), ("perf.md", markdown(report))] {
        let path: PathBuf = folder.join(name);
        std::fs::write(&path, text).map_err(|error| {
            Error::infrastructure(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    let page = reports::write_html(folder, Document::Perf(report));
    page.map(drop).map_err(Error::infrastructure)
}

fn show(report: &PerfReport, folder: &Path, json: bool) -> Result<(), Error> {
    if json {
        let text = serde_json::to_string_pretty(report).map_err(Error::infrastructure)?;
        anstream::println!("{text}");
        return Ok(());
    }
    anstream::println!("{}", terminal(report, Palette::ansi()));
    anstream::println!("reports: {}", folder.display());
    anstream::println!("  report.html   for a browser: one page, complete");
    anstream::println!("  perf.json     every sample, median, ratio and count");
    anstream::println!("  perf.md       these tables in Markdown");
    Ok(())
}
