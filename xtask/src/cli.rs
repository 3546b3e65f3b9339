//! The command line of `cargo xtask`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use reports::perf::BLOCK_BYTES;

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
    /// A smoke of a few seconds: one device is added, written, read, compared and deleted.
    VmSimpleE2e(SimpleArgs),
    /// The kernel's own selftests, on our server, on the kernel's, or on both side by side.
    Kselftest(KselftestArgs),
    /// Measures our server and its peers in one machine that counts instructions instead of time.
    VmPerf(PerfArgs),
    /// Renders one or many reports into one page; other commits become its history.
    Report(ReportArgs),
    /// Looks at report.html in headless Chromium: light, dark, on a desk, on a phone, printed.
    ReportShots(ReportShotsArgs),
    /// Says whether this tree is slower than a baseline: better or equal, regressed, or inconclusive.
    Gate(GateArgs),
    /// A shell in the same guest. `exit` or Ctrl-A X leaves it.
    VmShell(ShellArgs),
    /// Runs one scenario with dynamic debug, a function trace and SQE dumps, all in one folder.
    VmDebug(DebugArgs),
    /// Says what was found on this machine, what is missing, and the remedy for each.
    Doctor(DoctorArgs),
    /// What continuous integration runs: checks, tests, the end-to-end run, the natural canary.
    Ci(CiArgs),
    /// What a run has reached of what there is: the driver's error paths, row by row.
    Coverage(CoverageArgs),
    /// Puts the `ublk` command with its manual pages and completions into one folder, for a package.
    Dist(DistArgs),
    /// Checks the rules of the tree that no compiler checks.
    Tidy,
}

/// Where things come from; shared by everything that boots a machine.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// Package archive to use instead of the one apt is configured for.
    #[arg(long, value_name = "URI", env = "UBLK_ARCHIVE", help_heading = "Sources")]
    pub(crate) archive: Option<String>,
    /// Suite of that archive, as `trixie-backports`.
    #[arg(long, value_name = "SUITE", env = "UBLK_SUITE", help_heading = "Sources")]
    pub(crate) suite: Option<String>,
    /// Keyring that signs that archive.
    #[arg(long, value_name = "FILE", env = "UBLK_KEYRING", help_heading = "Sources")]
    pub(crate) keyring: Option<PathBuf>,
    /// A QEMU of your own, 10 or newer.
    #[arg(long, value_name = "PROGRAM", help_heading = "Sources")]
    pub(crate) qemu: Option<PathBuf>,
    /// Module folder (`lib/modules/<release>`) that belongs to a `--kernel` that is a file.
    #[arg(long, value_name = "DIR", help_heading = "Sources")]
    pub(crate) modules: Option<PathBuf>,
    /// A fio of your own; its libraries are taken from this machine.
    #[arg(long, value_name = "PROGRAM", help_heading = "Sources")]
    pub(crate) fio: Option<PathBuf>,
    /// Folder for downloads and images; default `.cache` in the workspace.
    #[arg(long, value_name = "DIR", env = "UBLK_CACHE", help_heading = "Sources")]
    pub(crate) cache: Option<PathBuf>,
    /// Asks the archive for its newest lists even if those at hand are fresh.
    #[arg(long, help_heading = "Sources")]
    pub(crate) refresh: bool,
}

/// How the machine is made.
#[derive(Clone, Debug, Args)]
pub(crate) struct MachineArgs {
    /// CPUs of the guest. A device gets at most as many queues.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Machine")]
    pub(crate) cpus: u32,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..=65536), help_heading = "Machine")]
    pub(crate) memory_mib: u32,
    /// Accelerator; `auto` boots a boot sector to see whether KVM really works.
    #[arg(long, value_enum, default_value_t = Accel::Auto, help_heading = "Machine")]
    pub(crate) accel: Accel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accel {
    Auto,
    Kvm,
    Tcg,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct E2eArgs {
    /// Kernel: a series (`6.12`, `7.3`), a release (`6.18.5`), `newest`, or a bzImage file. Repeatable.
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub(crate) kernels: Vec<String>,
    /// Only scenarios whose id holds this text, or matches it as a pattern with `*`. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Seed of every random choice; printed in each report.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Lists the scenarios and what each covers, and runs nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Prints the report as JSON on standard output instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the reports; default `artifacts/<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Machines at once, which share one kernel's scenarios; default: as many as CPUs and free memory
    /// allow, at most 4.
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<usize>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SimpleArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Folder for the reports.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CoverageOf {
    /// Rows of the errno map: each way in which the driver answers with an error.
    Errno,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CoverageArgs {
    /// What is counted.
    #[arg(value_enum)]
    pub(crate) of: CoverageOf,
    /// A report, or the folder of one; default: the newest in `artifacts`.
    pub(crate) report: Option<PathBuf>,
    /// Also rows that are covered, excused or absent.
    #[arg(long)]
    pub(crate) all: bool,
    /// Every row as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whose server the kernel's selftests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SelftestServer {
    /// This workspace's `ublk`, called as `kublk`.
    Ours,
    /// The kernel's own, built from its source package.
    Kublk,
    /// The kernel's and then ours; ours must pass what the kernel's passes.
    Both,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct KselftestArgs {
    /// Kernel, as for `vm-e2e`; the scripts are those of its series, else the newest there are.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Only scripts whose name holds this text. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Whose server the scripts run on.
    #[arg(long, value_enum, default_value_t = SelftestServer::Both)]
    pub(crate) server: SelftestServer,
    /// Leaves bpftrace (some 200 MiB of the guest's memory) out; the scripts that need it skip.
    #[arg(long)]
    pub(crate) no_bpftrace: bool,
    /// Lists the scripts, and runs nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Prints the report as JSON on standard output instead of the tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the reports; default `artifacts/<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// CPUs of the guest; the scripts want several queues.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64), help_heading = "Machine")]
    pub(crate) cpus: u32,
    /// Memory of the guest in MiB: scripts keep up to 1 GiB of backing files in it.
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2048..=65536), help_heading = "Machine")]
    pub(crate) memory_mib: u32,
    /// Accelerator, as for `vm-e2e`.
    #[arg(long, value_enum, default_value_t = Accel::Auto, help_heading = "Machine")]
    pub(crate) accel: Accel,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

impl KselftestArgs {
    /// The machine to boot.
    pub(crate) fn machine(&self) -> MachineArgs {
        MachineArgs { cpus: self.cpus, memory_mib: self.memory_mib, accel: self.accel }
    }
}

/// What the guest's time is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PerfClock {
    /// Guest instructions, on one host thread: repeatable whatever else the host does.
    Instructions,
    /// The host's time: for a host that does nothing else.
    Wall,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PerfArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Only subjects whose id, as `kublk/copy`, holds this text. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Samples of each cell.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) repetitions: u32,
    /// I/Os of each sample.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    pub(crate) ios: u64,
    /// I/Os in flight; one column of the table each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 128], value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) depths: Vec<u16>,
    /// Length of an I/O in bytes; one column of the table each.
    #[arg(long, value_delimiter = ',', default_values_t = [BLOCK_BYTES], value_parser = block_bytes)]
    pub(crate) block_bytes: Vec<u32>,
    /// What our server serves; peers serve their null target, and are compared with ours of it.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [PerfTarget::Null])]
    pub(crate) targets: Vec<PerfTarget>,
    /// Data modes; all of them unless given.
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    pub(crate) modes: Vec<String>,
    /// Queues of each device, CPUs of the guest, and jobs that share the I/Os in flight.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) queues: u16,
    /// What time is made of.
    #[arg(long, value_enum, default_value_t = PerfClock::Instructions)]
    pub(crate) clock: PerfClock,
    /// Writes the IOPS for github-action-benchmark (`customBiggerIsBetter`) into this file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) export_github: Option<PathBuf>,
    /// Writes the numbers in the Bencher Metric Format into this file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) export_bencher: Option<PathBuf>,
    /// Another build of `ublk`, statically linked, to compare with as `other`.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) other: Option<PathBuf>,
    /// Leaves the counting of system calls and allocations out.
    #[arg(long)]
    pub(crate) no_count: bool,
    /// Leaves the times of start and stop, and memory by depth, out.
    #[arg(long)]
    pub(crate) no_start_up: bool,
    /// Kills a server of each kind, too, and takes the time until the next one serves its device.
    #[arg(long)]
    pub(crate) recovery: bool,
    /// Runs the criterion benches, too, in the guest and on the host.
    #[arg(long)]
    pub(crate) benches: bool,
    /// Seed of the order of visits; printed in the report.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Prints the report as JSON on standard output instead of the tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the reports; default `artifacts/<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(512..=65536))]
    pub(crate) memory_mib: u32,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

/// What our server serves while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PerfTarget {
    /// Nothing: what serving costs by itself.
    Null,
    /// Memory of the server.
    Ram,
    /// A file in tmpfs, as the loop device's.
    File,
}

fn block_bytes(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|error| format!("{error}"))?;
    let fits = (512..=1 << 20).contains(&bytes) && bytes.is_multiple_of(512);
    if fits { Ok(bytes) } else { Err("a block is 512 to 1048576 bytes, in steps of 512".into()) }
}

impl PerfClock {
    /// As reports and baselines name it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Wall => "wall",
        }
    }

    /// Only emulation counts instructions.
    pub(crate) const fn accel(self) -> Accel {
        match self {
            Self::Instructions => Accel::Tcg,
            Self::Wall => Accel::Auto,
        }
    }
}

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
    /// What time is made of.
    #[arg(long, value_enum, default_value_t = PerfClock::Instructions)]
    pub(crate) clock: PerfClock,
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
    /// Seed of the order of visits and of the intervals; printed with the verdict.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Prints the decision as JSON on standard output instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the reports; default `artifacts/<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(512..=65536))]
    pub(crate) memory_mib: u32,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
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
            clock: PerfClock::Instructions,
            kernel: None,
            repetitions: None,
            ios: None,
            accept: false,
            reason: None,
            plant: None,
            seed: None,
            json: false,
            output: None,
            memory_mib: 1024,
            sources: sources.clone(),
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// A report.json or perf.json, a folder that holds them, or a folder of such folders.
    #[arg(value_name = "DIR_OR_FILE", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Where the page goes; default `report.html` beside a single input, else in this folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReportShotsArgs {
    /// What is rendered, as for `report`; default: the pages of the tests, each by itself.
    #[arg(value_name = "DIR_OR_FILE")]
    pub(crate) inputs: Vec<PathBuf>,
    /// A Chromium of your own; else `chromium`, `chromium-browser` or `google-chrome` of the PATH.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) chromium: Option<PathBuf>,
    /// Fails where there is no Chromium, instead of saying so and passing.
    #[arg(long)]
    pub(crate) require: bool,
    /// Folder for the pictures; default `artifacts/shots` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ShellArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DebugArgs {
    /// Id of the scenario; `vm-e2e --list` shows them.
    pub(crate) scenario: String,
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Seed, to repeat a run.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Folder for everything that was recorded.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Prints the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CiArgs {
    /// Leaves the virtual machines out: format, lints, tests, loom, Miri, tidy.
    #[arg(long)]
    pub(crate) no_vm: bool,
    /// Leaves `cargo test --workspace` out, because the caller has just run it.
    #[arg(long)]
    pub(crate) tests_done: bool,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DistArgs {
    /// The folder; `target/dist` in the workspace unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
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
