//! Any target, and things that go wrong: for tests of file systems, databases and of this crate itself.
//! What goes wrong when is said by [`FaultRule`]s, which are deterministic: with one queue and one request
//! at a time, the same requests meet the same faults each time.
//!
//! Faults of the data (`flip`, `flip-metadata`, a short write) happen between the queue and the target. Faults of the
//! answer (`never`, `reorder`, a short read) happen in the seam behind it,
//! [`Target::before_commit`].

mod language;
mod metadata;
mod rule;
mod zones;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use language::FaultRuleError;
pub use rule::{DELAY_MAX, Fault, FaultRule};

use super::{
    Capabilities, CommitDecision, Extents, Finished, Hints, IntegrityTarget, Op, Target,
    ZonedTarget,
};

/// A target whose requests meet faults.
#[derive(Debug)]
pub struct FaultTarget<T> {
    inner: T,
    rules: Vec<FaultRule>,
}

/// What befalls the data of a request that is done after all.
#[derive(Default)]
struct Spoil {
    /// This byte of it is inverted.
    flip: Option<u64>,
    /// This dice says which byte of the metadata is.
    flip_metadata: Option<u64>,
    /// Only so many bytes are written.
    keep_bytes: Option<u64>,
}

impl<T: Target> FaultTarget<T> {
    /// `inner`, with these rules. Each is asked for each request, in that order.
    pub fn new(inner: T, rules: Vec<FaultRule>) -> Self {
        Self { inner, rules }
    }

    /// The target below.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// The faults that the rules choose for a request, of those that `mine` says belong to this moment.
    fn faults(
        &self,
        mine: fn(&Fault, Op) -> bool,
        op: Op,
        offset: u64,
        len: u64,
    ) -> impl Iterator<Item = (Fault, u64)> {
        (0..).zip(&self.rules).filter_map(move |(number, rule)| {
            let chosen = mine(&rule.fault(), op) && rule.matches(op, offset, len);
            let dice = if chosen { rule.draw(number) } else { None };
            dice.map(|dice| (rule.fault(), dice))
        })
    }

    /// Everything that happens before the target sees a request.
    fn before(&self, op: Op, offset: u64, len: u64) -> io::Result<Spoil> {
        let mut spoil = Spoil::default();
        for (fault, dice) in self.faults(Fault::is_before, op, offset, len) {
            match fault {
                Fault::Delay(time) => wait(time),
                Fault::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
                Fault::Flip => spoil.flip = dice.checked_rem(len),
                Fault::FlipMetadata => spoil.flip_metadata = Some(dice),
                Fault::Short(bytes) => spoil.keep_bytes = Some(u64::from(bytes)),
                Fault::Die => die(),
                Fault::Never | Fault::Reorder => {}
            }
        }
        Ok(spoil)
    }
}

/// Blocks the queue's thread, and with it all tags of its queues: the sync door knows no other wait.
fn wait(time: Duration) {
    std::thread::sleep(time.min(DELAY_MAX));
}

/// Ends the process as nothing can prevent it from being ended.
fn die() -> ! {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    std::process::abort()
}

fn invert(bytes: &mut [u8], at: u64) {
    if let Some(byte) = bytes.get_mut(at as usize) {
        *byte ^= 0xff;
    }
}

impl<T: Target> Target for FaultTarget<T> {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn capabilities(&self) -> Capabilities {
        let inner = self.inner.capabilities();
        // What never passes through here cannot be spoiled here.
        let spoils = |rule: &FaultRule| matches!(rule.fault(), Fault::Flip | Fault::Short(_));
        let spoils = self.rules.iter().any(spoils);
        Capabilities {
            extents: inner.extents && !spoils,
            ignores_data: inner.ignores_data && !spoils,
            ..inner
        }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_hinted(offset_bytes, buffer, Hints::default())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        self.write_hinted(offset_bytes, data, fua, Hints::default())
    }

    fn read_hinted(&self, offset_bytes: u64, buffer: &mut [u8], hints: Hints) -> io::Result<()> {
        let spoil = self.before(Op::Read, offset_bytes, buffer.len() as u64)?;
        self.inner.read_hinted(offset_bytes, buffer, hints)?;
        if let Some(at) = spoil.flip {
            invert(buffer, at);
        }
        Ok(())
    }

    fn write_hinted(
        &self,
        offset_bytes: u64,
        data: &[u8],
        fua: bool,
        hints: Hints,
    ) -> io::Result<()> {
        let spoil = self.before(Op::Write, offset_bytes, data.len() as u64)?;
        let kept = spoil.keep_bytes.map_or(data.len(), |bytes| data.len().min(bytes as usize));
        let Some(at) = spoil.flip else {
            return self.inner.write_hinted(offset_bytes, &data[..kept], fua, hints);
        };
        let mut data = data[..kept].to_vec();
        invert(&mut data, at);
        self.inner.write_hinted(offset_bytes, &data, fua, hints)
    }

    fn flush(&self) -> io::Result<()> {
        self.before(Op::Flush, 0, 0)?;
        self.inner.flush()
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        self.before(Op::Discard, offset_bytes, len_bytes)?;
        self.inner.discard(offset_bytes, len_bytes)
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        self.before(Op::WriteZeroes, offset_bytes, len_bytes)?;
        self.inner.write_zeroes(offset_bytes, len_bytes, may_unmap)
    }

    fn files(&self) -> Vec<Arc<std::fs::File>> {
        self.inner.files()
    }

    fn extents(
        &self,
        op: Op,
        offset_bytes: u64,
        len_bytes: u32,
        extents: &mut Extents,
    ) -> io::Result<()> {
        self.before(op, offset_bytes, u64::from(len_bytes))?;
        self.inner.extents(op, offset_bytes, len_bytes, extents)
    }

    fn zoned(&self) -> Option<&dyn ZonedTarget> {
        self.inner.zoned().map(|_| self as &dyn ZonedTarget)
    }

    fn integrity(&self) -> Option<&dyn IntegrityTarget> {
        self.inner.integrity().map(|_| self as &dyn IntegrityTarget)
    }

    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        let Finished { op, offset_bytes, len_bytes, .. } = *finished;
        let mut decision = self.inner.before_commit(finished);
        for (fault, _) in self.faults(Fault::is_after, op, offset_bytes, len_bytes) {
            decision = match (fault, decision) {
                (_, CommitDecision::Never) | (Fault::Never, _) => CommitDecision::Never,
                (Fault::Reorder, CommitDecision::Commit(result)) => {
                    CommitDecision::CommitAfterNext(result)
                }
                // Fewer than were done, and never more.
                (Fault::Short(bytes), CommitDecision::Commit(result)) => {
                    CommitDecision::Commit(result.min(bytes.cast_signed()))
                }
                (_, decided) => decided,
            };
        }
        decision
    }
}

#[cfg(test)]
mod tests;
