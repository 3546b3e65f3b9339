//! What a ring sends: the commands of its slots, alone or in batches, and the operations of their tasks.
//! Each takes the slot's buffer to the kernel first.

use std::io;

use io_uring::types::Timespec;

use super::{ENTER_RETRIES_MAX, Operation, WorkerRing, errno};
use crate::sys::batch::Element;
use crate::sys::gate::Holder;
use crate::sys::lane::{Lane, Transfer};
use crate::sys::sqe64::{Place, Sqe64};
use crate::sys::user_data::{Kind, UserData};
use crate::tag::Command;
use crate::uapi::{AutoBufReg, AutoBufRegFlags, IoCmd, IoCmdOp, ShmemAddr};

impl WorkerRing {
    /// Queues a command; it leaves with the next [`submit_and_wait`](Self::submit_and_wait). From now on
    /// the slot's buffer belongs to the kernel.
    ///
    /// # Errors
    /// EBUSY when a command of that slot is in flight or a task has it, EINVAL for no such slot.
    pub(crate) fn push(&mut self, slot: u32, command: Command) -> io::Result<()> {
        let (lane, index) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        if !self.gates.enter_kernel(slot, Holder::Queue) {
            return Err(errno(libc::EBUSY));
        }
        let pushed = if self.lanes[lane].batch.is_some() {
            self.push_batched(lane, slot, index, command)
        } else {
            let sqe = Self::command(&self.lanes[lane], slot, index, command);
            self.push_entries(&[sqe])
        };
        if pushed.is_err() {
            self.gates.leave_kernel(slot);
        }
        pushed
    }

    fn command(lane: &Lane, slot: u32, index: u16, command: Command) -> Sqe64 {
        let (operation, result, append_sector) = match command {
            Command::Fetch => (IoCmdOp::FetchReq, 0, 0),
            Command::CommitAndFetch { result, append_sector } => {
                (IoCmdOp::CommitAndFetchReq, result, append_sector)
            }
            Command::GetData => (IoCmdOp::NeedGetData, 0, 0),
        };
        // The field is a buffer in copy mode and a sector otherwise; only without copies are there zones.
        let addr = match lane.transfer {
            Transfer::Copy => lane.address(index),
            Transfer::UserCopy | Transfer::Registered { .. } => append_sector,
        };
        let sqe_addr = match lane.transfer {
            Transfer::Registered { auto: true, fallback, .. } => AutoBufReg {
                index: slot as u16,
                flags: if fallback { AutoBufRegFlags::FALLBACK } else { AutoBufRegFlags::empty() },
                ..AutoBufReg::default()
            }
            .to_sqe_addr(),
            _ => 0,
        };
        let payload = IoCmd { q_id: lane.queue, tag: lane.tags.tag(index), result, addr };
        let data = UserData::new(Kind::Command, slot, 0).encode();
        Sqe64::io_cmd(lane.char_device, operation.encoded(), payload, sqe_addr, data)
    }

    /// Where other rings may be given the tag, it is given away first: they may have it before we are back.
    fn push_batched(
        &mut self,
        lane: usize,
        slot: u32,
        index: u16,
        command: Command,
    ) -> io::Result<()> {
        let common = self.lanes[lane].common.clone();
        let tag = self.lanes[lane].tags.tag(index);
        if let Some(common) = &common {
            common.give(tag);
        }
        let pushed = self.push_element(lane, slot, index, command);
        if let (Some(common), Err(_)) = (&common, &pushed)
            && !common.take(tag)
        {
            // It never left, so nobody can have it; if somebody does, it is not ours.
            self.gates.retire(slot);
        }
        pushed
    }

    fn push_element(
        &mut self,
        lane: usize,
        slot: u32,
        index: u16,
        command: Command,
    ) -> io::Result<()> {
        let (tag, addr) = (self.lanes[lane].tags.tag(index), self.lanes[lane].address(index));
        let buf_index = self.next_place(lane, slot, index);
        let mut element = Element { tag, command, addr, buf_index };
        for _ in 0..ENTER_RETRIES_MAX {
            let Some(batch) = &mut self.lanes[lane].batch else { return Err(errno(libc::EINVAL)) };
            match batch.add(element) {
                Ok(()) => return Ok(()),
                // What is filled has to go first; its completion makes room.
                Err(back) => element = back,
            }
            self.flush_batches(false)?;
            self.enter_now()?;
            self.unpack_ready();
        }
        Err(errno(libc::EBUSY))
    }

    /// The index at which the next request's pages of a slot are to be registered.
    fn next_place(&mut self, lane: usize, slot: u32, index: u16) -> u16 {
        if let Some(second) = self.lanes[lane].second_place.get_mut(usize::from(index)) {
            *second = !*second;
        }
        self.place(&self.lanes[lane], slot, index)
    }

    /// The index at which the pages of a slot's request are registered.
    fn place(&self, lane: &Lane, slot: u32, index: u16) -> u16 {
        let second = lane.second_place.get(usize::from(index)).is_some_and(|second| *second);
        // A ring has slots for both in 16 bits, or was not made.
        (slot + if second { self.lane_of.len() as u32 } else { 0 }) as u16
    }

    /// Starts an operation of the task that has the slot's turn.
    ///
    /// # Errors
    /// EBUSY when it is not a task's turn, EINVAL for a file or bytes that are not there, EOPNOTSUPP to
    /// register pages where the device has no zero copy.
    pub(crate) fn start(&mut self, slot: u32, index: u8, operation: Operation) -> io::Result<()> {
        let (lane, at) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        let data = UserData::new(Kind::Operation, slot, index).encode();
        if matches!(operation, Operation::Sleep { .. }) {
            // Another sleep of this request may still wait to be submitted, and names the same timespec.
            if self.timespecs_at[slot as usize] == self.enters {
                self.enter_now()?;
            }
            self.timespecs_at[slot as usize] = self.enters;
        }
        let entries = self.entries(lane, slot, at, operation, data)?;
        if !self.gates.enter_kernel(slot, Holder::Task) {
            return Err(errno(libc::EBUSY));
        }
        let pushed = match entries {
            (Some(first), then) => self.push_entries(&[first, then]),
            (None, only) => self.push_entries(&[only]),
        };
        if pushed.is_err() {
            self.gates.leave_kernel(slot);
        }
        pushed
    }

    /// An operation's entry, and the one it follows.
    fn entries(
        &mut self,
        lane: usize,
        slot: u32,
        at: u16,
        operation: Operation,
        data: u64,
    ) -> io::Result<(Option<Sqe64>, Sqe64)> {
        let lane = &self.lanes[lane];
        let known = |file| lane.file(file).ok_or_else(|| errno(libc::EINVAL));
        Ok((
            None,
            match operation {
                Operation::Transfer {
                    write,
                    file,
                    offset_bytes,
                    start_bytes,
                    len_bytes,
                    dsync,
                    register,
                    shared,
                } => {
                    let end = u64::from(start_bytes) + u64::from(len_bytes);
                    let place = match (shared, lane.transfer) {
                        (Some(place), _) => Self::shared_place(lane, place, start_bytes, end)?,
                        (None, Transfer::Registered { .. }) => {
                            let index = self.place(lane, slot, at);
                            Place::Registered { index, offset: u64::from(start_bytes) }
                        }
                        (None, Transfer::Copy | Transfer::UserCopy)
                            if end <= lane.buffers.len_bytes() as u64 =>
                        {
                            let base =
                                lane.buffers.address(at).ok_or_else(|| errno(libc::EINVAL))?;
                            Place::Memory(base + u64::from(start_bytes))
                        }
                        (None, Transfer::Copy | Transfer::UserCopy) => {
                            return Err(errno(libc::EINVAL));
                        }
                    };
                    let transfer = Sqe64::transfer(
                        write,
                        known(file)?,
                        offset_bytes,
                        place,
                        len_bytes,
                        dsync,
                        data,
                    );
                    let first = if register {
                        let quiet = UserData::new(Kind::Quiet, slot, 0).encode();
                        Some(Self::register_cmd(lane, slot, at, true, quiet)?.linked().quiet())
                    } else {
                        None
                    };
                    return Ok((first, transfer));
                }
                Operation::Register => Self::register_cmd(lane, slot, at, true, data)?,
                Operation::Sync { file } => Sqe64::sync(known(file)?, true, data),
                Operation::Allocate { file, mode, offset_bytes, len_bytes } => {
                    Sqe64::allocate(known(file)?, mode, offset_bytes, len_bytes, data)
                }
                Operation::Sleep { duration } => {
                    let timespec = &mut self.timespecs[slot as usize];
                    *timespec = Timespec::from(duration);
                    Sqe64::timeout((&raw const *timespec).addr() as u64, data)
                }
            },
        ))
    }

    /// Where a transfer of a request in shared memory begins; the whole request up to `end` has to be in it.
    fn shared_place(lane: &Lane, at: ShmemAddr, start: u32, end: u64) -> io::Result<Place> {
        let memory = lane.shared(at, end).ok_or_else(|| errno(libc::EFAULT))?;
        let address = memory.address(u64::from(at.offset) + u64::from(start), 0);
        Ok(Place::Memory(address.ok_or_else(|| errno(libc::EFAULT))?))
    }

    fn register_cmd(
        lane: &Lane,
        slot: u32,
        at: u16,
        register: bool,
        data: u64,
    ) -> io::Result<Sqe64> {
        let Transfer::Registered { .. } = lane.transfer else {
            return Err(errno(libc::EOPNOTSUPP));
        };
        let op = if register { IoCmdOp::RegisterIoBuf } else { IoCmdOp::UnregisterIoBuf };
        let cmd =
            IoCmd { q_id: lane.queue, tag: lane.tags.tag(at), result: 0, addr: u64::from(slot) };
        Ok(Sqe64::io_cmd(lane.char_device, op.encoded(), cmd, 0, data))
    }

    /// Takes the request's pages out of the ring's table again. The request can be committed at once:
    /// the kernel ends it when both have happened.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn unregister(&mut self, slot: u32) -> io::Result<()> {
        let (lane, at) = self.lane_and_index(slot).ok_or_else(|| errno(libc::EINVAL))?;
        let data = UserData::new(Kind::Quiet, slot, 0).encode();
        let sqe = Self::register_cmd(&self.lanes[lane], slot, at, false, data)?.quiet();
        self.push_entries(&[sqe])
    }
}
