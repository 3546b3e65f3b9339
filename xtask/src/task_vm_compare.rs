//! `vm-compare`: ours beside loop, null_blk, nbd, kublk, libublk and rublk in one machine, as ratios.

use std::sync::Arc;

use rand::Rng;
use reports::perf::{PerfReport, comparisons};
use reports::report::ExitCode;
use vmimage::arch::Arch;

use crate::cli::CompareArgs;
use crate::compare::contenders::{self, Contender, MODULES};
use crate::compare::peers::Peers;
use crate::error::Error;
use crate::perf::choice;
use crate::perf::deliver::deliver;
use crate::perf::layout::{Extent, Order, cells};
use crate::perf::measure::Bench;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::section;
use crate::{environment, workspace};

/// The section of a page that holds these tables.
const SECTION: &str = "vm-compare";

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode, Error> {
    if let Some(path) = &args.into {
        section::check(path, SECTION)?;
    }
    let progress = Arc::new(Terminal::new());
    let run_id = format!("compare-{}", environment::unix_ms());
    let folder = match &args.measure.output {
        Some(path) => path.clone(),
        None => workspace::root().join("artifacts").join(&run_id),
    };
    let mut workshop = Workshop::open(&args.measure.sources, Arch::X86_64, &progress)?;
    let emulator = workshop.emulator(args.measure.clock.accel())?;
    let peers = Peers::gather(&mut workshop, &args.measure.sources, &progress)?;
    workshop.add_guest_files(peers.guest_files());
    workshop.add_modules(MODULES);
    let contenders = chosen(&contenders::all(&peers, &args.targets), args)?;
    let ready = workshop.kernel(&args.kernel)?;
    let bench = Bench {
        emulator: &emulator,
        ready: &ready,
        clock: args.measure.clock,
        cpus: args.cpus,
        memory_mib: args.measure.memory_mib,
        run_id: &run_id,
        benches: None,
        progress: &progress,
    };
    let extent = Extent {
        order: Order::Shuffled { repetitions: args.repetitions },
        ios: args.ios,
        count: false,
        start_up: false,
        recovery: false,
        seed: args.measure.seed.unwrap_or_else(|| rand::rng().random()),
    };
    progress.line(&format!("the order's seed is {:#x}", extent.seed));
    let there = contenders.iter().filter(|contender| contender.missing.is_none());
    let subjects = there.map(|contender| contender.subject.clone()).collect();
    let cells = cells(&args.depths, &args.block_bytes, 1);
    let mut report = bench.measure(subjects, &cells, &extent, &folder.join("machine"))?;
    conclude(&mut report, &contenders);
    let into = args.into.as_deref().map(|path| (path, SECTION));
    deliver(&report, &folder, args.measure.json, into)
}

/// Everybody who is meant, and of each of their targets the one that all are compared with.
fn chosen(all: &[Contender], args: &CompareArgs) -> Result<Vec<Contender>, Error> {
    let subjects: Vec<_> = all.iter().map(|contender| &contender.subject).collect();
    choice::check(&subjects, &args.filters, &args.modes)?;
    let meant =
        |contender: &Contender| choice::is_meant(&contender.subject, &args.filters, &args.modes);
    let targets: Vec<_> =
        all.iter().filter(|c| meant(c)).map(|c| c.subject.target.clone()).collect();
    let reference = |contender: &Contender| {
        contenders::is_reference(&contender.subject) && targets.contains(&contender.subject.target)
    };
    Ok(all.iter().filter(|c| meant(c) || reference(c)).cloned().collect())
}

/// Makes the ratios; a target without them is an error, for then nothing was compared.
fn conclude(report: &mut PerfReport, contenders: &[Contender]) {
    contenders::complete(&mut report.subjects, contenders);
    report.comparisons = comparisons(&report.subjects, report.run.seed);
    for subject in contenders.iter().map(|contender| &contender.subject) {
        let Some(target) = subject.target.as_deref().filter(|_| contenders::is_reference(subject))
        else {
            continue;
        };
        if !report.comparisons.iter().any(|comparison| comparison.target == target) {
            report
                .errors
                .push(format!("{target}: {} has no numbers to compare with", subject.id()));
        }
    }
}
