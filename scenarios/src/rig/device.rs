//! A device made by control commands, and removed again.

use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::ctrl::{Command, Control, CtrlError, Pending};
use ublk::raw::CharFile;
use ublk::sys::arena::Arena;
use ublk::uapi::{DEV_ID_AUTO, DevInfo, Features, ParamBasic, Params};

use super::fetcher::Fetcher;
use super::server::RawServer;
use crate::block::{AlignedBuffer, BlockDevice, nodes, retry};
use crate::context::{Context, During, Stop};
use crate::signature::{fill, first_difference};

/// Bytes of each tag's buffer, and the device's largest request.
pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// Size of the device of a rig.
pub(super) const DEVICE_BYTES: usize = 8 << 20;

/// A device made by ADD_DEV. Dropping it stops and deletes the device.
#[derive(Debug)]
pub struct Rig {
    control: Control,
    /// Device id.
    pub id: u32,
    /// What ADD_DEV answered.
    pub info: DevInfo,
    arena: Arena,
    command_timeout: Duration,
    deleted: bool,
}

/// The memory and the shape of a device; free to go to another thread.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub(super) arena: Arena,
    pub(super) info: DevInfo,
}

/// Parameters of a plain disk of `dev_sectors`, whose requests fit into `buffer_bytes`.
#[must_use]
pub fn plain_params(buffer_bytes: usize, dev_sectors: u64) -> Params {
    Params::new(ParamBasic {
        logical_bs_shift: 9,
        physical_bs_shift: 12,
        io_opt_shift: 12,
        io_min_shift: 9,
        max_sectors: u32::try_from(buffer_bytes / 512).unwrap_or(u32::MAX),
        dev_sectors,
        ..ParamBasic::default()
    })
}

/// Whether each tag has an owner of its own.
#[must_use]
pub fn per_io_daemon(info: &DevInfo) -> bool {
    info.flags.bits() & (1 << 13) != 0
}

impl Rig {
    /// A device without parameters.
    ///
    /// # Errors
    /// When ADD_DEV fails.
    pub fn add(context: &mut Context, queues: u16, depth: u16) -> Result<Self, Stop> {
        Self::add_with(context, queues, depth, Features::empty(), |_| {})
    }

    /// A device without parameters, with features that this kernel offers and a change to ADD_DEV's argument.
    ///
    /// # Errors
    /// [`Stop::Skip`] when the kernel does not offer one of them; else when ADD_DEV fails.
    pub fn add_with(
        context: &mut Context,
        queues: u16,
        depth: u16,
        features: Features,
        change: impl FnOnce(&mut DevInfo),
    ) -> Result<Self, Stop> {
        super::control::offered(features)?;
        let mut control = Control::open()
            .during("open the control device")?
            .with_deadline(context.command_timeout());
        let buffer_bytes = u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX);
        let mut info = DevInfo::new(queues, depth, buffer_bytes, features);
        info.dev_id = DEV_ID_AUTO;
        change(&mut info);
        let info = control.add_dev(&info)?;
        context.step(format_args!(
            "ADD_DEV: device {}, {} queues of {}, flags {:#x}",
            info.dev_id,
            info.nr_hw_queues,
            info.queue_depth,
            info.flags.bits()
        ));
        // Buffers only for devices that will be served: a deep one is only looked at.
        let tags = usize::from(info.nr_hw_queues) * usize::from(info.queue_depth).min(64);
        let arena = Arena::new(tags * BUFFER_BYTES).during("map the tag buffers")?;
        let command_timeout = context.command_timeout();
        Ok(Self { control, id: info.dev_id, info, arena, command_timeout, deleted: false })
    }

    /// A device with parameters, ready to be served.
    ///
    /// # Errors
    /// When ADD_DEV or SET_PARAMS fails.
    pub fn ready(context: &mut Context, queues: u16, depth: u16) -> Result<Self, Stop> {
        Self::ready_with(context, queues, depth, Features::empty())
    }

    /// The same with features that this kernel offers.
    ///
    /// # Errors
    /// [`Stop::Skip`] when the kernel does not offer one of them; else when ADD_DEV or SET_PARAMS fails.
    pub fn ready_with(
        context: &mut Context,
        queues: u16,
        depth: u16,
        features: Features,
    ) -> Result<Self, Stop> {
        let mut rig = Self::add_with(context, queues, depth, features, |_| {})?;
        let params = rig.basic_params();
        rig.control.set_params(rig.id, &params)?;
        Ok(rig)
    }

    /// Parameters of a plain 8 MiB device.
    #[must_use]
    pub fn basic_params(&self) -> Params {
        plain_params(BUFFER_BYTES, DEVICE_BYTES as u64 / 512)
    }

    /// What another thread needs to send I/O commands to this device.
    #[must_use]
    pub fn parts(&self) -> Parts {
        Parts { arena: self.arena, info: self.info }
    }

    /// The control client.
    pub fn control(&mut self) -> &mut Control {
        &mut self.control
    }

    /// A second control client; closing it interrupts what it waits for.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn second_control(&self) -> Result<Control, Stop> {
        Control::open().during("open a second control client")
    }

    /// Opens `/dev/ublkcN`; the release of an earlier opener may still be going on.
    ///
    /// # Errors
    /// When it cannot be opened in time.
    pub fn open(&self, context: &Context) -> Result<CharFile, Stop> {
        retry(context.command_timeout(), || CharFile::open(self.id))
            .during(format_args!("open /dev/ublkc{}", self.id))
    }

    /// Result of SET_PARAMS: 0 or a negative errno.
    ///
    /// # Errors
    /// When there was no answer.
    pub fn set_params_raw(&mut self, _: &Context, params: &Params) -> Result<i32, Stop> {
        result_of(self.control.set_params(self.id, params))
    }

    /// Submits START_DEV with this process as the server.
    ///
    /// # Errors
    /// When it cannot be submitted.
    pub fn start_begin(&mut self) -> Result<Pending, Stop> {
        Ok(self.control.start_dev_begin(self.id, std::process::id().cast_signed())?)
    }

    /// START_DEV with this process as the server; it has to succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self, context: &mut Context) -> Result<(), Stop> {
        let result = self.start_result(context, std::process::id().cast_signed())?;
        context.check_result("START_DEV", result, 0)
    }

    /// Result of START_DEV with `pid`.
    ///
    /// # Errors
    /// When there was no answer in time.
    pub fn start_result(&mut self, _: &Context, pid: i32) -> Result<i32, Stop> {
        result_of(self.control.start_dev(self.id, pid))
    }

    /// Checks that `pending` is not answered while nothing changes.
    ///
    /// # Errors
    /// When it is answered.
    pub fn check_waiting(
        &mut self,
        context: &mut Context,
        pending: &Pending,
        what: &str,
    ) -> Result<(), Stop> {
        let waited = self.control.wait(pending, context.quiet());
        context.check(
            FailureKind::Completion,
            format_args!("{what} waits ({waited:?})"),
            matches!(waited, Err(CtrlError::Timeout { .. })),
        )
    }

    /// Waits for a START_DEV that now has to succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn finish_start(&mut self, context: &mut Context, pending: &Pending) -> Result<(), Stop> {
        let result = result_of(self.control.wait(pending, context.command_timeout()).map(drop))?;
        context.check_result("START_DEV", result, 0)
    }

    /// Waits for `pending` while `fetcher` serves on this very thread. The command's result.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub fn drive(
        &mut self,
        context: &mut Context,
        pending: &Pending,
        fetcher: &mut Fetcher,
    ) -> Result<i32, Stop> {
        let begin = Instant::now();
        loop {
            fetcher.serve_for(Duration::from_millis(5))?;
            match self.control.poll(pending) {
                Ok(Some(_)) => return Ok(0),
                Ok(None) if begin.elapsed() < context.command_timeout() => {}
                Ok(None) => {
                    return Err(Stop::fail(
                        FailureKind::Completion,
                        format_args!("{} got no answer", pending.op().name()),
                    ));
                }
                Err(error) => return result_of(Err(error)),
            }
        }
    }

    /// STOP_DEV while `fetcher` answers what is still in flight, then waits for its tags' abort.
    ///
    /// # Errors
    /// When STOP_DEV or an abort does not come.
    pub fn stop_driven(
        &mut self,
        context: &mut Context,
        fetcher: &mut Fetcher,
    ) -> Result<(), Stop> {
        let pending = self.control.submit(Command::StopDev { dev_id: self.id })?;
        let result = self.drive(context, &pending, fetcher)?;
        context.check_result("STOP_DEV", result, 0)?;
        let begin = Instant::now();
        while !fetcher.all_aborted() && begin.elapsed() < context.command_timeout() {
            fetcher.serve_for(Duration::from_millis(5))?;
        }
        let (aborted, armed) = fetcher.aborted_of_armed();
        context.check_eq(FailureKind::Completion, "FETCHes aborted by STOP_DEV", &aborted, &armed)
    }

    /// Serves until nothing has come for a quiet time: the partition scan is over.
    ///
    /// # Errors
    /// When the ring fails.
    pub fn settle(&mut self, context: &Context, fetcher: &mut Fetcher) -> Result<(), Stop> {
        while fetcher.serve_for(context.quiet())? > 0 {}
        Ok(())
    }

    /// STOP_DEV.
    ///
    /// # Errors
    /// When it fails.
    pub fn stop(&mut self) -> Result<(), Stop> {
        Ok(self.control.stop_dev(self.id)?)
    }

    /// DEL_DEV, after which neither node may be there.
    ///
    /// # Errors
    /// When it fails or a node stays.
    pub fn delete(&mut self, context: &mut Context) -> Result<(), Stop> {
        self.control.del_dev(self.id)?;
        self.deleted = true;
        crate::process::check_no_nodes(context, self.id)
    }

    /// Stops the device, ends its server and deletes it.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn tear_down(&mut self, context: &mut Context, server: RawServer) -> Result<(), Stop> {
        self.stop()?;
        server.end(context)?;
        self.delete(context)
    }

    /// Writes signed sectors through the block device, flushes, reads them back and compares.
    ///
    /// # Errors
    /// When an operation fails or a byte differs.
    pub fn check_round_trip(&mut self, context: &mut Context) -> Result<(), Stop> {
        let failed = |what: &str, error: std::io::Error| {
            Stop::fail(FailureKind::Operation, format_args!("{what} of the round trip: {error}"))
        };
        let device = BlockDevice::open(&nodes(self.id).1, context.command_timeout())?;
        for (offset, len) in
            [(0, 4096), (1 << 20, BUFFER_BYTES), ((3 << 20) + 512, 3 * BUFFER_BYTES)]
        {
            let mut written = AlignedBuffer::zeroed(len);
            fill(&mut written, offset / 512, 1, context.seed);
            device.write_at(offset, &written).map_err(|error| failed("write", error))?;
            device.flush().map_err(|error| failed("flush", error))?;
            let mut read = AlignedBuffer::zeroed(len);
            device.read_at(offset, &mut read).map_err(|error| failed("read", error))?;
            let told = first_difference(offset / 512, &read, &written);
            let what = format!("{len} bytes at {offset} come back: {told:?}");
            context.check(FailureKind::DataMismatch, what, told.is_none())?;
        }
        Ok(())
    }

    /// A CPU whose requests go to `queue`.
    ///
    /// # Errors
    /// When the queue has none.
    pub fn first_cpu_of_queue(&mut self, queue: u16) -> Result<usize, Stop> {
        let cpus = self.control.get_queue_affinity(self.id, queue)?;
        let first = cpus.first().and_then(|cpu| usize::try_from(*cpu).ok());
        first.ok_or_else(|| Stop::error(format_args!("queue {queue} has no CPU")))
    }

    /// First sectors in every descriptor of the mapping at `offset`.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn start_sectors_at(&self, server: &RawServer, offset: u64) -> Result<Vec<u64>, Stop> {
        let bytes = self.info.io_desc_stride_bytes();
        let len = ublk::uapi::desc_area_len_bytes(self.info.queue_depth, bytes, 4096);
        let len = usize::try_from(len).during("size the mapping")?;
        let area = server
            .file()
            .map_at(offset, len, false)
            .during(format_args!("map the descriptors at {offset}"))?;
        Ok((0..self.info.queue_depth).map(|tag| area.copy_out(tag).start_sector).collect())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.deleted {
            return;
        }
        // The scenario has already failed; the deadline keeps this from hanging it as well.
        let _ = self.control.call(Command::StopDev { dev_id: self.id }, self.command_timeout);
        let _ = self.control.call(Command::DelDev { dev_id: self.id }, self.command_timeout);
    }
}

/// 0 or the negative errno of a command that was answered.
fn result_of(result: Result<(), CtrlError>) -> Result<i32, Stop> {
    match result {
        Ok(()) => Ok(0),
        Err(error) => match error.errno() {
            Some(errno) => Ok(-errno),
            None => Err(Stop::fail(FailureKind::Completion, error)),
        },
    }
}
