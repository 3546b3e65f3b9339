//! `kernel build`: a kernel of our own, built before a run needs it.

use std::sync::Arc;

use reports::report::ExitCode;
use vmimage::arch::Arch;

use crate::cli::{KernelArgs, KernelBuildArgs, KernelTask};
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;

pub(crate) fn run(args: &KernelArgs) -> Result<ExitCode, Error> {
    let KernelTask::Build(args) = &args.task;
    build(args)
}

fn build(args: &KernelBuildArgs) -> Result<ExitCode, Error> {
    let progress = Arc::new(Terminal::new());
    let mut workshop = Workshop::open(&args.sources, Arch::X86_64, &progress)?;
    let typed = format!("{}+{}", args.series, args.with);
    let kernel = workshop.fetch(&typed)?;
    progress.clear();
    anstream::println!("{}  (as --kernel {typed})", kernel.release);
    anstream::println!("  image   {}", kernel.vmlinuz.display());
    if let Some(config) = &kernel.config {
        anstream::println!("  config  {}", config.display());
    }
    for entry in &kernel.lock {
        anstream::println!("  from    {} {} ({})", entry.name, entry.version, entry.origin);
    }
    Ok(ExitCode::Passed)
}
