//! The commands of a batch device: many tags prepared, fetched and committed at once.

use std::sync::Arc;

use reports::event::FailureKind;
use ublk::raw::{Addr, BatchElement, ElementBuffer, RawRing, RawSqe, SqeFlags};
use ublk::sys::arena::Arena;
use ublk::uapi::{BatchFlags, BatchIo, FETCH_ELEM_BYTES, IO_RES_ABORT, IoCmdOp};

use super::hand::{COMMIT, FETCH, Hand};
use super::mode::Mode;
use crate::context::{During, Stop};
use crate::rig::{ENOBUFS, arena};

/// `IORING_URING_CMD_MULTISHOT`.
const MULTISHOT: u32 = 2;
/// `IORING_CQE_F_BUFFER`: a provided buffer was used; its id is in the upper half of the flags.
const USED_BUFFER: u32 = 1;
/// `IORING_CQE_F_MORE`: the command goes on.
const MORE: u32 = 2;
/// The group of buffers that tags are delivered in, how many there are, and bytes of each.
const GROUP: u16 = 1;
const BUFFERS: u16 = 16;
const TAGS_BYTES: u16 = 256;

/// What a hand needs besides on a batch device.
pub(super) struct Batch {
    pub(super) elements: ElementBuffer,
    tags: Arena,
    /// Whether FETCH_IO_CMDS is on its way.
    pub(super) fetching: bool,
}

impl Batch {
    /// Elements for every tag, twice, and a group of buffers for deliveries.
    pub(super) fn new(ring: &mut RawRing, mode: Mode, depth: u16) -> Result<Self, Stop> {
        let layout =
            if mode.driver_copies() { BatchFlags::HAS_BUF_ADDR } else { BatchFlags::empty() };
        let elements =
            ElementBuffer::new(layout, usize::from(depth) * 2).during("map the elements")?;
        let tags = arena(usize::from(BUFFERS * TAGS_BYTES))?;
        for id in 0..BUFFERS {
            let addr = Addr::Arena(&tags, usize::from(id * TAGS_BYTES));
            ring.provide_buffer(GROUP, id, addr, TAGS_BYTES).during("provide a buffer")?;
        }
        Ok(Self { elements, tags, fetching: false })
    }
}

impl Hand {
    fn batch(&mut self) -> Result<&mut Batch, Stop> {
        self.batch.as_mut().ok_or_else(|| Stop::error("this is no batch device"))
    }

    /// PREP_IO_CMDS of every tag, and FETCH_IO_CMDS.
    pub(super) fn arm_batch(&mut self) -> Result<(), Stop> {
        let all: Vec<_> = (0..self.depth).map(|tag| (tag, 0)).collect();
        let sqe = self.elements_command(IoCmdOp::PrepIoCmds, &all)?;
        let prepared = self.result_of("PREP_IO_CMDS", sqe)?;
        if prepared != 0 {
            return Err(Stop::fail(
                FailureKind::Errno,
                format_args!("PREP_IO_CMDS of every tag: expected 0, observed {prepared}"),
            ));
        }
        self.fetch_batch()
    }

    fn fetch_batch(&mut self) -> Result<(), Stop> {
        let payload = BatchIo { elem_bytes: FETCH_ELEM_BYTES, ..BatchIo::default() };
        let sqe = RawSqe::batch_fetch(&self.file, IoCmdOp::FetchIoCmds.encoded(), &payload)
            .uring_cmd_flags(MULTISHOT)
            .flags(SqeFlags::BUFFER_SELECT)
            .buf_index(GROUP)
            .user_data(FETCH);
        self.batch()?.fetching = true;
        self.send(&sqe)
    }

    /// A command on these tags and results, each tag with its own buffer or slot; a tag beyond the depth with another's.
    pub(super) fn elements_command(
        &mut self,
        op: IoCmdOp,
        elements: &[(u16, i32)],
    ) -> Result<RawSqe, Stop> {
        self.elements_from(op, 0, elements, elements.len())
    }

    /// The same at the end of the memory for elements, by a command that claims `claimed` of them: those that are too many
    /// lie where nothing is.
    pub(super) fn elements_at_the_end(
        &mut self,
        op: IoCmdOp,
        elements: &[(u16, i32)],
        claimed: usize,
    ) -> Result<RawSqe, Stop> {
        let first = self.batch()?.elements.capacity() - elements.len();
        self.elements_from(op, first, elements, claimed)
    }

    fn elements_from(
        &mut self,
        op: IoCmdOp,
        first: usize,
        elements: &[(u16, i32)],
        claimed: usize,
    ) -> Result<RawSqe, Stop> {
        let (depth, arena, file) = (self.depth, self.arena, Arc::clone(&self.file));
        let batch = self.batch()?;
        let filled: Vec<_> = elements
            .iter()
            .map(|(tag, result)| BatchElement {
                tag: *tag,
                result: *result,
                buf_index: *tag,
                buf_addr: Addr::Arena(&arena, Self::place(*tag % depth)),
                ..BatchElement::default()
            })
            .collect();
        batch.elements.fill(first, &filled);
        let flags = batch.elements.layout();
        let nr_elem = u16::try_from(claimed).during("count the elements")?;
        let payload =
            BatchIo { flags, nr_elem, elem_bytes: flags.elem_bytes(), ..BatchIo::default() };
        Ok(RawSqe::batch(&file, op.encoded(), &payload, &batch.elements, first))
    }

    /// COMMIT_IO_CMDS, which has to take all of them.
    pub(super) fn commit_batch(&mut self, results: &[(u16, i32)]) -> Result<(), Stop> {
        let sqe = self.elements_command(IoCmdOp::CommitIoCmds, results)?.user_data(COMMIT);
        self.send(&sqe)?;
        let stride = self.batch()?.elements.stride_bytes();
        let expected = i32::try_from(stride * results.len()).during("count the elements")?;
        let result = self.one_commit()?;
        if result == expected {
            return Ok(());
        }
        let what = format!("COMMIT_IO_CMDS: expected {expected}, observed {result}");
        Err(Stop::fail(FailureKind::Errno, what))
    }

    /// What comes with a completion of FETCH_IO_CMDS.
    pub(super) fn take_batch(&mut self, flags: u32, result: i32) -> Result<(), Stop> {
        let unexpected = || {
            let what = format!("FETCH_IO_CMDS was answered {result}, flags {flags:#x}");
            Stop::fail(FailureKind::Completion, what)
        };
        let used = flags & USED_BUFFER != 0;
        self.batch()?.fetching = flags & MORE != 0;
        match result {
            IO_RES_ABORT => self.batch()?.fetching = false,
            result if result == -ENOBUFS => self.fetch_batch()?,
            1.. if used => {
                let id = u16::try_from(flags >> 16).unwrap_or(u16::MAX);
                let len = usize::try_from(result).unwrap_or(0);
                if id >= BUFFERS || len > usize::from(TAGS_BYTES) || len % 2 != 0 {
                    return Err(unexpected());
                }
                let place = usize::from(id * TAGS_BYTES);
                let mut bytes = vec![0; len];
                let memory = self.batch()?.tags;
                memory.read(place, &mut bytes);
                for pair in bytes.as_chunks::<2>().0 {
                    let tag = u16::from_ne_bytes(*pair);
                    if tag >= self.depth {
                        return Err(unexpected());
                    }
                    self.deliver(tag);
                }
                let addr = Addr::Arena(&memory, place);
                self.ring.provide_buffer(GROUP, id, addr, TAGS_BYTES).during("provide a buffer")?;
                if !self.batch()?.fetching {
                    self.fetch_batch()?;
                }
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }
}
