//! How a hand gets at a request's bytes, in each mode.

use std::os::unix::fs::FileExt;

use reports::event::FailureKind;
use ublk::raw::{Addr, IoPayload, RawSqe};
use ublk::uapi::{IoCmdOp, UserCopyPos};

use super::hand::Hand;
use super::mode::Way;
use crate::context::{During, Stop, errno};

impl Hand {
    /// The bytes of the WRITE in `tag`.
    ///
    /// # Errors
    /// When they cannot be moved.
    pub(super) fn take_bytes(&mut self, tag: u16, len_bytes: usize) -> Result<Vec<u8>, Stop> {
        let mut bytes = vec![0; len_bytes];
        match self.mode.way {
            Way::Copy | Way::GetData => {
                self.ask_for_data(tag)?;
                self.arena.read(Self::place(tag), &mut bytes);
            }
            Way::UserCopy => {
                let position = position(tag, 0)?;
                self.file.file().read_exact_at(&mut bytes, position).during("pread a request")?;
            }
            Way::ZeroCopy | Way::Auto => {
                self.through_pages(tag, len_bytes, true)?;
                let place = Self::place(tag) as u64;
                self.backing.read_exact_at(&mut bytes, place).during("read what was moved")?;
            }
        }
        Ok(bytes)
    }

    /// Gives the READ in `tag` its bytes.
    ///
    /// # Errors
    /// When they cannot be moved.
    pub(super) fn give(&mut self, tag: u16, bytes: &[u8]) -> Result<(), Stop> {
        match self.mode.way {
            Way::Copy | Way::GetData => self.arena.write(Self::place(tag), bytes),
            _ if bytes.is_empty() => {}
            Way::UserCopy => {
                let position = position(tag, 0)?;
                self.file.file().write_all_at(bytes, position).during("pwrite a request")?;
            }
            Way::ZeroCopy | Way::Auto => {
                let place = Self::place(tag) as u64;
                self.backing.write_all_at(bytes, place).during("write what is to be moved")?;
                self.through_pages(tag, bytes.len(), false)?;
            }
        }
        Ok(())
    }

    /// NEED_GET_DATA, where the delivery asked for it.
    pub(super) fn ask_for_data(&mut self, tag: u16) -> Result<(), Stop> {
        if !std::mem::take(&mut self.asks[usize::from(tag)]) {
            return Ok(());
        }
        let addr = Addr::Arena(&self.arena, Self::place(tag));
        let payload = IoPayload { tag, addr, ..IoPayload::default() };
        let sqe = RawSqe::io(&self.file, IoCmdOp::NeedGetData.encoded(), &payload);
        self.expect("NEED_GET_DATA", sqe, 0)
    }

    /// Between the request's pages and the file, by a fixed read or write.
    fn through_pages(&mut self, tag: u16, len_bytes: usize, out: bool) -> Result<(), Stop> {
        if self.mode.way == Way::ZeroCopy {
            let sqe = self.slot_command(IoCmdOp::RegisterIoBuf, tag, tag);
            self.expect("REGISTER_IO_BUF", sqe, 0)?;
        }
        let (sqe, moved) = self.move_command(tag, tag, len_bytes, out)?;
        self.expect("fixed I/O", sqe, moved)?;
        if self.mode.way == Way::ZeroCopy {
            let sqe = self.slot_command(IoCmdOp::UnregisterIoBuf, tag, tag);
            self.expect("UNREGISTER_IO_BUF", sqe, 0)?;
        }
        Ok(())
    }

    /// REGISTER_IO_BUF or UNREGISTER_IO_BUF of `tag`'s pages in `slot`.
    pub(super) fn slot_command(&self, op: IoCmdOp, tag: u16, slot: u16) -> RawSqe {
        let addr = Addr::Small(slot);
        RawSqe::io(&self.file, op.encoded(), &IoPayload { tag, addr, ..IoPayload::default() })
    }

    /// Fixed I/O between the pages in `slot` and the file at `tag`'s place, and what it has to answer.
    pub(super) fn move_command(
        &self,
        tag: u16,
        slot: u16,
        len_bytes: usize,
        out: bool,
    ) -> Result<(RawSqe, i32), Stop> {
        let len = u32::try_from(len_bytes).during("measure a request")?;
        let place = Self::place(tag) as u64;
        let sqe = if out {
            RawSqe::write_fixed(&self.backing, place, len)
        } else {
            RawSqe::read_fixed(&self.backing, place, len)
        };
        Ok((sqe.buf_index(slot), len.cast_signed()))
    }

    fn expect(&mut self, what: &str, sqe: RawSqe, expected: i32) -> Result<(), Stop> {
        let result = self.result_of(what, sqe)?;
        if result == expected {
            return Ok(());
        }
        let (expected, result, mode) = (errno(expected), errno(result), self.mode.name);
        let told = format!("{mode}: {what}: expected {expected}, observed {result}");
        Err(Stop::fail(FailureKind::Errno, told))
    }
}

/// Where byte `offset_bytes` of the request in `tag` is, for pread and pwrite.
pub(super) fn position(tag: u16, offset_bytes: u32) -> Result<u64, Stop> {
    let place = UserCopyPos { queue: 0, tag, offset_bytes, integrity: false };
    place.encode().ok_or_else(|| Stop::error("no position has so large an offset"))
}
