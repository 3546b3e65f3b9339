//! Drives a gate: builds the trees, boots a machine for each report it asks for, keeps every report.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reports::gate::{BASE, Baseline, CONTROL};
use reports::perf::{PerfReport, Subject};
use vmimage::arch::Arch;

use super::baselines::{self, Scope};
use crate::cli::{GateArgs, PerfClock, PerfTarget};
use crate::error::Error;
use crate::perf::layout::{Extent, Order};
use crate::perf::measure::Bench;
use crate::perf::subjects::{self, Programs};
use crate::prepare::{Emulator, Ready, Workshop};
use crate::progress::Terminal;
use crate::{environment, interrupt, tree, workspace};

/// Queues of the device and CPUs of the guest under the instruction clock.
const QUEUES: u16 = 1;
/// Two machines differ by a fifth of a percent at most (docs/gate.md): a second sample says nothing new.
const INSTRUCTION_SAMPLES: u32 = 1;
/// The first one is dropped, and seven make an interval.
const WALL_ROUNDS: u32 = 8;
/// By the wall clock application and server have a CPU each.
const WALL_CPUS: u16 = 2;

/// Everything that is needed to measure one more machine.
pub(crate) struct Course {
    emulator: Emulator,
    ready: Ready,
    subjects: Vec<Subject>,
    scope: Scope,
    clock: PerfClock,
    memory_mib: u32,
    repetitions: u32,
    seed: u64,
    run_id: String,
    folder: PathBuf,
    progress: Arc<Terminal>,
    machines: u64,
}

impl Course {
    /// Builds and finds everything. What cannot be compared is refused before that.
    pub(crate) fn prepare(
        args: &GateArgs,
        baseline: Option<&Baseline>,
        seed: u64,
    ) -> Result<Self, Error> {
        let progress = Arc::new(Terminal::new());
        let mut workshop = Workshop::open(&args.measure.sources, Arch::X86_64, &progress)?;
        let emulator = workshop.emulator(args.measure.clock.accel())?;
        let kernel = baselines::kernel(args, baseline, &workshop)?;
        let beside = args.base.is_some() || args.base_program.is_some();
        if let Some(baseline) = baseline.filter(|_| !beside && !args.accept) {
            let release = workshop.resolve(&kernel)?.release;
            baselines::holds_here(baseline, args.measure.clock, &emulator, &release)?;
        }
        let programs = programs(args, &progress)?;
        workshop.add_guest_files(programs.guest_files());
        let ready = workshop.kernel(&kernel)?;
        let scope = baselines::scope(baseline, args.ios);
        let mirrored = args.measure.clock == PerfClock::Wall;
        let wanted = |subject: &Subject| {
            let name = subject.name.as_str();
            scope.modes.contains(&subject.mode)
                && (name == "ublk" || name == BASE || (mirrored && name == CONTROL))
        };
        let mut subjects = subjects::all(&programs, &[PerfTarget::Null], QUEUES);
        subjects.retain(wanted);
        let run_id = format!("gate-{}", environment::unix_ms());
        let folder = match &args.measure.output {
            Some(path) => path.clone(),
            None => workspace::root().join("artifacts").join(&run_id),
        };
        Ok(Self {
            emulator,
            ready,
            subjects,
            scope,
            clock: args.measure.clock,
            memory_mib: args.measure.memory_mib,
            repetitions: args.repetitions.unwrap_or(match args.measure.clock {
                PerfClock::Instructions => INSTRUCTION_SAMPLES,
                PerfClock::Wall => WALL_ROUNDS,
            }),
            seed,
            run_id,
            folder,
            progress,
            machines: 0,
        })
    }

    /// Where everything is kept.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        self.progress.line(text);
    }

    /// Measures in a fresh machine, with `factor` times as many samples.
    pub(crate) fn measure(&mut self, factor: u32) -> Result<PerfReport, Error> {
        let samples = self.repetitions.saturating_mul(factor);
        let order = match self.clock {
            PerfClock::Instructions => Order::Shuffled { repetitions: samples },
            PerfClock::Wall => Order::Mirrored { rounds: samples },
        };
        let extent = Extent {
            order,
            ios: self.scope.ios,
            count: true,
            start_up: false,
            recovery: false,
            // Another order in each machine, all of one seed.
            seed: self.seed.wrapping_add(self.machines),
        };
        let run_dir = self.folder.join(format!("machine-{}", self.machines));
        let bench = Bench {
            emulator: &self.emulator,
            ready: &self.ready,
            clock: self.clock,
            cpus: match self.clock {
                PerfClock::Instructions => QUEUES,
                PerfClock::Wall => WALL_CPUS,
            },
            memory_mib: self.memory_mib,
            run_id: &self.run_id,
            benches: None,
            progress: &self.progress,
        };
        let report = bench.measure(self.subjects.clone(), &self.scope.cells, &extent, &run_dir)?;
        self.machines += 1;
        let json = serde_json::to_string_pretty(&report).map_err(Error::infrastructure)?;
        workspace::write(&run_dir.join("perf.json"), &json)?;
        if interrupt::requested() {
            return Err(Error::interrupted("stopped; what was measured is kept and not judged"));
        }
        Ok(report)
    }
}

/// This tree, or the planted copy of it, and the base where there is one.
fn programs(args: &GateArgs, progress: &Terminal) -> Result<Programs, Error> {
    let ublk = match args.plant {
        Some(plant) => {
            progress
                .doing(&format!("build: a copy of this tree with the {} planted", plant.as_str()));
            tree::with_edits(&format!("plant-{}", plant.as_str()), &[plant.edit()])?
        }
        None => {
            progress.doing("build: ublk as it is shipped, optimised across crates");
            workspace::build_measured_ublk()?
        }
    };
    let base = match (&args.base, &args.base_program) {
        (Some(revision), _) => {
            progress.doing(&format!("build: ublk of {revision}"));
            Some(tree::of_revision(revision)?)
        }
        (None, Some(program)) => Some(program.clone()),
        // A baseline of the wall clock is its noise: the tree against itself.
        (None, None) if args.accept && args.measure.clock == PerfClock::Wall => Some(ublk.clone()),
        (None, None) => None,
    };
    Ok(Programs { ublk, base, ..Programs::default() })
}
