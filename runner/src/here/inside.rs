//! The agent's side of a run on this machine: a process with a file system view and a group of its own, which does the
//! plan as the guest's PID 1 does.
//!
//! Scenarios write to `/tmp`, mount on `/mnt` and have sockets in `/run/ublk`. Here all three are theirs alone and go with
//! them: nobody sees the mounts, and nobody has put a link where root is about to write.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use scenarios::process::{UBLK, UBLK_VARIABLE};

use crate::machine::{Machine, Shared};
use crate::{agent, port, processes};

/// The starter sends the plan at once.
const PLAN_TIMEOUT: Duration = Duration::from_secs(10);
/// Where the scenarios find the server; the folder it came from may be hidden from them.
const SERVER: &str = "/tmp/bin/ublk";
/// What is theirs alone.
const PRIVATE: [&str; 2] = ["/tmp", "/run/ublk"];

/// `runner here-agent`: the plan comes in by standard input, events go out by standard output.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            // Whoever started this run may be gone; then nobody else ends what it has begun.
            processes::kill_descendants();
            ExitCode::from(reports::ExitCode::Infrastructure.code())
        }
    }
}

fn run() -> Result<(), String> {
    let stream = |fd: std::os::fd::BorrowedFd<'_>| {
        fd.try_clone_to_owned().map(File::from).map_err(|error| format!("no stream: {error}"))
    };
    let mut input = stream(std::io::stdin().as_fd())?;
    let output = stream(std::io::stdout().as_fd())?;
    let line = port::read_line(&mut input, PLAN_TIMEOUT)
        .map_err(|error| format!("the plan cannot be read: {error}"))?;
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| format!("orphans cannot be told from others: {error}"))?;
    isolate()?;
    let told_to_end = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(nix::libc::SIGTERM, Arc::clone(&told_to_end))
        .map_err(|error| format!("it cannot be told to end: {error}"))?;
    let group = nix::unistd::getgid().as_raw();
    let machine = Machine::Shared(Shared { group, ublk: PathBuf::from(SERVER) });
    let done = agent::execute(&machine, &line, output, &told_to_end);
    if done.is_err() {
        processes::kill_descendants();
        machine.tidy();
    }
    done.map_err(|error| format!("the run's starter is gone: {error}"))
}

/// Gives this process and all below it their own `/tmp`, `/run/ublk` and mounts.
fn isolate() -> Result<(), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: &dyn std::fmt::Display| {
            format!("scenarios cannot be given {what} of their own: {error}")
        }
    };
    let program = fs::read(UBLK.as_str())
        .map_err(|error| format!("{} ({UBLK_VARIABLE}) cannot be read: {error}", UBLK.as_str()))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| failed("mounts")(&error))?;
    let (nothing, private) = (None::<&Path>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(nothing, "/", nothing, private, nothing).map_err(|error| failed("mounts")(&error))?;
    for place in PRIVATE {
        fs::create_dir_all(place).map_err(|error| failed(place)(&error))?;
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .map_err(|error| failed(place)(&error))?;
    }
    let folder = Path::new(SERVER).parent().unwrap_or(Path::new("/tmp"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(SERVER, program))
        .and_then(|()| fs::set_permissions(SERVER, fs::Permissions::from_mode(0o755)))
        .map_err(|error| failed("a server")(&error))
}
