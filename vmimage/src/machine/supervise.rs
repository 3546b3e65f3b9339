//! A child process that never outlives its owner. QEMU that is left behind eats a core for ever, so every
//! QEMU of this crate is started here: in a process group of its own, killed by the kernel when its owner
//! dies, by [`kill_all`](super::kill_all) on a signal, by its limits, and at the latest by `Drop`.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::end::VmEnd;
use super::registry;

/// Time between two looks at a child. Ending is noticed this late at most, and a file that is watched
/// grows past its limit by what QEMU writes in that time.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long a killed child may take to go. Only a process stuck in the kernel takes longer, and waiting
/// for that one would hang its owner too.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Debug)]
pub(super) struct Launch {
    /// The command, with its standard streams set.
    pub(super) command: Command,
    /// Whether it gets a process group of its own, which keeps a terminal's Ctrl-C from it. A child that
    /// owns the terminal must not have one.
    pub(super) own_group: bool,
    /// Files whose growth ends the child.
    pub(super) watched: Vec<Watched>,
}

/// A file that is written by the child.
#[derive(Debug)]
pub(super) struct Watched {
    /// Where.
    pub(super) path: PathBuf,
    /// Size at which the child is ended.
    pub(super) limit_bytes: u64,
    /// What is then said.
    pub(super) end: VmEnd,
}

/// Why there is no child.
#[derive(Debug)]
pub(super) enum LaunchError {
    /// [`kill_all`](super::kill_all) was called; nothing is started any more.
    Interrupted,
    /// The system refused.
    Io(io::Error),
}

/// The part of a child that its owner, its waiter and the registry share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    ended: Condvar,
    pid: u32,
}

#[derive(Debug)]
struct State {
    child: Child,
    own_group: bool,
    /// Who killed it; the first one counts.
    killed_as: Option<VmEnd>,
    end: Option<VmEnd>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere must not stop the killing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the child unless it has ended.
    pub(super) fn kill(&self, as_end: VmEnd) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.kill(as_end);
        }
    }

    /// Waits for the end, at most for `limit`.
    pub(super) fn wait(&self, limit: Duration) -> Option<VmEnd> {
        let state = self.lock();
        let waited = self.ended.wait_timeout_while(state, limit, |state| state.end.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.end.clone()
    }
}

impl State {
    fn kill(&mut self, as_end: VmEnd) {
        self.killed_as.get_or_insert(as_end);
        // The child is not reaped as long as `end` is unset, so its id and group are still its own. The
        // group is asked first because a wrapper script may have forked. An error means it is gone.
        let group = i32::try_from(self.child.id()).ok().filter(|_| self.own_group);
        let sent = group.is_some_and(|id| killpg(Pid::from_raw(id), Signal::SIGKILL).is_ok());
        if !sent {
            let _ = self.child.kill();
        }
    }

    /// One look; whether the child has ended.
    fn look(&mut self, watched: &[Watched]) -> bool {
        match self.child.try_wait() {
            Ok(None) => {
                if self.killed_as.is_none()
                    && let Some(flooded) = watched.iter().find(|file| file.is_over())
                {
                    self.kill(flooded.end.clone());
                }
                return false;
            }
            Ok(Some(status)) => {
                self.end = Some(self.killed_as.take().unwrap_or(VmEnd::Exited { status }));
            }
            Err(error) => self.end = Some(VmEnd::Lost { reason: error.to_string() }),
        }
        true
    }
}

impl Watched {
    fn is_over(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() > self.limit_bytes)
    }
}

/// A running child and the thread that started it and waits for it.
#[derive(Debug)]
pub(super) struct Supervised {
    shared: Arc<Shared>,
    waiter: Option<JoinHandle<()>>,
}

impl Supervised {
    /// Starts the child from a thread that lives exactly as long as the child: the kernel sends the
    /// parent-death signal when the *thread* that forked ends, not the process.
    pub(super) fn start(launch: Launch) -> Result<Self, LaunchError> {
        let (report, started) = mpsc::channel();
        let waiter = thread::Builder::new()
            .name("qemu-waiter".into())
            .spawn(move || supervise(launch, &report))
            .map_err(LaunchError::Io)?;
        let gone = || LaunchError::Io(io::Error::other("the thread that starts QEMU panicked"));
        let shared = started.recv().map_err(|_| gone())??;
        Ok(Self { shared, waiter: Some(waiter) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.shared.pid()
    }

    pub(super) fn kill(&self, as_end: VmEnd) {
        self.shared.kill(as_end);
    }

    pub(super) fn try_end(&self) -> Option<VmEnd> {
        self.shared.lock().end.clone()
    }

    pub(super) fn wait(&self, limit: Duration) -> Option<VmEnd> {
        self.shared.wait(limit)
    }

    /// Kills and waits for the reaping.
    pub(super) fn kill_and_reap(&self) -> VmEnd {
        self.kill(VmEnd::Killed);
        self.wait(REAP_LIMIT).unwrap_or_else(|| VmEnd::Lost {
            reason: format!(
                "process {} does not go away after SIGKILL, it is stuck in the kernel",
                self.pid()
            ),
        })
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let end = self.kill_and_reap();
        // A waiter whose child is stuck is left alone: joining it would hang the owner as well.
        if !matches!(end, VmEnd::Lost { .. })
            && let Some(waiter) = self.waiter.take()
        {
            let _ = waiter.join();
        }
    }
}

fn supervise(launch: Launch, report: &mpsc::Sender<Result<Arc<Shared>, LaunchError>>) {
    let Launch { mut command, own_group, watched } = launch;
    if own_group {
        command.process_group(0);
    }
    let spawned = registry::admit(|| {
        let child = command.spawn()?;
        let pid = child.id();
        let state = State { child, own_group, killed_as: None, end: None };
        Ok(Arc::new(Shared { state: Mutex::new(state), ended: Condvar::new(), pid }))
    });
    // Frees the descriptors of the standard streams that the command holds.
    drop(command);
    let shared = match spawned {
        Ok(shared) => shared,
        Err(error) => {
            let _ = report.send(Err(error));
            return;
        }
    };
    // A receiver that is gone is an owner that panicked: nobody else would end the child.
    if report.send(Ok(Arc::clone(&shared))).is_err() {
        shared.kill(VmEnd::Killed);
    }
    while !shared.lock().look(&watched) {
        thread::sleep(LOOK_INTERVAL);
    }
    registry::forget(&shared);
    shared.ended.notify_all();
}

/// Waits until `deadline` for `ready` to give something, looking every few milliseconds.
pub(super) fn poll_until<T>(deadline: Instant, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(found) = ready() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
