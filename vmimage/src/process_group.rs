//! A build is a tree of processes. Whoever ends its root alone leaves compilers behind that go on writing into
//! a folder that is being removed; so a build gets a process group of its own, and ends as one.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::command::CommandError;

/// How often a running child is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Groups that have not ended, and whether new ones may begin.
struct Groups {
    closed: bool,
    live: Vec<Pid>,
}

static GROUPS: Mutex<Groups> = Mutex::new(Groups { closed: false, live: Vec::new() });

fn groups() -> MutexGuard<'static, Groups> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `command` with everything it starts to its end, or kills all of it at `limit`. Both outputs go into
/// the file `log`; `tick` is called some times a second.
pub fn run(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    mut tick: impl FnMut(),
) -> Result<ExitStatus, CommandError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound { program: program.clone() },
        _ => CommandError::Io { program: program.clone(), source },
    };
    let out = File::options().create(true).append(true).open(log).map_err(failed)?;
    command.stdin(Stdio::null()).stderr(out.try_clone().map_err(failed)?).stdout(out);
    command.process_group(0);
    let begin = Instant::now();
    let (mut child, group) = spawn(command, &program, failed)?;
    let mut last_tick = begin;
    loop {
        if let Some(status) = reap(&mut child, group).map_err(failed)? {
            // What ended it has killed the others too; nobody is left to wait for.
            return if groups().closed {
                Err(CommandError::Interrupted { program })
            } else {
                Ok(status)
            };
        }
        if begin.elapsed() > limit {
            end(group);
            while reap(&mut child, group).map_err(failed)?.is_none() {
                thread::sleep(STEP);
            }
            return Err(CommandError::TimedOut { program, limit_s: limit.as_secs() });
        }
        if last_tick.elapsed() > Duration::from_millis(200) {
            tick();
            last_tick = Instant::now();
        }
        thread::sleep(STEP);
    }
}

/// Starts it under the lock, so that a group is either in the list when [`end_all`] reads it or never begins.
fn spawn(
    command: &mut Command,
    program: &str,
    failed: impl Fn(io::Error) -> CommandError,
) -> Result<(Child, Pid), CommandError> {
    let mut groups = groups();
    if groups.closed {
        return Err(CommandError::Interrupted { program: program.to_owned() });
    }
    let child = command.spawn().map_err(failed)?;
    let group = Pid::from_raw(child.id().cast_signed());
    groups.live.push(group);
    Ok((child, group))
}

/// Takes a group whose root has ended off the list, and ends what the root left behind. All of it before the
/// root is reaped: until then its number is nobody else's.
fn reap(child: &mut Child, group: Pid) -> io::Result<Option<ExitStatus>> {
    let mut groups = groups();
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    if waitid(Id::Pid(group), look)? == WaitStatus::StillAlive {
        return Ok(None);
    }
    groups.live.retain(|pid| *pid != group);
    end(group);
    child.wait().map(Some)
}

fn end(group: Pid) {
    // A group that has ended by itself is what is wanted.
    let _ = killpg(group, Signal::SIGKILL);
}

/// Ends every group and refuses new ones, for the rest of the process's life. For the thread of a Ctrl-C or
/// SIGTERM handler. The threads in [`run`] see it and come back with [`CommandError::Interrupted`].
pub fn end_all() {
    let mut groups = groups();
    groups.closed = true;
    groups.live.iter().copied().for_each(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit_ms: u64) -> (Result<ExitStatus, CommandError>, String) {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let ended = run(&mut command, log.path(), Duration::from_millis(limit_ms), || {});
        (ended, std::fs::read_to_string(log.path()).unwrap())
    }

    #[test]
    fn both_outputs_go_into_the_log() {
        let (ended, log) = shell("echo out; echo err >&2; exit 3", 20_000);
        assert_eq!(ended.unwrap().code(), Some(3));
        assert_eq!(log, "out\nerr\n");
    }

    #[test]
    fn at_the_limit_grandchildren_end_too() {
        let (ended, log) = shell("sh -c 'echo $$; sleep 60' & wait", 500);
        assert!(matches!(ended, Err(CommandError::TimedOut { .. })), "{ended:?}");
        let grandchild = format!("/proc/{}/stat", log.trim());
        for _ in 0..100 {
            // Nobody may have reaped it yet; what counts is that it does not run.
            let stat = std::fs::read_to_string(&grandchild).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            thread::sleep(STEP);
        }
        panic!("{grandchild} still runs");
    }
}
