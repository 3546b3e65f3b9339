//! A ring of either entry size that takes SQEs as bytes.
//!
//! One small wrapper serves the control client and the conformance door, so that waiting with a deadline, signals and
//! completion overflow are handled in one place. Pushing is `unsafe` here, and made safe by what the callers put in.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

use super::arena::Arena;
use super::harmless::HarmlessSqe;
use super::provided::{BufferList, LIST_ENTRIES};
use super::sqe::SqeBytes;

/// How a ring is set up. The default is the plainest one: 64-byte entries, 8 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    /// Submission entries; the kernel rounds up to a power of two.
    pub entries: u32,
    /// 128-byte submission entries, which control commands need.
    pub sqe128: bool,
    /// Only the task that made the ring may submit; others get `EEXIST`. Available since Linux 6.0.
    pub single_issuer: bool,
    /// Completions are delivered only while the task waits; needs `single_issuer`. Available since Linux 6.1.
    pub defer_taskrun: bool,
    /// Completions do not interrupt a running task. Available since Linux 5.19.
    pub coop_taskrun: bool,
    /// Polled completions. Available since Linux 5.1.
    pub iopoll: bool,
    /// A kernel thread submits, and sleeps after that many idle milliseconds. Available since Linux 5.1.
    pub sqpoll_idle_ms: Option<u32>,
}

impl Default for RingShape {
    fn default() -> Self {
        Self {
            entries: 8,
            sqe128: false,
            single_issuer: false,
            defer_taskrun: false,
            coop_taskrun: false,
            iopoll: false,
            sqpoll_idle_ms: None,
        }
    }
}

/// What a ring reports when a command is done, or has news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The number the SQE carried.
    pub user_data: u64,
    /// Result: command-specific when not negative, else a negative errno.
    pub res: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}

impl Completion {
    /// The errno, when the command failed.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        (self.res < 0).then_some(-self.res)
    }
}

pub(crate) enum Ring {
    Narrow(IoUring<squeue::Entry>),
    Wide(IoUring<squeue::Entry128>),
}

/// Runs the same code for both entry sizes.
macro_rules! each {
    ($ring:expr, $inner:ident => $body:expr) => {
        match $ring {
            Ring::Narrow($inner) => $body,
            Ring::Wide($inner) => $body,
        }
    };
}

fn build<S: squeue::EntryMarker>(shape: &RingShape) -> io::Result<IoUring<S>> {
    let mut builder = IoUring::<S, cqueue::Entry>::builder();
    if shape.single_issuer {
        builder.setup_single_issuer();
    }
    if shape.defer_taskrun {
        builder.setup_defer_taskrun();
    }
    if shape.coop_taskrun {
        builder.setup_coop_taskrun();
    }
    if shape.iopoll {
        builder.setup_iopoll();
    }
    if let Some(idle_ms) = shape.sqpoll_idle_ms {
        builder.setup_sqpoll(idle_ms);
    }
    // A fork must not carry the ring into a child: two processes would share one submission queue.
    builder.dontfork();
    builder.build(shape.entries)
}

impl Ring {
    pub(crate) fn open(shape: &RingShape) -> io::Result<Self> {
        if shape.sqe128 { build(shape).map(Self::Wide) } else { build(shape).map(Self::Narrow) }
    }

    /// Queues an SQE; `WouldBlock` when the submission queue is full.
    ///
    /// # Safety
    /// Whatever the command makes the kernel write to must stay valid, and unreferenced by Rust, until the command's
    /// last completion was seen, or for ever.
    pub(crate) unsafe fn push(&mut self, sqe: &SqeBytes) -> io::Result<()> {
        // SAFETY: passed on to our caller.
        let pushed = unsafe {
            match self {
                Self::Narrow(ring) => ring.submission().push(&sqe.to_entry()),
                Self::Wide(ring) => ring.submission().push(&sqe.to_entry128()),
            }
        };
        pushed.map_err(|_| {
            io::Error::new(io::ErrorKind::WouldBlock, "submission queue is full: submit first")
        })
    }

    /// Queues an SQE that names no memory of Rust's; `WouldBlock` when the submission queue is full, `InvalidInput` for
    /// a batch command with elements.
    pub(crate) fn push_harmless(&mut self, sqe: &HarmlessSqe) -> io::Result<()> {
        sqe.check()?;
        // SAFETY: the type's constructors and setters take every number that the kernel could use as an address as an
        // `Addr`: memory of an arena, which is never unmapped, never referenced and fenced on both sides, or a place
        // where nothing is mapped. `check` has refused the commands that would find other addresses in memory. Reads and
        // writes with the ring's buffer table move bytes of arenas and of requests' pages only, and their metadata's address is in a `MetadataAttr`, an `Addr` too.
        unsafe { self.push(sqe.bytes()) }
    }

    /// Makes a table of `slots` empty buffer slots, for pages of requests.
    pub(crate) fn register_sparse_buffers(&mut self, slots: u32) -> io::Result<()> {
        each!(self, ring => ring.submitter().register_buffers_sparse(slots))
    }

    /// Puts an arena's whole body into a slot of the table.
    pub(crate) fn register_arena(&mut self, slot: u32, arena: &Arena) -> io::Result<()> {
        let whole = libc::iovec {
            iov_base: arena.addr(0) as usize as *mut libc::c_void,
            iov_len: arena.len_bytes(),
        };
        // SAFETY: an arena stays mapped for ever, so the pages that are pinned here are its own until then.
        each!(self, ring => unsafe {
            ring.submitter().register_buffers_update(slot, &[whole], None)
        })
    }

    /// Makes the group of `list` known to the kernel.
    pub(crate) fn register_buffer_list(&mut self, list: &BufferList) -> io::Result<()> {
        // SAFETY: the list is an arena's memory, page-aligned and mapped for ever, with room for this many entries; every
        // buffer in it is an `Addr` whose length cannot leave its arena's fence.
        each!(self, ring => unsafe {
            ring.submitter().register_buf_ring_with_flags(list.addr(), LIST_ENTRIES, list.group(), 0)
        })
    }

    /// Whether the kernel has taken everything that was pushed.
    pub(crate) fn is_submitted(&mut self) -> bool {
        each!(self, ring => ring.submission().is_empty())
    }

    /// Hands everything queued to the kernel and returns how many entries it took.
    pub(crate) fn submit(&mut self) -> io::Result<usize> {
        super::retry_eintr(|| each!(self, ring => ring.submit()))
    }

    /// Submits what is queued, and appends completions to `out` until it holds `want` of them or the time is over. With
    /// `want` 0 it looks without waiting.
    pub(crate) fn wait(
        &mut self,
        want: usize,
        timeout: Duration,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let started = Instant::now();
        // Enter even for a look: with deferred task work nothing completes outside of an enter that waits.
        let mut must_enter = want == 0 || !self.is_submitted();
        loop {
            self.drain(out);
            let left = timeout.saturating_sub(started.elapsed());
            let enough = out.len() >= want;
            if !must_enter && enough {
                return Ok(());
            }
            let until = Timespec::from(if enough { Duration::ZERO } else { left });
            let args = SubmitArgs::new().timespec(&until);
            let missing = want.saturating_sub(out.len()).max(1);
            match each!(self, ring => ring.submitter().submit_with_args(missing, &args)) {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    // The time is over; a signal came; completions overflowed and want draining.
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY) => {}
                    _ => return Err(error),
                },
            }
            must_enter = false;
            if left.is_zero() {
                self.drain(out);
                return Ok(());
            }
        }
    }

    fn drain(&mut self, out: &mut Vec<Completion>) {
        each!(self, ring => {
            out.extend(ring.completion().map(|entry| Completion {
                user_data: entry.user_data(),
                res: entry.result(),
                flags: entry.flags(),
            }));
        });
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let descriptor = each!(self, ring => ring.as_raw_fd());
        // SAFETY: the ring owns the descriptor and is borrowed for as long as the result.
        unsafe { BorrowedFd::borrow_raw(descriptor) }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entry_bytes = match self {
            Self::Narrow(_) => 64,
            Self::Wide(_) => 128,
        };
        write!(out, "Ring({entry_bytes}-byte entries)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::arena::Arena;
    use std::io::Write;

    /// `IORING_OP_READ`.
    const OP_READ: u8 = 22;

    #[rstest::rstest]
    #[case::plain(RingShape::default())]
    #[case::wide(RingShape { sqe128: true, ..RingShape::default() })]
    #[case::deferred(RingShape { single_issuer: true, defer_taskrun: true, ..RingShape::default() })]
    fn a_look_runs_deferred_work_and_takes_in_what_came(#[case] shape: RingShape) {
        let mut ring = match Ring::open(&shape) {
            Ok(ring) => ring,
            Err(error) => {
                eprintln!("skipped: no ring of shape {shape:?} here: {error}");
                return;
            }
        };
        let (reader, mut writer) = io::pipe().expect("pipe");
        let arena = Arena::new(4096).expect("mapped");
        let mut sqe = SqeBytes::uring_cmd(reader.as_raw_fd(), 0, 42);
        sqe.set_opcode(OP_READ);
        sqe.set_addr(arena.addr(0));
        sqe.set_len(4);
        // SAFETY: the read goes into an arena.
        unsafe { ring.push(&sqe) }.expect("queued");
        assert!(!ring.is_submitted());
        let mut out = Vec::new();
        ring.wait(0, Duration::ZERO, &mut out).expect("a look submits");
        assert!(ring.is_submitted());
        assert_eq!(out, []);

        writer.write_all(b"data").expect("written");
        let started = Instant::now();
        while out.is_empty() && started.elapsed() < Duration::from_secs(5) {
            ring.wait(0, Duration::ZERO, &mut out).expect("a look");
        }
        let completion = out.first().expect("the look took it in");
        assert_eq!((completion.user_data, completion.res), (42, 4));
    }
}
