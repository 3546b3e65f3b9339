//! A machine on the user's terminal, for a shell in the guest. QEMU reads and writes the terminal itself
//! and puts it in raw mode, so that Ctrl-C and job control belong to the guest.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::termios::{self, SetArg};

use super::end::VmEnd;
use super::program::QemuProgram;
use super::spec::{MachineSpec, Wiring};
use super::supervise::Launch;
use super::vm::{self, VmError};

/// Runs the machine in the foreground until it ends: guest console and QEMU's monitor on standard input and
/// output (Ctrl-A X quits, Ctrl-A C switches to the monitor), no port, no limits of output. The terminal is
/// put back as it was, also when QEMU is killed.
///
/// # Errors
/// As [`Vm::start`](super::Vm::start), but for what QEMU prints: that is on the terminal.
pub fn interactive(program: &QemuProgram, spec: &MachineSpec) -> Result<VmEnd, VmError> {
    spec.check_files()?;
    let mut command = vm::command(program)?;
    command.args(spec.arguments(program, Wiring::Terminal)?);
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    // Not a terminal: nothing to restore.
    let before = termios::tcgetattr(io::stdin()).ok();
    let launch = Launch { command, own_group: false, watched: Vec::new() };
    let child = vm::supervise(program, launch)?;
    let end = loop {
        if let Some(end) = child.wait(Duration::from_secs(3600)) {
            break end;
        }
    };
    if let Some(before) = before {
        // The shell that follows can still be reset by hand; the machine's end matters more.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
    Ok(end)
}
