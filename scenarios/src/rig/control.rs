//! A raw control client: any opcode, any id, any length.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use reports::event::FailureKind;
use ublk::raw::{Addr, ControlFile, CtrlPayload, RawRing, RawSqe, RingShape};
use ublk::sys::arena::Arena;
use ublk::uapi::{DevInfo, Features};
use zerocopy::IntoBytes;

use crate::context::{Context, During, Stop};

/// Commands that [`RawControl::send_all`] sends at once.
pub const AT_ONCE_MAX: u32 = 64;

/// A control client that checks nothing.
pub struct RawControl {
    file: ControlFile,
    ring: RawRing,
    arena: Arena,
}

impl fmt::Debug for RawControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawControl")
    }
}

impl RawControl {
    /// Opens `/dev/ublk-control` with a ring of 128-byte SQEs.
    ///
    /// # Errors
    /// When either cannot be had.
    pub fn open() -> Result<Self, Stop> {
        let file = ControlFile::open().during("open the control device")?;
        let shape = RingShape { entries: AT_ONCE_MAX, sqe128: true, ..RingShape::default() };
        let ring = RawRing::new(shape).during("make a ring")?;
        Ok(Self { file, ring, arena: arena(4096)? })
    }

    /// Sends one command with a zeroed payload of `len` bytes; its result.
    ///
    /// # Errors
    /// When no completion comes.
    pub fn command(
        &mut self,
        context: &mut Context,
        cmd_op: u32,
        dev_id: u32,
        len: u16,
    ) -> Result<i32, Stop> {
        self.arena.write(0, &[0; 4096]);
        let payload = control_payload(&self.arena, dev_id, len);
        let sqe = RawSqe::control(&self.file, cmd_op, &payload);
        only_result(context, &mut self.ring, &sqe)
    }

    /// Memory for this client's payloads; what is in it is the caller's.
    #[must_use]
    pub fn arena(&self) -> Arena {
        self.arena
    }

    /// Sends one command with a payload of the caller's; its result.
    ///
    /// # Errors
    /// When no completion comes.
    pub fn send(
        &mut self,
        context: &mut Context,
        cmd_op: u32,
        payload: &CtrlPayload<'_>,
    ) -> Result<i32, Stop> {
        let sqe = RawSqe::control(&self.file, cmd_op, payload);
        only_result(context, &mut self.ring, &sqe)
    }

    /// Sends several commands at once, at most [`AT_ONCE_MAX`]; their results, in the order that they come.
    ///
    /// # Errors
    /// When a completion does not come.
    pub fn send_all<'a>(
        &mut self,
        context: &Context,
        cmd_op: u32,
        payloads: impl IntoIterator<Item = CtrlPayload<'a>>,
    ) -> Result<Vec<i32>, Stop> {
        let mut sent = 0;
        for payload in payloads {
            self.ring
                .push(&RawSqe::control(&self.file, cmd_op, &payload))
                .during("push a command")?;
            sent += 1;
        }
        self.ring.submit().during("submit commands")?;
        let completions =
            self.ring.wait(sent, context.command_timeout()).during("wait for commands")?;
        Ok(completions.iter().map(|completion| completion.res).collect())
    }

    /// Sends an ADD_DEV with this header; its result.
    ///
    /// # Errors
    /// When no completion comes.
    pub fn add(
        &mut self,
        context: &mut Context,
        info: &DevInfo,
        dev_id: u32,
        queue_id: u16,
        len: u16,
    ) -> Result<i32, Stop> {
        self.arena.write(0, info.as_bytes());
        let mut payload = control_payload(&self.arena, dev_id, len);
        payload.queue_id = queue_id;
        let cmd_op = ublk::uapi::CtrlOp::AddDev.encoded();
        let sqe = RawSqe::control(&self.file, cmd_op, &payload);
        only_result(context, &mut self.ring, &sqe)
    }
}

/// A payload with a buffer of `len` bytes.
#[must_use]
pub fn control_payload(arena: &Arena, dev_id: u32, len: u16) -> CtrlPayload<'_> {
    let addr = if len == 0 { Addr::Null } else { Addr::Arena(arena, 0) };
    CtrlPayload { len, addr, ..CtrlPayload::new(dev_id) }
}

/// Memory the kernel may write to at any time.
///
/// # Errors
/// When it cannot be mapped.
pub fn arena(len_bytes: usize) -> Result<Arena, Stop> {
    Arena::new(len_bytes).during("map memory for the kernel")
}

/// A file without a name, for a server to keep its bytes in.
///
/// # Errors
/// When it cannot be made.
pub fn backing_file(size_bytes: u64) -> Result<Arc<File>, Stop> {
    let path = format!("/tmp/backing-{}", std::process::id());
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.during("make a file")?;
    std::fs::remove_file(&path).during("remove its name")?;
    file.set_len(size_bytes).during("size the file")?;
    Ok(Arc::new(file))
}

/// Sends one command on an otherwise idle ring; its result.
///
/// # Errors
/// When not exactly one completion comes in time.
pub fn only_result(context: &mut Context, ring: &mut RawRing, sqe: &RawSqe) -> Result<i32, Stop> {
    ring.push(sqe).during("push a command")?;
    ring.submit().during("submit a command")?;
    let completions = ring.wait(1, context.command_timeout()).during("wait for a command")?;
    match completions.as_slice() {
        [only] => Ok(only.res),
        other => Err(Stop::fail(
            FailureKind::Completion,
            format_args!("{} completions instead of one", other.len()),
        )),
    }
}

/// What GET_FEATURES answers.
///
/// # Errors
/// When it fails.
pub fn feature_bits() -> Result<u64, Stop> {
    let mut control = ublk::ctrl::Control::open().during("open the control device")?;
    Ok(control.get_features()?.bits())
}

/// Whether GET_FEATURES offers all of `features`.
///
/// # Errors
/// When it fails.
pub fn offers(features: Features) -> Result<bool, Stop> {
    Ok(Features::from_bits(feature_bits()?).contains(features))
}

/// Skips unless GET_FEATURES offers all of `features`.
///
/// # Errors
/// [`Stop::Skip`] with what is missing.
pub fn offered(features: Features) -> Result<(), Stop> {
    if features.is_empty() {
        return Ok(());
    }
    let missing = features - Features::from_bits(feature_bits()?);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Stop::skip("GET_FEATURES", format_args!("{missing} is not offered")))
}

/// The same for a caller that only reports it.
#[must_use]
pub fn features() -> Option<u64> {
    feature_bits().ok()
}
