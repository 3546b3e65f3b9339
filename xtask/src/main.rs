//! `cargo xtask`: the commands people type. Thin: it plans, calls, and ends with the report's code.

#![forbid(unsafe_code)]

mod boot;
mod browser;
mod cli;
mod compare;
mod driver;
mod edit;
mod error;
mod fuzz;
mod gate;
mod interrupt;
mod job_summary;
mod matrix;
mod mutants;
mod perf;
mod prepare;
mod progress;
mod run;
mod rust_target;
mod section;
mod selftest_guest;
mod selftest_table;
mod servers;
mod shard;
mod task_ci;
mod task_ci_soundness;
mod task_coverage;
mod task_coverage_driver;
mod task_dist;
mod task_doctor;
mod task_gate;
mod task_kernel;
mod task_kselftest;
mod task_mutants;
mod task_replay;
mod task_report;
mod task_report_merge;
mod task_report_shots;
mod task_tidy;
mod task_vm_compare;
mod task_vm_debug;
mod task_vm_e2e;
mod task_vm_fuzz;
mod task_vm_matrix;
mod task_vm_perf;
mod task_vm_shell;
mod tree;
mod workspace;

use clap::Parser;
use reports::{console, environment};

use crate::cli::{Cli, Task};

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    interrupt::install();
    let result = match cli.task {
        Task::VmE2e(args) => task_vm_e2e::run(&args),
        Task::VmMatrix(args) => task_vm_matrix::run(&args),
        Task::VmSimpleE2e(args) => task_vm_e2e::simple(&args),
        Task::VmPerf(args) => task_vm_perf::run(&args),
        Task::VmCompare(args) => task_vm_compare::run(&args),
        Task::Report(args) => task_report::run(&args),
        Task::ReportShots(args) => task_report_shots::run(&args),
        Task::Gate(args) => task_gate::run(&args),
        Task::VmFuzz(args) => task_vm_fuzz::run(&args),
        Task::Replay(args) => task_replay::run(&args),
        Task::Mutants(args) => task_mutants::run(&args),
        Task::VmShell(args) => task_vm_shell::run(&args),
        Task::VmDebug(args) => task_vm_debug::run(&args),
        Task::Kselftest(args) => task_kselftest::run(&args),
        Task::Doctor(args) => task_doctor::run(&args),
        Task::Ci(args) => task_ci::run(&args),
        Task::Coverage(args) => task_coverage::run(&args),
        Task::Kernel(args) => task_kernel::run(&args),
        Task::Dist(args) => task_dist::run(&args),
        Task::Tidy => task_tidy::run(),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            anstream::eprintln!("xtask: {error}");
            error.code.into()
        }
    }
}
