//! The disk as whoever tests a target sees it: how it is made, and what can be asked of it.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Answer, Request};
use crate::params::{ParamsBuilder, ParamsError};
use crate::queue::double::Double;
use crate::queue::{CounterSnapshot, QueueError, Worker};
use crate::server::DataMode;
use crate::target::{AsyncTarget, Capabilities, Op, Target, ZoneGeometry, ZonedTarget};
use crate::uapi::{IoFlags, Params, SECTOR_BYTES};

/// Requests in flight at once, as a server has it by default.
const DEPTH_DEFAULT: u16 = 64;

/// What a target says about itself, and how a thread serves it, through whichever door.
#[derive(Debug)]
pub(super) struct Door<T> {
    pub(super) size_bytes: fn(&T) -> u64,
    pub(super) capabilities: fn(&T) -> Capabilities,
    pub(super) files: fn(&T) -> Vec<Arc<File>>,
    pub(super) geometry: fn(&T) -> Option<ZoneGeometry>,
    pub(super) serve: fn(&T, &mut Worker<Double>) -> Result<(), QueueError>,
}

/// A target behind a double of the driver; see the [module](super).
///
/// Each call is served on the calling thread, and several threads may call at the same time, as the queues
/// of a device would.
#[derive(Debug)]
pub struct Disk<T> {
    pub(super) target: T,
    pub(super) door: Door<T>,
    pub(super) params: Params,
    pub(super) mode: DataMode,
    pub(super) depth: u16,
    pub(super) patience: Duration,
    pub(super) counters: Mutex<CounterSnapshot>,
}

impl<T: Target> Disk<T> {
    /// A disk with this target, with the parameters that a server would give it: data mode copy, 64
    /// requests in flight, each of 512 KiB at most.
    ///
    /// # Errors
    /// [`ParamsError`] for a target that no device could have.
    pub fn new(target: T) -> Result<Self, ParamsError> {
        Self::with_door(
            target,
            Door {
                size_bytes: T::size_bytes,
                capabilities: T::capabilities,
                files: T::files,
                geometry: |target| target.zoned().map(ZonedTarget::geometry),
                serve: |target, worker| worker.serve(target),
            },
        )
    }
}

impl<T: AsyncTarget> Disk<T> {
    /// The same with an async target.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_async(target: T) -> Result<Self, ParamsError> {
        Self::with_door(
            target,
            Door {
                size_bytes: T::size_bytes,
                capabilities: T::capabilities,
                files: T::files,
                geometry: |_| None,
                serve: |target, worker| worker.serve_async(target),
            },
        )
    }
}

impl<T> Disk<T> {
    fn with_door(target: T, door: Door<T>) -> Result<Self, ParamsError> {
        let disk = Self {
            target,
            door,
            params: Params::default(),
            mode: DataMode::default(),
            depth: DEPTH_DEFAULT,
            patience: Duration::from_secs(10),
            counters: Mutex::default(),
        };
        disk.with_params(|params| params)
    }

    /// Chooses what [`ServerBuilder::params`](crate::server::ServerBuilder::params) does: the logical
    /// block, the largest request, and so on.
    ///
    /// # Errors
    /// [`ParamsError`] for what no device could have.
    pub fn with_params(
        mut self,
        choose: impl FnOnce(ParamsBuilder) -> ParamsBuilder,
    ) -> Result<Self, ParamsError> {
        let capabilities = (self.door.capabilities)(&self.target);
        let params = ParamsBuilder::new((self.door.size_bytes)(&self.target), capabilities)
            .zoned((self.door.geometry)(&self.target));
        self.params = choose(params).build()?;
        Ok(self)
    }

    /// How bytes move; [`DataMode::Copy`] unless given. With
    /// [`AutoZeroCopyFallback`](DataMode::AutoZeroCopyFallback) every second request is one whose pages
    /// the kernel could not register.
    #[must_use]
    pub fn with_mode(mut self, mode: DataMode) -> Self {
        self.mode = mode;
        self
    }

    /// How many requests are in flight at once, at least 1; 64 unless given. More wait for their turn.
    #[must_use]
    pub fn with_depth(mut self, depth: u16) -> Self {
        self.depth = depth.max(1);
        self
    }

    /// How long to wait for an async target that neither goes on nor is woken, until its requests count as
    /// never answered; 10 seconds unless given.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The target.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// The target, for whoever wants to look at it after a crash of the disk.
    pub fn into_target(self) -> T {
        self.target
    }

    /// The disk's size in bytes, which may be less than the target's: it is whole logical blocks.
    pub fn size_bytes(&self) -> u64 {
        self.params.basic.dev_sectors * SECTOR_BYTES
    }

    /// The parameters that a device with this target would have.
    pub fn params(&self) -> Params {
        self.params
    }

    /// What was done so far, counted as a server counts it.
    pub fn counters(&self) -> CounterSnapshot {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all of `buffer` from `offset_bytes`, in pieces if it is more than one request can have.
    ///
    /// # Errors
    /// The errno that an application would see; [`Refused`](super::Refused) for what the kernel would
    /// never send to the target; `TimedOut` without an errno where the target never answers.
    pub fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let pieces = self.pieces(Op::Read, offset_bytes, buffer.len() as u64)?;
        let requests: Vec<Request> =
            pieces.iter().map(|(at, len)| Request::read(*at, *len as u32)).collect();
        for answer in self.all(&requests)? {
            let start = (pieces[answer.request].0 - offset_bytes) as usize;
            let bytes = answer.result?;
            buffer[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }

    /// Writes all of `data` at `offset_bytes`, in pieces if it is more than one request can have.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.write_pieces(offset_bytes, data, false)
    }

    /// Writes durably, as the block layer does it: with FUA where the target has it; else, where it has a
    /// cache, followed by a flush.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write_fua(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        let limits = self.limits();
        let fua = limits.check_kind(Op::Write, IoFlags::FUA).is_ok();
        let cached = limits.check_kind(Op::Flush, IoFlags::empty()).is_ok();
        self.write_pieces(offset_bytes, data, fua)?;
        if cached && !fua { self.flush() } else { Ok(()) }
    }

    fn write_pieces(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        let request = |(at, len): &(u64, u64)| {
            let start = (at - offset_bytes) as usize;
            let write = Request::write(*at, &data[start..start + *len as usize]);
            if fua { write.fua() } else { write }
        };
        let pieces = self.pieces(Op::Write, offset_bytes, data.len() as u64)?;
        self.all(&pieces.iter().map(request).collect::<Vec<_>>())?.into_iter().try_for_each(done)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn flush(&self) -> io::Result<()> {
        done(self.one(Request::flush())?)
    }

    /// Forgets a range.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        let pieces = self.pieces(Op::Discard, offset_bytes, len_bytes)?;
        let request = |(at, len): &(u64, u64)| Request::discard(*at, *len);
        self.all(&pieces.iter().map(request).collect::<Vec<_>>())?.into_iter().try_for_each(done)
    }

    /// Makes a range read as zeroes; without `may_unmap` its storage must stay reserved.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write_zeroes(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        may_unmap: bool,
    ) -> io::Result<()> {
        let pieces = self.pieces(Op::WriteZeroes, offset_bytes, len_bytes)?;
        let request = |(at, len): &(u64, u64)| {
            let zeroes = Request::write_zeroes(*at, *len);
            if may_unmap { zeroes } else { zeroes.no_unmap() }
        };
        self.all(&pieces.iter().map(request).collect::<Vec<_>>())?.into_iter().try_for_each(done)
    }

    /// Sends several requests at once, as many at a time as may be in flight, and gives their answers in
    /// the order in which they came. Those that the target never answers are not among them.
    ///
    /// # Errors
    /// [`Refused`](super::Refused) for one that the kernel would never send; then none was sent. An error
    /// that no application would see, where the double could not be made.
    pub fn submit(&self, requests: &[Request]) -> io::Result<Vec<Answer>> {
        for request in requests {
            self.limits().check(request)?;
        }
        self.serve(requests)
    }
}

fn done(answer: Answer) -> io::Result<()> {
    answer.result.map(drop)
}
