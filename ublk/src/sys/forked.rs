//! A forked copy of this process that does nothing but hold what the process held: for tests of who keeps a device open.

use std::io;

/// The copy. Dropping it kills it.
#[derive(Debug)]
pub struct Forked {
    pid: libc::pid_t,
}

impl Forked {
    /// Forks. The copy sleeps until it is killed, and dies with its parent.
    ///
    /// # Errors
    /// What fork says.
    pub fn new() -> io::Result<Self> {
        let parent = std::process::id().cast_signed();
        // SAFETY: the copy makes only a few calls, all of them safe after a fork of a process with threads, and never returns.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => sleep_for_ever(parent),
            pid => Ok(Self { pid }),
        }
    }
}

fn sleep_for_ever(parent: libc::pid_t) -> ! {
    die_with(parent);
    pause_for_ever()
}

/// Has this copy be killed when the thread of `parent` that made it ends, or ends it now if that has happened.
pub(super) fn die_with(parent: libc::pid_t) {
    // SAFETY: none of the calls touches memory.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        // The parent may have died before that was asked for.
        if libc::getppid() != parent {
            libc::_exit(0);
        }
    }
}

pub(super) fn pause_for_ever() -> ! {
    loop {
        // SAFETY: it touches no memory.
        unsafe { libc::pause() };
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // SAFETY: the child is not collected before here, so the number is its own; no status is asked for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_copy_holds_a_pipe_open_until_it_is_dropped() {
        let (mut reader, writer) = io::pipe().expect("pipe");
        let copy = Forked::new().expect("forked");
        drop(writer);
        drop(copy);
        // The end of file comes only when nobody holds the writing end.
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte).expect("read"), 0);
    }
}
