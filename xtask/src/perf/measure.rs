//! One machine measured and folded: what `vm-perf` does once and the gate as often as it has to.

use std::path::Path;

use rand::Rng;
use reports::perf::{Cell, HostLoad, PerfInput, PerfReport, Subject, fold};
use reports::report::RunHeader;
use vmimage::machine::Clock;

use super::benches;
use super::layout::{Extent, Order, plan};
use super::machine::PerfMachine;
use crate::cli::PerfClock;
use crate::error::Error;
use crate::prepare::{Emulator, Ready};
use crate::progress::Terminal;
use crate::{environment, workspace};

/// What stays the same over all machines of a run.
pub(crate) struct Bench<'a> {
    pub(crate) emulator: &'a Emulator,
    pub(crate) ready: &'a Ready,
    pub(crate) clock: PerfClock,
    /// CPUs of the guest.
    pub(crate) cpus: u16,
    pub(crate) memory_mib: u32,
    pub(crate) run_id: &'a str,
    /// The program of criterion benches, where they are wanted.
    pub(crate) benches: Option<&'a Path>,
    pub(crate) progress: &'a Terminal,
}

impl Bench<'_> {
    /// Boots a machine, measures and folds. An error means that there was no machine at all; whatever went
    /// wrong in it is in the report.
    pub(crate) fn measure(
        &self,
        subjects: Vec<Subject>,
        cells: &[Cell],
        extent: &Extent,
        run_dir: &Path,
    ) -> Result<PerfReport, Error> {
        let nonce = format!("{:032x}", rand::rng().random::<u128>());
        let mut plan = plan(subjects, cells, extent, nonce).map_err(Error::infrastructure)?;
        plan.benches = self.benches.iter().map(|_| benches::in_guest()).collect();
        let started_at_unix_ms = environment::unix_ms();
        let load_before = environment::load();
        let machine = PerfMachine {
            emulator: self.emulator,
            ready: self.ready,
            clock: match self.clock {
                PerfClock::Instructions => Clock::Instructions,
                PerfClock::Wall => Clock::Wall,
            },
            cpus: u32::from(self.cpus),
            memory_mib: self.memory_mib,
            run_dir,
        };
        // Before the run: what is measured was built of the tree as it is now, whatever is done to it meanwhile.
        let header = self.header(extent.seed, started_at_unix_ms);
        let mut said = machine.run(&plan, self.progress)?;
        let host_benches = match self.benches.map(benches::on_host) {
            Some(Ok(found)) => found,
            Some(Err(why)) => {
                said.errors.push(why);
                Vec::new()
            }
            None => Vec::new(),
        };
        self.progress.clear();
        let load = load_before.zip(environment::load());
        Ok(fold(&PerfInput {
            run: &header,
            kernel: &self.ready.header,
            clock: self.clock.as_str(),
            cpus: u32::from(self.cpus),
            ios_per_sample: extent.ios,
            toolchain: workspace::toolchain(),
            host_load: load.map(|(before, after)| HostLoad { before, after }),
            mirrored_rounds: match extent.order {
                Order::Shuffled { .. } => None,
                Order::Mirrored { rounds } => Some(rounds),
            },
            cells,
            plan: &plan,
            lines: &said.lines,
            host_benches,
            host_errors: said.errors,
        }))
    }

    fn header(&self, seed: u64, started_at_unix_ms: u64) -> RunHeader {
        let (commit, dirty) = workspace::commit();
        RunHeader {
            run_id: self.run_id.to_owned(),
            seed,
            commit: Some(commit).filter(|commit| commit != "unknown"),
            dirty,
            started_at_unix_ms,
            command_line: std::env::args().collect(),
            partition: None,
            server: None,
            accelerator: self.emulator.accelerator_facts(),
            qemu: self.emulator.qemu_facts(),
            host: environment::host(),
        }
    }
}
