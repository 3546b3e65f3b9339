//! One kernel's plan cut into parts, and the machines that work on them side by side.
//!
//! A guest waits most of the time: for a quiet period to pass, for a process to die. Two of them on two
//! cores take little more than half as long as one. A shard is one machine at a time; the next boot of it
//! does what the one before has not begun.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use rand::Rng;
use reports::budget::Budgets;
use reports::plan::{DebugOptions, PROTOCOL_VERSION, Plan, PlannedScenario};
use reports::{Recorder, remaining};

use crate::boot::{Boot, BootOutcome};
use crate::cli::MachineArgs;
use crate::interrupt;
use crate::prepare::{Emulator, Ready};
use crate::progress::Terminal;

/// Scenarios that pay for another boot. Fewer are not cut.
const SCENARIOS_PER_SHARD_MIN: usize = 24;

/// Most machines at once that are chosen by default; a boot costs as much as several scenarios.
const JOBS_DEFAULT_MAX: u64 = 4;

/// Memory a machine costs the host beyond its guest's.
const MACHINE_OVERHEAD_MIB: u64 = 256;

/// Machines at once on a host with so many CPUs and so much free memory.
pub(crate) fn default_jobs(cpus: usize, available_mib: u64, guest_mib: u32) -> usize {
    let fit = available_mib / (u64::from(guest_mib) + MACHINE_OVERHEAD_MIB);
    let jobs = fit.min(cpus as u64).clamp(1, JOBS_DEFAULT_MAX);
    usize::try_from(jobs).unwrap_or(1)
}

/// Part of one kernel's plan.
pub(crate) struct Shard {
    /// Index of the kernel in the run.
    pub(crate) kernel: u32,
    /// Index of this part of the kernel's plan.
    pub(crate) index: u32,
    pub(crate) ready: Arc<Ready>,
    pub(crate) planned: Vec<PlannedScenario>,
    /// This kernel's.
    pub(crate) budgets: Budgets,
    pub(crate) tally: Arc<Tally>,
    /// Parts of the kernel's plan that are not done yet; the last one finishes the kernel.
    pub(crate) left: Arc<AtomicUsize>,
}

/// How far one kernel's plan has come, for the progress line.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Printed before the count where the run has several kernels; else empty.
    pub(crate) label: String,
    pub(crate) total: usize,
    begun: AtomicUsize,
}

impl Tally {
    pub(crate) fn new(label: String, total: usize) -> Self {
        Self { label, total, begun: AtomicUsize::new(0) }
    }

    /// Counts a scenario that begins.
    pub(crate) fn begin(&self, id: &str) -> String {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{}{begun}/{} {id}", self.label, self.total)
    }
}

/// Deals `planned` out to at most `jobs` shards, each keeping the order.
pub(crate) fn deal(planned: &[PlannedScenario], jobs: usize) -> Vec<Vec<PlannedScenario>> {
    let shards = (planned.len() / SCENARIOS_PER_SHARD_MIN).clamp(1, jobs.max(1));
    // Neighbours in the catalogue cost alike, so dealing one by one makes parts that last alike.
    (0..shards)
        .map(|first| planned.iter().skip(first).step_by(shards).cloned().collect())
        .filter(|part: &Vec<_>| !part.is_empty())
        .collect()
}

/// What every shard of a run needs.
pub(crate) struct Floor<'a> {
    pub(crate) emulator: &'a Emulator,
    pub(crate) machine: &'a MachineArgs,
    pub(crate) debug: &'a DebugOptions,
    pub(crate) model_input: Option<&'a str>,
    pub(crate) server: Option<&'a str>,
    pub(crate) seed: u64,
    pub(crate) folder: &'a std::path::Path,
    pub(crate) recorder: &'a Recorder,
    pub(crate) progress: &'a Terminal,
    /// Whether one red scenario is enough to know.
    pub(crate) until_red: bool,
    /// Whether there was one.
    pub(crate) red: AtomicBool,
}

impl Floor<'_> {
    /// Before a kernel's own factor.
    pub(crate) fn budgets(&self) -> Budgets {
        Budgets::scaled(self.emulator.scale())
    }

    /// Whether no more is to be begun, and what runs is to end.
    pub(crate) fn stops(&self) -> bool {
        interrupt::requested() || (self.until_red && self.red.load(Ordering::Relaxed))
    }

    /// Works on shards until there are no more. `finished` is told of each kernel whose last shard is done.
    pub(crate) fn work(
        &self,
        shards: &Mutex<mpsc::Receiver<Shard>>,
        finished: &(dyn Fn(u32) + Sync),
    ) {
        loop {
            // The guard is gone before the work: another worker takes the next one.
            let next = shards.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match next {
                Ok(shard) => {
                    self.run(&shard);
                    if shard.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        finished(shard.kernel);
                    }
                }
                Err(mpsc::RecvError) => return,
            }
        }
    }

    fn run(&self, shard: &Shard) {
        let mut retries_left = shard.budgets.boot_retries_max;
        for _ in 0..shard.budgets.boots_max {
            let scenarios = self
                .recorder
                .of_kernel(shard.kernel, |own| remaining(&shard.planned, own.iter().copied()));
            if scenarios.is_empty() || self.stops() {
                return;
            }
            let plan = Plan {
                protocol_version: PROTOCOL_VERSION,
                nonce: format!("{:032x}", rand::rng().random::<u128>()),
                seed: self.seed,
                budgets: shard.budgets,
                scenarios,
                debug: self.debug.clone(),
                model_input: self.model_input.map(str::to_owned),
                server: self.server.map(str::to_owned),
            };
            let outcome = Boot { floor: self, shard, plan: &plan, retries_left }.run();
            match outcome {
                BootOutcome::Ready => {}
                // A QEMU that does not start will not start the next time either.
                BootOutcome::Infrastructure => return,
                BootOutcome::NeverReady if retries_left == 0 => return,
                BootOutcome::NeverReady => retries_left -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reports::plan::Expectation;

    use super::*;

    fn planned(count: usize) -> Vec<PlannedScenario> {
        let one =
            |n| PlannedScenario { id: format!("a/{n}"), budget_ms: 1, expect: Expectation::Pass };
        (0..count).map(one).collect()
    }

    proptest! {
        #[test]
        fn every_scenario_is_dealt_once_and_in_order(count in 0_usize..400, jobs in 0_usize..9) {
            let all = planned(count);
            let shards = deal(&all, jobs);
            prop_assert!(shards.len() <= jobs.max(1));
            let mut dealt: Vec<_> = shards.concat();
            let number = |s: &PlannedScenario| s.id[2..].parse::<usize>().unwrap();
            for shard in &shards {
                prop_assert!(shard.is_sorted_by_key(number) && !shard.is_empty());
            }
            dealt.sort_by_key(number);
            prop_assert_eq!(dealt, all);
        }
    }

    #[test]
    fn a_small_plan_is_not_cut() {
        assert_eq!(deal(&planned(30), 4).len(), 1);
        assert_eq!(deal(&planned(190), 2).len(), 2);
    }

    #[test]
    fn memory_and_cpus_bound_the_machines() {
        assert_eq!(default_jobs(2, 20_000, 1024), 2);
        assert_eq!(default_jobs(64, 200_000, 1024), 4);
        assert_eq!(default_jobs(8, 1500, 1024), 1);
        assert_eq!(default_jobs(8, 100, 1024), 1);
    }
}
