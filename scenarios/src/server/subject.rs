//! A device of the server under test, opened, with what it should hold: in a reference, and in the file behind it.

use reports::event::FailureKind;

use super::input::ServerInput;
use super::served::{Served, Wish};
use super::words::Word;
use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::{Context, During, Stop};
use crate::oracle::Reference;
use crate::recovery::kit::{Backing, SIZE_BYTES};
use crate::signature::{self, SECTOR_BYTES};

/// A live, open device and what it should hold.
pub(super) struct Subject {
    // Dropped first: a device that is still open cannot be deleted.
    pub(super) device: BlockDevice,
    pub(super) served: Served,
    pub(super) reference: Reference,
    pub(super) backing: Backing,
    pub(super) generation: u64,
}

impl Subject {
    /// A new device of zeros.
    pub(super) fn start(
        context: &mut Context,
        input: &ServerInput,
        wish: &Wish,
    ) -> Result<Self, Stop> {
        let backing = Backing::new("server")?;
        let served = Served::start(context, input, wish, &backing)?;
        let device = BlockDevice::open(&served.block_device(), context.command_timeout())?;
        let reference = Reference::zeros("server", SIZE_BYTES)?;
        Ok(Self { device, served, reference, backing, generation: 0 })
    }

    /// Writes signatures of a new generation, here and into the reference.
    pub(super) fn write(
        &mut self,
        context: &Context,
        offset_bytes: u64,
        len_bytes: usize,
    ) -> Result<(), Stop> {
        self.generation += 1;
        let mut buffer = AlignedBuffer::zeroed(len_bytes);
        let sector = offset_bytes / SECTOR_BYTES as u64;
        signature::fill(&mut buffer, sector, self.generation, context.seed);
        self.device.write_at(offset_bytes, &buffer).map_err(|error| {
            let what = format!("a write of {len_bytes} bytes at {offset_bytes} fails: {error}");
            Stop::fail(FailureKind::Operation, what)
        })?;
        self.reference.write(offset_bytes, &buffer)
    }

    /// Fills the whole device.
    pub(super) fn fill(&mut self, context: &Context) -> Result<(), Stop> {
        const CHUNK_BYTES: usize = 256 << 10;
        for offset in (0..SIZE_BYTES).step_by(CHUNK_BYTES) {
            self.write(context, offset, CHUNK_BYTES)?;
        }
        Ok(())
    }

    /// Compares the whole device with the reference; its MD5.
    pub(super) fn check(&self, context: &mut Context, when: &str) -> Result<String, Stop> {
        self.reference.check_device(context, &self.device, when)
    }

    /// Flushes, and compares the file behind the device with the reference: no server is asked for it.
    pub(super) fn check_file(&self, context: &mut Context, when: &str) -> Result<(), Stop> {
        if !self.served.input.adapter.takes(Word::File) {
            return Ok(());
        }
        let flushed = self.device.flush();
        let what = format!("{when}: a flush succeeds ({flushed:?})");
        context.check(FailureKind::Operation, what, flushed.is_ok())?;
        check_file(context, &self.backing, &self.reference, when)
    }

    /// Compares once more, stops the server, and compares its file: nothing of either may be missing.
    pub(super) fn finish(self, context: &mut Context) -> Result<String, Stop> {
        let md5 = self.check(context, "before the stop")?;
        let Self { device, served, reference, backing, .. } = self;
        let has_file = served.input.adapter.takes(Word::File);
        drop(device);
        served.stop(context)?;
        if has_file {
            check_file(context, &backing, &reference, "after the stop")?;
        }
        Ok(md5)
    }
}

/// Compares the file behind a device with the reference.
pub(super) fn check_file(
    context: &mut Context,
    backing: &Backing,
    reference: &Reference,
    when: &str,
) -> Result<(), Stop> {
    let observed = std::fs::read(backing.path()).during("read the file behind the device")?;
    let mut expected = vec![0; observed.len()];
    reference.read(0, &mut expected)?;
    let told = signature::first_difference(0, &observed, &expected);
    let what = format!("{when}: the file holds what was acknowledged ({told:?})");
    context.check(FailureKind::DataMismatch, what, told.is_none())
}
