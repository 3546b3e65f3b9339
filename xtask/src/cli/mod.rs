//! The command line of `cargo xtask`.

mod compare;
mod coverage;
mod e2e;
mod fuzz;
mod gate;
mod kernel;
mod kselftest;
mod machine;
mod matrix;
mod mutants;
mod perf;
mod replay;
mod report;
mod tools;

use clap::{Parser, Subcommand};

pub(crate) use compare::CompareArgs;
pub(crate) use coverage::{CoverageArgs, CoverageOf, DriverCoverageArgs, ErrnoCoverageArgs};
pub(crate) use e2e::{E2eArgs, RunArgs, SimpleArgs};
pub(crate) use fuzz::FuzzArgs;
pub(crate) use gate::{GateArgs, Plant};
pub(crate) use kernel::{KernelArgs, KernelBuildArgs, KernelTask};
pub(crate) use kselftest::{KselftestArgs, SelftestServer};
pub(crate) use machine::{Accel, MachineArgs, SourceArgs};
pub(crate) use matrix::{MatrixArgs, MatrixPageArgs, ReportMatrixArgs};
pub(crate) use mutants::MutantsArgs;
pub(crate) use perf::{MeasureArgs, PerfArgs, PerfClock, PerfTarget};
pub(crate) use replay::ReplayArgs;
pub(crate) use report::{MergeArgs, ReportArgs, ReportShotsArgs, ReportTask};
pub(crate) use tools::{CiArgs, DebugArgs, DistArgs, DoctorArgs, ShellArgs};

/// Boots real kernels and proves a ublk device on them, end to end.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// The main job: boot each kernel, run every scenario, write the reports.
    VmE2e(E2eArgs),
    /// Every scenario on every kernel that the archive has: what holds where, and what changed since the last time.
    VmMatrix(MatrixArgs),
    /// A smoke of a few seconds: one device is added, written, read, compared and deleted.
    VmSimpleE2e(SimpleArgs),
    /// The kernel's own selftests, on our server, on the kernel's, or on both side by side.
    Kselftest(KselftestArgs),
    /// Measures our server and its peers in one machine that counts instructions instead of time.
    VmPerf(PerfArgs),
    /// Ours beside loop, null_blk, nbd, kublk, libublk and rublk in one machine: ratios with their intervals.
    VmCompare(CompareArgs),
    /// Renders one or many reports into one page; other commits become its history.
    Report(ReportArgs),
    /// Looks at report.html in headless Chromium: light, dark, on a desk, on a phone, printed.
    ReportShots(ReportShotsArgs),
    /// Says whether this tree is slower than a baseline: better or equal, regressed, or inconclusive.
    Gate(GateArgs),
    /// Random and exhaustive sequences of commands against the driver's model, with fresh seeds, for as long as is asked.
    VmFuzz(FuzzArgs),
    /// Runs a failing case's file again, and says how reliably it fails.
    Replay(ReplayArgs),
    /// Puts servers with one deliberate bug each under the suite, which has to see every one.
    Mutants(MutantsArgs),
    /// A shell in the same guest. `exit` or Ctrl-A X leaves it.
    VmShell(ShellArgs),
    /// Runs one scenario with dynamic debug, a function trace and SQE dumps, all in one folder.
    VmDebug(DebugArgs),
    /// Says what was found on this machine, what is missing, and the remedy for each.
    Doctor(DoctorArgs),
    /// What continuous integration runs: checks, tests, the end-to-end run, the natural canary.
    Ci(CiArgs),
    /// What a run has reached of what there is: the driver's error paths, its lines and branches.
    Coverage(CoverageArgs),
    /// Kernels of our own, built with what watches them: KASAN, the lock validator, branch counters.
    Kernel(KernelArgs),
    /// Puts the `ublk` command with its manual pages and completions into one folder, for a package.
    Dist(DistArgs),
    /// Checks the rules of the tree that no compiler checks.
    Tidy,
}

fn seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{error}; a seed is a number, decimal or 0x..."))
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=64) => Ok(jobs),
        _ => Err("machines at once are a number from 1 to 64".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn seeds_are_decimal_or_hexadecimal() {
        assert_eq!(seed("17"), Ok(17));
        assert_eq!(seed("0xff"), Ok(255));
        assert!(seed("x").is_err());
    }

    #[test]
    fn kernels_and_filters_repeat() {
        let line = ["xtask", "vm-e2e", "--kernel", "6.12", "--kernel", "7.3", "--filter", "data"];
        let Task::VmE2e(args) = Cli::parse_from(line).task else { panic!() };
        assert_eq!(args.kernels, ["6.12", "7.3"]);
        assert_eq!(args.filters, ["data"]);
    }
}
