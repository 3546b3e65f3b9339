//! Servers with one deliberate bug, to see whether the suite notices.
//!
//! A mutant wraps a correct target and spoils one thing. The canaries are built on it, and so is the
//! proof that a scenario can fail at all.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ublk::target::{Capabilities, CommitDecision, Finished, Target};

/// One deliberate bug.
#[derive(Clone, Copy, Debug)]
pub enum Bug {
    /// The bit 0 of one byte of the n-th write is flipped.
    CorruptByte {
        /// Which write, from 0.
        write: u64,
    },
    /// The n-th write is acknowledged and forgotten.
    LostWrite {
        /// Which write, from 0.
        write: u64,
    },
    /// Every read is answered from the sector before.
    WrongSector,
    /// FLUSH is acknowledged and ignored.
    IgnoredFlush,
    /// The n-th request of any sort is never completed.
    NeverComplete {
        /// Which request, from 0.
        request: u64,
    },
    /// The n-th write dies of a page fault.
    Segfault {
        /// Which write, from 0.
        write: u64,
        /// What dies.
        crash: fn() -> !,
    },
}

/// A target with one [`Bug`].
#[derive(Debug)]
pub struct Mutant<T> {
    inner: T,
    bug: Bug,
    writes: AtomicU64,
    requests: AtomicU64,
}

impl<T: Target> Mutant<T> {
    /// `inner`, spoiled by `bug`.
    pub fn new(inner: T, bug: Bug) -> Self {
        Self { inner, bug, writes: AtomicU64::new(0), requests: AtomicU64::new(0) }
    }
}

impl<T: Target> Target for Mutant<T> {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset_bytes = match self.bug {
            Bug::WrongSector => offset_bytes.saturating_sub(512),
            _ => offset_bytes,
        };
        self.inner.read(offset_bytes, buffer)
    }

    fn write(&self, offset_bytes: u64, buffer: &[u8], fua: bool) -> io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        match self.bug {
            Bug::LostWrite { write } if write == number => Ok(()),
            Bug::CorruptByte { write } if write == number => {
                let mut spoiled = buffer.to_vec();
                if let Some(byte) = spoiled.get_mut(buffer.len() / 2) {
                    *byte ^= 1;
                }
                self.inner.write(offset_bytes, &spoiled, fua)
            }
            Bug::Segfault { write, crash } if write == number => crash(),
            _ => self.inner.write(offset_bytes, buffer, fua),
        }
    }

    fn flush(&self) -> io::Result<()> {
        match self.bug {
            Bug::IgnoredFlush => Ok(()),
            _ => self.inner.flush(),
        }
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        self.inner.discard(offset_bytes, len_bytes)
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        self.inner.write_zeroes(offset_bytes, len_bytes, may_unmap)
    }

    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        match self.bug {
            Bug::NeverComplete { request } if request == number => CommitDecision::Never,
            _ => CommitDecision::Commit(finished.result),
        }
    }
}

/// The process of a mutated ramdisk: `runner mutant NAME`. A process of its own, because a server that is
/// its own client cannot die: the client's request keeps the process, and the process keeps the request.
pub mod process {
    use std::process::ExitCode;

    use ublk::server::Server;
    use ublk::target::RamTarget;

    use super::{Bug, Mutant};
    use crate::context::Hooks;

    const SIZE_BYTES: u64 = 1 << 20;

    /// The bug called `name`.
    #[must_use]
    pub fn bug(name: &str, hooks: Hooks) -> Option<Bug> {
        Some(match name {
            "corrupt-byte" => Bug::CorruptByte { write: 3 },
            "lost-write" => Bug::LostWrite { write: 3 },
            "wrong-sector" => Bug::WrongSector,
            "ignored-flush" => Bug::IgnoredFlush,
            "never-complete" => Bug::NeverComplete { request: 0 },
            "segfault" => Bug::Segfault { write: 0, crash: hooks.segfault },
            _ => return None,
        })
    }

    /// Serves until it is killed. Prints what `ublk add --json` prints when the device is live.
    #[must_use]
    pub fn main(name: &str, hooks: Hooks) -> ExitCode {
        let Some(bug) = bug(name, hooks) else {
            eprintln!("runner: mutant: there is no bug `{name}`");
            return ExitCode::from(2);
        };
        let ram = match RamTarget::new(SIZE_BYTES) {
            Ok(ram) => ram,
            Err(error) => return failed(&error),
        };
        let server = match Server::builder(Mutant::new(ram, bug)).queues(1).depth(8).start() {
            Ok(server) => server,
            Err(error) => return failed(&error),
        };
        let live = serde_json::json!({
            "id": server.info().dev_id,
            "block_device": server.block_device_path(),
            "char_device": server.char_device_path(),
            "pid": std::process::id(),
        });
        println!("{live}");
        loop {
            std::thread::park();
        }
    }

    fn failed(error: &dyn std::error::Error) -> ExitCode {
        eprintln!("runner: mutant: {error}");
        ExitCode::FAILURE
    }
}

/// A disk with a volatile cache that can lose its power: what was not flushed is gone.
///
/// It makes FLUSH observable. The usual ramdisk cannot tell a server that flushes from one that does
/// not.
#[derive(Debug)]
pub struct VolatileDisk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cached: Vec<u8>,
    durable: Vec<u8>,
    flushes: u64,
    fua_writes: u64,
}

impl VolatileDisk {
    /// A disk of `size_bytes` zeros.
    #[must_use]
    pub fn new(size_bytes: usize) -> Self {
        let state = State {
            cached: vec![0; size_bytes],
            durable: vec![0; size_bytes],
            flushes: 0,
            fua_writes: 0,
        };
        Self { state: Mutex::new(state) }
    }

    /// What would be left if the power failed now.
    #[must_use]
    pub fn durable(&self) -> Vec<u8> {
        self.locked(|state| state.durable.clone())
    }

    /// Number of FLUSHes and of FUA writes that arrived.
    #[must_use]
    pub fn flushes_and_fua_writes(&self) -> (u64, u64) {
        self.locked(|state| (state.flushes, state.fua_writes))
    }

    fn locked<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let mut guard = match self.state.lock() {
            Ok(guard) => guard,
            // No method leaves the state half changed before a panic could happen.
            Err(poisoned) => poisoned.into_inner(),
        };
        work(&mut guard)
    }
}

fn window(bytes: &mut [u8], offset_bytes: u64, len: usize) -> io::Result<&mut [u8]> {
    let start = usize::try_from(offset_bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    let end = start.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
    bytes.get_mut(start..end).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

impl Target for VolatileDisk {
    fn size_bytes(&self) -> u64 {
        self.locked(|state| state.cached.len() as u64)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { flush: true, fua: true, ..Capabilities::default() }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.locked(|state| {
            buffer.copy_from_slice(window(&mut state.cached, offset_bytes, buffer.len())?);
            Ok(())
        })
    }

    fn write(&self, offset_bytes: u64, buffer: &[u8], fua: bool) -> io::Result<()> {
        self.locked(|state| {
            window(&mut state.cached, offset_bytes, buffer.len())?.copy_from_slice(buffer);
            if fua {
                window(&mut state.durable, offset_bytes, buffer.len())?.copy_from_slice(buffer);
                state.fua_writes += 1;
            }
            Ok(())
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.locked(|state| {
            state.durable.copy_from_slice(&state.cached);
            state.flushes += 1;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_loss_keeps_what_was_flushed_or_forced() {
        let disk = VolatileDisk::new(2048);
        disk.write(0, &[1; 512], false).unwrap();
        disk.write(512, &[2; 512], true).unwrap();
        assert_eq!((disk.durable()[0], disk.durable()[512]), (0, 2));
        disk.flush().unwrap();
        assert_eq!((disk.durable()[0], disk.durable()[512]), (1, 2));
        assert_eq!(disk.flushes_and_fua_writes(), (1, 1));
        assert!(disk.read(2048, &mut [0; 512]).is_err());
    }

    #[test]
    fn each_bug_spoils_what_it_says() {
        let spoiled = |bug| {
            let disk = Mutant::new(VolatileDisk::new(4096), bug);
            disk.write(0, &[1; 512], false).unwrap();
            disk.write(512, &[2; 512], false).unwrap();
            disk.flush().unwrap();
            let mut back = [0; 1024];
            disk.read(0, &mut back).unwrap();
            (back, disk.inner.flushes_and_fua_writes().0)
        };
        let (lost, _) = spoiled(Bug::LostWrite { write: 1 });
        assert_eq!((lost[0], lost[512]), (1, 0));
        let (corrupt, _) = spoiled(Bug::CorruptByte { write: 0 });
        assert_eq!(corrupt.iter().take(512).filter(|b| **b != 1).count(), 1);
        assert_eq!(spoiled(Bug::IgnoredFlush).1, 0);
    }
}
