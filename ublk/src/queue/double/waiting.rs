//! What a double does when it has nothing to deliver and nobody has asked for anything: it waits for a
//! sleep to be over or a bell to ring, as the kernel would, but never for ever.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::Double;
use crate::queue::Completion;

/// A sleep of a task.
#[derive(Debug)]
pub(super) struct Sleeper {
    slot: u32,
    index: u8,
    until: Instant,
}

impl Sleeper {
    pub(super) fn new(slot: u32, index: u8, duration: Duration) -> Self {
        let now = Instant::now();
        // One that is too long to be said is one nobody waits for.
        let until = now.checked_add(duration).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        Self { slot, index, until }
    }
}

/// The descriptor that wakes tasks.
#[derive(Debug)]
pub(super) struct Bell {
    /// Kept open here: whoever armed it may close theirs.
    fd: OwnedFd,
    from: RawFd,
    armed: bool,
}

impl Bell {
    pub(super) fn arm(bell: &mut Option<Self>, fd: BorrowedFd<'_>) -> io::Result<()> {
        match bell {
            Some(bell) if bell.from == fd.as_raw_fd() => bell.armed = true,
            _ => {
                let from = fd.as_raw_fd();
                *bell = Some(Self { fd: fd.try_clone_to_owned()?, from, armed: true });
            }
        }
        Ok(())
    }

    /// Waits for it to ring.
    #[cfg(not(miri))]
    fn rings_within(&self, timeout: Duration) -> io::Result<bool> {
        use nix::errno::Errno;
        use nix::poll::{PollFd, PollFlags, ppoll};
        use nix::sys::signal::SigSet;
        use nix::sys::time::TimeSpec;

        // Not poll(2), which would make a millisecond of each microsecond.
        let mask = SigSet::thread_get_mask()?;
        let mut bell = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut bell, Some(TimeSpec::from_duration(timeout)), Some(mask)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Miri knows no poll(2), but reads: a bell that was silenced here has rung all the same.
    #[cfg(miri)]
    fn rings_within(&self, timeout: Duration) -> io::Result<bool> {
        use nix::errno::Errno;

        match nix::unistd::read(self.fd.as_fd(), &mut [0; 8]) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => {
                std::thread::sleep(timeout.min(Duration::from_millis(1)));
                Ok(false)
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Double {
    /// Whether a task has a request that is not answered.
    fn has_tasks(&self) -> bool {
        let with_task = |(slot, busy): (usize, bool)| {
            busy && !self.slots[slot].armed && !self.memory.gates.is_queues(slot as u32)
        };
        self.slots.iter().map(|slot| slot.busy).enumerate().any(with_task)
    }

    /// Until something happens. Where nothing can, the device has come to its end.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        if !self.has_tasks() {
            self.end();
            return Ok(());
        }
        let give_up = Instant::now() + self.patience;
        loop {
            let now = Instant::now();
            if self.wake_sleepers(now) {
                return Ok(());
            }
            if now >= give_up {
                self.completions.push_back(Completion::Watch);
                return Ok(());
            }
            let first = self.sleepers.iter().map(|sleeper| sleeper.until).min();
            let next = first.map_or(give_up, |first| first.min(give_up));
            let timeout = next.saturating_duration_since(now);
            match self.bell.as_mut().filter(|bell| bell.armed) {
                Some(bell) if bell.rings_within(timeout)? => {
                    bell.armed = false;
                    self.completions.push_back(Completion::Wake);
                    return Ok(());
                }
                Some(_) => {}
                None => std::thread::sleep(timeout),
            }
        }
    }

    /// Ends the sleeps that are over.
    fn wake_sleepers(&mut self, now: Instant) -> bool {
        let (mut over, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sleepers).into_iter().partition(|sleep| sleep.until <= now);
        self.sleepers = rest;
        // However late we look: the shorter sleep was over first.
        over.sort_by_key(|sleeper| sleeper.until);
        for Sleeper { slot, index, .. } in &over {
            self.memory.gates.leave_kernel(*slot);
            let (slot, index, result) = (*slot, *index, -libc::ETIME);
            self.completions.push_back(Completion::Operation { slot, index, result });
        }
        !over.is_empty()
    }
}
