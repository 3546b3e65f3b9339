//! The list of live children of this process, so that a signal handler's thread can end them all. `Drop`
//! alone is not enough: it does not run when Ctrl-C or SIGTERM makes the process exit.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::end::VmEnd;
use super::supervise::{LaunchError, Shared};

/// How long [`kill_all`] waits for what it killed.
const KILL_ALL_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Registry {
    closed: bool,
    live: Vec<Arc<Shared>>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { closed: false, live: Vec::new() });

fn lock() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `spawn` under the lock, so that a child is either in the list when [`kill_all`] reads it or is
/// never started.
pub(super) fn admit(
    spawn: impl FnOnce() -> io::Result<Arc<Shared>>,
) -> Result<Arc<Shared>, LaunchError> {
    let mut registry = lock();
    if registry.closed {
        return Err(LaunchError::Interrupted);
    }
    let shared = spawn().map_err(LaunchError::Io)?;
    registry.live.push(Arc::clone(&shared));
    Ok(shared)
}

/// Takes a child that has ended off the list.
pub(super) fn forget(ended: &Arc<Shared>) {
    lock().live.retain(|shared| !Arc::ptr_eq(shared, ended));
}

/// Ends every QEMU this process has started and refuses to start another one, for the rest of the
/// process's life. For the thread of a Ctrl-C or SIGTERM handler: it waits for the killed processes, at
/// most 3 s, so that the process may exit right after it. Returns how many were killed.
///
/// It is not async-signal-safe: call it from an ordinary thread, as the `ctrlc` crate does.
pub fn kill_all() -> usize {
    let live = {
        let mut registry = lock();
        registry.closed = true;
        registry.live.clone()
    };
    for shared in &live {
        shared.kill(VmEnd::Interrupted);
    }
    let deadline = Instant::now() + KILL_ALL_LIMIT;
    for shared in &live {
        shared.wait(deadline.saturating_duration_since(Instant::now()));
    }
    live.len()
}

/// Process ids of the QEMUs of this process that have not ended.
#[must_use]
pub fn live_pids() -> Vec<u32> {
    lock().live.iter().map(|shared| shared.pid()).collect()
}
