//! `vm-perf`: our server and its peers under the instruction clock, in one machine, as one table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;
use reports::html::Document;
use reports::perf::{HostLoad, PerfInput, PerfReport, fold, markdown, terminal};
use reports::render::Palette;
use reports::report::{ExitCode, RunHeader};
use vmimage::machine::Clock;

use crate::cli::{Accel, PerfArgs, PerfClock};
use crate::error::Error;
use crate::perf::layout::{Extent, cells, plan};
use crate::perf::libublk;
use crate::perf::machine::PerfMachine;
use crate::perf::subjects::{self, Programs};
use crate::prepare::{Emulator, Workshop, cache_dir};
use crate::progress::Terminal;
use crate::{environment, interrupt, workspace};

pub(crate) fn run(args: &PerfArgs) -> Result<ExitCode, Error> {
    let progress = Arc::new(Terminal::new());
    let started_at_unix_ms = environment::unix_ms();
    let run_id = format!("perf-{started_at_unix_ms}");
    let folder = match &args.output {
        Some(path) => path.clone(),
        None => workspace::root().join("artifacts").join(&run_id),
    };
    let mut workshop = Workshop::open(&args.sources, &progress)?;
    let (clock, accel) = match args.clock {
        PerfClock::Instructions => (Clock::Instructions, Accel::Tcg),
        PerfClock::Wall => (Clock::Wall, Accel::Auto),
    };
    let emulator = workshop.emulator(accel)?;
    let programs = programs(&mut workshop, args, &progress)?;
    workshop.add_guest_files(programs.guest_files());
    let ready = workshop.kernel(&args.kernel)?;
    let subjects = chosen(subjects::all(&programs, args.queues), &args.filters)?;
    let seed = args.seed.unwrap_or_else(|| rand::rng().random());
    let extent = Extent {
        repetitions: args.repetitions,
        ios: args.ios,
        count: !args.no_count,
        start_up: !args.no_start_up,
        seed,
    };
    let cells = cells(&args.depths, args.queues);
    let nonce = format!("{:032x}", rand::rng().random::<u128>());
    let plan = plan(subjects, &cells, &extent, nonce).map_err(Error::infrastructure)?;
    let machine = PerfMachine {
        emulator: &emulator,
        ready: &ready,
        clock,
        cpus: u32::from(args.queues),
        memory_mib: args.memory_mib,
        run_dir: &folder.join("machine"),
    };
    let load_before = environment::load();
    let said = machine.run(&plan, &progress)?;
    progress.clear();
    let report = fold(&PerfInput {
        run: &header(run_id, seed, started_at_unix_ms, &emulator),
        kernel: &ready.header,
        clock: match args.clock {
            PerfClock::Instructions => "instructions",
            PerfClock::Wall => "wall",
        },
        cpus: u32::from(args.queues),
        ios_per_sample: args.ios,
        toolchain: workspace::toolchain(),
        host_load: load_before
            .zip(environment::load())
            .map(|(before, after)| HostLoad { before, after }),
        mirrored_rounds: None,
        cells: &cells,
        plan: &plan,
        lines: &said.lines,
        host_errors: said.errors,
    });
    write(&folder, &report)?;
    show(&report, &folder, args.json)?;
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
    match libublk::build(&cache_dir(&args.sources)) {
        Ok(path) => programs.libublk = Some(path),
        Err(error) => progress.line(&format!("note: libublk is left out: {error}")),
    }
    Ok(programs)
}

fn chosen(
    all: Vec<reports::perf::Subject>,
    filters: &[String],
) -> Result<Vec<reports::perf::Subject>, Error> {
    let ids: Vec<String> = all.iter().map(reports::perf::Subject::id).collect();
    if let Some(filter) = filters.iter().find(|f| !ids.iter().any(|id| id.contains(f.as_str()))) {
        let known = ids.join(", ");
        return Err(Error::usage(format!("no subject matches `{filter}`; there are {known}")));
    }
    let wanted = |id: &str| filters.is_empty() || filters.iter().any(|f| id.contains(f.as_str()));
    Ok(all.into_iter().filter(|subject| wanted(&subject.id())).collect())
}

fn header(run_id: String, seed: u64, started_at_unix_ms: u64, emulator: &Emulator) -> RunHeader {
    let (commit, dirty) = workspace::commit();
    RunHeader {
        run_id,
        seed,
        commit: Some(commit).filter(|commit| commit != "unknown"),
        dirty,
        started_at_unix_ms,
        command_line: std::env::args().collect(),
        accelerator: emulator.accelerator_facts(),
        qemu: emulator.qemu_facts(),
        host: environment::host(),
    }
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
