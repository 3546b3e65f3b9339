//! `vm-shell`: a shell in the same guest that the scenarios run in.

use std::sync::Arc;

use reports::report::ExitCode;
use vmimage::machine;

use crate::boot::machine_spec;
use crate::cli::ShellArgs;
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::workspace;

pub(crate) fn run(args: &ShellArgs) -> Result<ExitCode, Error> {
    let progress = Arc::new(Terminal::new());
    let mut workshop = Workshop::open(&args.sources, args.machine.arch, &progress)?;
    let emulator = workshop.emulator(args.machine.accel)?;
    let ready = workshop.kernel(&args.kernel)?;
    progress.clear();
    eprintln!("Ctrl-A X leaves the machine; `exit` powers it off");
    let run_dir = workspace::root().join("artifacts/shell");
    let spec = machine_spec(&emulator, &ready, &args.machine, &run_dir, u64::MAX, "runner.shell");
    machine::interactive(&emulator.program, &spec).map_err(Error::infrastructure)?;
    Ok(ExitCode::Passed)
}
