//! Options of the gate.

use std::path::PathBuf;

use clap::Args;

use super::{MeasureArgs, PerfClock, SourceArgs};

/// A regression made on purpose, in a copy of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Plant {
    /// Some 200 instructions for each I/O.
    Delay,
    /// One more `io_uring_enter` for each I/O.
    Enter,
    /// One allocation for each I/O.
    Allocation,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GateArgs {
    /// The baseline; default `reports/baselines/<clock>.json`.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Judges this `perf.json` instead of measuring; given again, the next one is the run that escalates or
    /// confirms. Repeatable.
    #[arg(long = "report", value_name = "FILE", conflicts_with_all = ["base", "base_program", "plant"])]
    pub(crate) reports: Vec<PathBuf>,
    /// Measures the tree of this revision in the same machines and compares with it instead of with stored
    /// numbers; the only way by the wall clock.
    #[arg(long, value_name = "REVISION")]
    pub(crate) base: Option<String>,
    /// The same with a statically linked build of `ublk`.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "base")]
    pub(crate) base_program: Option<PathBuf>,
    /// Kernel, as for `vm-e2e`; default the baseline's, and `newest` without one.
    #[arg(long, value_name = "KERNEL")]
    pub(crate) kernel: Option<String>,
    /// Samples of each cell before the first decision; default 1 under the instruction clock, whose samples agree
    /// to the grain of fio's own, and 8 rounds by the wall clock.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) repetitions: Option<u32>,
    /// I/Os of each sample; default the baseline's, and 40000 without one.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    pub(crate) ios: Option<u64>,
    /// Makes what is measured the new baseline, instead of judging it.
    #[arg(long, requires = "reason")]
    pub(crate) accept: bool,
    /// Why the baseline may move; kept in it.
    #[arg(long, value_name = "TEXT", requires = "accept")]
    pub(crate) reason: Option<String>,
    /// Plants a regression in a copy of this tree and gates that: it has to end with 1.
    #[arg(long, value_enum, conflicts_with = "accept")]
    pub(crate) plant: Option<Plant>,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
}

impl GateArgs {
    /// What continuous integration asks for: this tree against the committed baseline, everything else as
    /// it is without options.
    pub(crate) fn of_ci(sources: &SourceArgs) -> Self {
        Self {
            baseline: None,
            reports: Vec::new(),
            base: None,
            base_program: None,
            kernel: None,
            repetitions: None,
            ios: None,
            accept: false,
            reason: None,
            plant: None,
            measure: MeasureArgs {
                clock: PerfClock::Instructions,
                seed: None,
                json: false,
                output: None,
                memory_mib: 1024,
                sources: sources.clone(),
            },
        }
    }
}
