//! How a child is tied to the life of its owner. `Drop` and signal handlers do not run when the owner is
//! SIGKILLed or aborts; only the kernel's parent-death signal still works then. Setting it takes a system
//! call between fork and exec, which is `unsafe` in Rust, so util-linux's `setpriv` makes it instead.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::command;

const SETPRIV_ARGS: [&str; 3] = ["--pdeathsig", "KILL", "--"];

/// Whether a machine started here also dies when its owner is killed with SIGKILL. False where `setpriv`
/// of util-linux 2.33 or newer is missing (its busybox namesake cannot do it).
#[must_use]
pub fn dies_with_owner() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let mut probe = Command::new("setpriv");
        probe.args(SETPRIV_ARGS).arg("true");
        command::run(&mut probe, Duration::from_secs(10)).is_ok_and(|done| done.status.success())
    })
}

/// A command that runs `program` and, where that is possible, dies with the thread that spawns it.
///
/// # Errors
/// `NotFound` where there is no such program.
pub(super) fn tied(program: &Path) -> io::Result<Command> {
    let path = std::env::var_os("PATH");
    let found = find_program(program, path.as_deref()).ok_or(io::ErrorKind::NotFound)?;
    if !dies_with_owner() {
        return Ok(Command::new(found));
    }
    let mut command = Command::new("setpriv");
    command.args(SETPRIV_ARGS).arg(found);
    Ok(command)
}

/// Finds what `exec` would run, because the error of a failed `exec` is `setpriv`'s and not ours.
fn find_program(program: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    std::env::split_paths(path?).map(|dir| dir.join(program)).find(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_path_and_by_name() {
        let path = Some(OsStr::new("/nowhere:/bin"));
        assert_eq!(find_program(Path::new("sh"), path), Some("/bin/sh".into()));
        assert_eq!(find_program(Path::new("/bin/sh"), None), Some("/bin/sh".into()));
        assert_eq!(find_program(Path::new("/bin/no-such-shell"), path), None);
        assert_eq!(find_program(Path::new("no-such-shell"), path), None);
    }
}
