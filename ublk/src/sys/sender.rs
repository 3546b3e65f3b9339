//! A copy of this process that submits what is queued in a ring, so that the command is the copy's and not ours.
//!
//! The kernel does not let a process go before the commands that it has submitted have ended. Before Linux 7.0 START_DEV
//! reads the disk's partitions, and that read waits for the server: a server that submits it itself and is killed in that
//! moment waits for itself, in state D, with its device, until the machine is booted again. Submitted by a copy, the
//! command holds the copy only; the server goes, its requests fail, and the copy follows.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::forked::{die_with, pause_for_ever};

/// How long the copy may take to come up, and to go. Without company it is well below a millisecond.
const LIMIT: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_micros(50);

/// The copy. It stays until this is dropped or the thread that made it ends, since its commands would end with it. Children
/// that the caller waits for are not disturbed: no SIGCHLD comes, and only a wait for `__WALL` sees it.
#[derive(Debug)]
pub(crate) struct Sender {
    pid: libc::pid_t,
    /// Its status is collected; the number may be somebody else's.
    collected: bool,
}

impl Sender {
    /// Has a copy submit the one entry that is queued in `ring`, whose command is for `file`. `taken` tells whether the
    /// kernel has it.
    ///
    /// # Errors
    /// What clone says; `TimedOut` or `BrokenPipe` for a copy that has not submitted it. It is gone then, and the entry is
    /// where it was, unless `taken` says otherwise.
    pub(crate) fn submit_one(
        ring: RawFd,
        file: RawFd,
        mut taken: impl FnMut() -> bool,
    ) -> io::Result<Self> {
        let kept = [ring.min(file), ring.max(file)];
        let mut sender = Self { pid: copy(ring, kept)?, collected: false };
        let started = Instant::now();
        while !taken() {
            if sender.has_ended() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if started.elapsed() >= LIMIT {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(sender)
    }

    /// Whether there is nothing to wait for any more; collects its status if it has just ended.
    fn has_ended(&mut self) -> bool {
        let flags = libc::WNOHANG | libc::__WALL;
        // SAFETY: the number is its own until its status is collected, and no status is asked for.
        self.collected =
            self.collected || unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), flags) } != 0;
        self.collected
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // SAFETY: its status is not collected, so the number is its own.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        let started = Instant::now();
        // One whose command does not end is left to whoever inherits this process's children.
        while !self.has_ended() && started.elapsed() < LIMIT {
            std::thread::sleep(LOOK);
        }
    }
}

/// Makes the copy; signals are the caller's alone.
fn copy(ring: RawFd, kept: [RawFd; 2]) -> io::Result<libc::pid_t> {
    let parent = std::process::id().cast_signed();
    let no_argument: libc::c_ulong = 0;
    // SAFETY: the sets are this function's; the copy has its own memory, makes only system calls, which are safe after a
    // copy of a process with threads, and never returns.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        // As fork, but no signal tells of its end.
        let made = libc::syscall(
            libc::SYS_clone,
            no_argument,
            no_argument,
            no_argument,
            no_argument,
            no_argument,
        );
        if made == 0 {
            send(parent, ring, kept);
        }
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        match libc::pid_t::try_from(made) {
            Ok(pid) if pid > 0 => Ok(pid),
            _ => Err(error),
        }
    }
}

/// What the copy does: it lets go of all files but `kept`, among them the device's, submits, and is there.
///
/// # Safety
/// To be called in a copy that has no other thread, and the memory of nobody else.
unsafe fn send(parent: libc::pid_t, ring: RawFd, kept: [RawFd; 2]) -> ! {
    let close = |first: RawFd, last: RawFd| {
        if first <= last {
            // SAFETY: closes files of the copy, which nothing in it uses.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    };
    die_with(parent);
    close(0, kept[0] - 1);
    close(kept[0] + 1, kept[1] - 1);
    close(kept[1] + 1, RawFd::MAX);
    let (submit, wait, flags) = (1, 0, 0);
    let no_set: libc::c_ulong = 0;
    // SAFETY: the calls touch no memory; the ring's queue is the kernel's, by the descriptor.
    unsafe {
        if libc::syscall(libc::SYS_io_uring_enter, ring, submit, wait, flags, no_set, no_set) != 1 {
            libc::_exit(1);
        }
    }
    pause_for_ever()
}
