//! Requests as a block layer makes them, and what becomes of them: in bytes, for whoever writes a test
//! thinks in bytes.

use std::io;

use crate::queue::double::Work;
use crate::target::{Hints, Op, ZoneAction};
use crate::uapi::{IoDesc, IoFlags, SECTOR_BYTES};

/// A request to a [`Disk`](super::Disk).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(super) op: Op,
    pub(super) offset_bytes: u64,
    /// What it covers. Of a report: how many zones.
    pub(super) len: u64,
    pub(super) data: Vec<u8>,
    pub(super) flags: IoFlags,
}

impl Request {
    fn new(op: Op, offset_bytes: u64, len: u64) -> Self {
        Self { op, offset_bytes, len, data: Vec::new(), flags: IoFlags::empty() }
    }

    /// Reads `len_bytes` from `offset_bytes`.
    #[must_use]
    pub fn read(offset_bytes: u64, len_bytes: u32) -> Self {
        Self::new(Op::Read, offset_bytes, len_bytes.into())
    }

    /// Writes `data` at `offset_bytes`.
    #[must_use]
    pub fn write(offset_bytes: u64, data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        Self { data: data.clone(), ..Self::new(Op::Write, offset_bytes, data.len() as u64) }
    }

    /// Makes what was written durable.
    #[must_use]
    pub fn flush() -> Self {
        Self::new(Op::Flush, 0, 0)
    }

    /// Forgets a range.
    #[must_use]
    pub fn discard(offset_bytes: u64, len_bytes: u64) -> Self {
        Self::new(Op::Discard, offset_bytes, len_bytes)
    }

    /// Makes a range read as zeroes; its storage may be given back.
    #[must_use]
    pub fn write_zeroes(offset_bytes: u64, len_bytes: u64) -> Self {
        Self::new(Op::WriteZeroes, offset_bytes, len_bytes)
    }

    /// Writes `data` at the write pointer of the zone that begins at `offset_bytes`.
    #[must_use]
    pub fn append(offset_bytes: u64, data: impl Into<Vec<u8>>) -> Self {
        Self { op: Op::ZoneAppend, ..Self::write(offset_bytes, data) }
    }

    /// Describes `zones` zones from the one that begins at `offset_bytes` on. The answer's bytes are an
    /// array of `struct blk_zone`; [`Disk::report`](super::Disk::report) decodes them.
    #[must_use]
    pub fn report(offset_bytes: u64, zones: u32) -> Self {
        Self::new(Op::ReportZones, offset_bytes, zones.into())
    }

    /// Does something to the zone that begins at `offset_bytes`.
    #[must_use]
    pub fn manage(action: ZoneAction, offset_bytes: u64) -> Self {
        let op = match action {
            ZoneAction::Open => Op::ZoneOpen,
            ZoneAction::Close => Op::ZoneClose,
            ZoneAction::Finish => Op::ZoneFinish,
            ZoneAction::Reset => Op::ZoneReset,
        };
        Self::new(op, offset_bytes, 0)
    }

    /// Empties every zone.
    #[must_use]
    pub fn reset_all() -> Self {
        Self::new(Op::ZoneResetAll, 0, 0)
    }

    /// Makes a write one that must be durable when it is answered.
    #[must_use]
    pub fn fua(mut self) -> Self {
        self.flags |= IoFlags::FUA;
        self
    }

    /// Makes a write-zeroes one that must keep its storage.
    #[must_use]
    pub fn no_unmap(mut self) -> Self {
        self.flags |= IoFlags::NOUNMAP;
        self
    }

    /// Says something about the request, as its sender may.
    #[must_use]
    pub fn hinted(mut self, hints: Hints) -> Self {
        self.flags |= hints.flags();
        self
    }

    /// What is asked for.
    #[must_use]
    pub fn op(&self) -> Op {
        self.op
    }

    /// The bytes between the target and whoever asks.
    pub(super) fn data_len_bytes(&self) -> u64 {
        match self.op {
            Op::Read => self.len,
            Op::ReportZones => self.len * size_of::<crate::uapi::BlkZone>() as u64,
            _ => self.data.len() as u64,
        }
    }

    /// As the driver puts it into a descriptor. Whether it fits was checked.
    pub(super) fn work(&self) -> Work {
        let (start_sector, nr_sectors) = match self.op {
            // It is about no sector, and the block layer says so with all ones.
            Op::Flush => (u64::MAX, 0),
            Op::ReportZones => (self.offset_bytes / SECTOR_BYTES, self.len),
            _ => (self.offset_bytes / SECTOR_BYTES, self.len / SECTOR_BYTES),
        };
        let op_flags = u32::from(self.op.code()) | self.flags.bits();
        let nr_sectors = u32::try_from(nr_sectors).unwrap_or(u32::MAX);
        Work {
            descriptor: IoDesc { op_flags, nr_sectors, start_sector, addr: 0 },
            data: self.data.clone(),
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    /// Which of the requests that were submitted together: its place among them.
    pub request: usize,
    /// What was read, empty for everything else; or the errno that the application sees.
    pub result: io::Result<Vec<u8>>,
    /// Where a zone append was put, in bytes from the start of the device.
    pub appended_at_bytes: Option<u64>,
}
