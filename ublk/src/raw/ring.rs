//! A ring that takes any SQE this module can express.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::{Addr, Arena, RawSqe};
use crate::ctrl::SqeDump;
use crate::sys::provided::BufferList;
use crate::sys::raw_ring::{Completion, Ring, RingShape};

/// A ring for [`RawSqe`]s.
///
/// It may move to another thread; where the shape says `single_issuer`, the kernel then answers `EEXIST`, which is a
/// property worth testing and no danger. Dropping it cancels what is pending, in the background: the driver may keep
/// the device's file for some milliseconds more.
#[derive(Debug)]
pub struct RawRing {
    // Dropped first: with a submission thread the kernel may read queued SQEs until the ring is gone.
    ring: Ring,
    shape: RingShape,
    /// Groups of provided buffers.
    lists: Vec<BufferList>,
    /// Files of SQEs that the kernel may not have taken yet.
    files: Vec<Arc<File>>,
    dump: Option<SqeDump>,
}

impl RawRing {
    /// Makes a ring.
    ///
    /// # Errors
    /// What io_uring_setup says, `EINVAL` for a shape this kernel does not know; or that the file named by
    /// `UBLK_SQE_DUMP` cannot be written.
    pub fn new(shape: RingShape) -> io::Result<Self> {
        let dump = SqeDump::from_env().map_err(io::Error::other)?;
        Ok(Self { ring: Ring::open(&shape)?, shape, lists: Vec::new(), files: Vec::new(), dump })
    }

    /// How the ring was made.
    #[must_use]
    pub fn shape(&self) -> RingShape {
        self.shape
    }

    /// Makes a table of `slots` empty slots, for REGISTER_IO_BUF and automatic registration.
    /// Available since Linux 5.19.
    ///
    /// # Errors
    /// What io_uring_register says, `EBUSY` when there is a table already.
    pub fn register_sparse_buffers(&mut self, slots: u32) -> io::Result<()> {
        self.ring.register_sparse_buffers(slots)
    }

    /// Puts an arena's body into a slot, as an ordinary buffer.
    ///
    /// # Errors
    /// What io_uring_register says, `ENXIO` without a table, `EINVAL` for a slot beyond it.
    pub fn register_arena(&mut self, slot: u32, arena: &Arena) -> io::Result<()> {
        self.ring.register_arena(slot, arena)
    }

    /// Adds a buffer to a group, which is made if need be. A completion that used it carries `id` in the upper half of its
    /// flags, and takes the buffer out of the group. At most 64 may be in a group at a time. Available since Linux 5.19.
    ///
    /// # Errors
    /// What io_uring_register says.
    pub fn provide_buffer(
        &mut self,
        group: u16,
        id: u16,
        addr: Addr<'_>,
        len_bytes: u16,
    ) -> io::Result<()> {
        let known = self.lists.iter().position(|list| list.group() == group);
        let at = match known {
            Some(at) => at,
            None => {
                let list = BufferList::new(group)?;
                self.ring.register_buffer_list(&list)?;
                self.lists.push(list);
                self.lists.len() - 1
            }
        };
        self.lists[at].push(addr, len_bytes, id);
        Ok(())
    }

    /// Queues an SQE; the kernel sees it with [`RawRing::submit`] or [`RawRing::wait`].
    ///
    /// # Errors
    /// `WouldBlock` when the submission queue is full. `InvalidInput` for a batch command that would read addresses
    /// from elsewhere than an [`ElementBuffer`](super::ElementBuffer) of its layout.
    pub fn push(&mut self, sqe: &RawSqe) -> io::Result<()> {
        let harmless = sqe.harmless();
        self.ring.push_harmless(harmless)?;
        if let Some(dump) = &self.dump {
            dump.record(&sqe.name(), harmless.bytes());
        }
        self.files.extend(harmless.file().cloned());
        Ok(())
    }

    /// Hands what is queued to the kernel and returns how many SQEs it took.
    ///
    /// # Errors
    /// What io_uring_enter says.
    pub fn submit(&mut self) -> io::Result<usize> {
        let taken = self.ring.submit()?;
        self.forget_files();
        Ok(taken)
    }

    /// Submits what is queued and waits for `n` completions; returns what came by then, perhaps fewer, perhaps more.
    /// With `n` 0 it looks without waiting.
    ///
    /// # Errors
    /// What io_uring_enter says; that the time is over is none.
    pub fn wait(&mut self, n: usize, timeout: Duration) -> io::Result<Vec<Completion>> {
        let mut completions = Vec::new();
        self.ring.wait(n, timeout, &mut completions)?;
        self.forget_files();
        Ok(completions)
    }

    /// Once everything queued was taken, the kernel holds the files itself. A submission thread takes SQEs when it
    /// likes, so there they are kept.
    fn forget_files(&mut self) {
        if self.shape.sqpoll_idle_ms.is_none() && self.ring.is_submitted() {
            self.files.clear();
        }
    }
}

/// Readable while there are completions, for a wait on several things at once.
impl AsFd for RawRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::raw::{BatchElement, CtrlPayload, DecoyFile, ElementBuffer, SqeAddr};
    use crate::uapi::{BatchFlags, BatchIo, CtrlOp, IoCmdOp};

    /// A ring, or `None` with the reason printed where the host has no io_uring.
    fn ring(shape: RingShape) -> Option<RawRing> {
        RawRing::new(shape)
            .map_err(|error| eprintln!("skipped: no ring of shape {shape:?} here: {error}"))
            .ok()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[rstest::rstest]
    #[case::narrow(RingShape::default())]
    #[case::wide(RingShape { sqe128: true, ..RingShape::default() })]
    #[case::deferred(RingShape { single_issuer: true, defer_taskrun: true, ..RingShape::default() })]
    fn an_all_zero_sqe_completes_with_zero(#[case] shape: RingShape) {
        let Some(mut ring) = ring(shape) else { return };
        for user_data in 0..shape.entries {
            ring.push(&RawSqe::zeroed().user_data(u64::from(user_data))).expect("queued");
        }
        let full = ring.push(&RawSqe::zeroed()).expect_err("full");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(ring.submit().expect("submitted"), shape.entries as usize);
        let completions = ring.wait(shape.entries as usize, SECOND).expect("waited");
        let seen: Vec<_> = completions.iter().map(|c| (c.user_data, c.res)).collect();
        let expected: Vec<_> = (0..u64::from(shape.entries)).map(|n| (n, 0)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn waiting_for_nothing_ends_with_the_time_and_without_an_error() {
        let Some(mut ring) = ring(RingShape::default()) else { return };
        ring.push(&RawSqe::zeroed().user_data(7)).expect("queued");
        let started = Instant::now();
        let timeout = Duration::from_millis(50);
        let completions = ring.wait(2, timeout).expect("no error");
        assert!(started.elapsed() >= timeout);
        assert_eq!(completions.len(), 1, "what came by then");
        assert_eq!(ring.wait(0, Duration::ZERO).expect("a look"), []);
    }

    #[rstest::rstest]
    #[case::narrow(false)]
    #[case::wide(true)]
    fn a_file_without_commands_says_so_even_when_closed_after_the_push(#[case] sqe128: bool) {
        let Some(mut ring) = ring(RingShape { sqe128, ..RingShape::default() }) else { return };
        let arena = Arena::new(4096).expect("mapped");
        {
            let decoy = DecoyFile::new().expect("pipe");
            let payload =
                CtrlPayload { len: 64, addr: Addr::Arena(&arena, 0), ..CtrlPayload::new(0) };
            let sqe = RawSqe::decoy(&decoy, CtrlOp::AddDev.encoded(), &payload);
            ring.push(&sqe.user_data(1)).expect("queued");
        }
        let completions = ring.wait(1, SECOND).expect("waited");
        assert_eq!(completions.len(), 1);
        assert_eq!(completions[0].errno(), Some(libc::EOPNOTSUPP));
        assert!(ring.files.is_empty(), "the kernel has its own reference");
    }

    #[test]
    fn fields_that_must_be_zero_are_refused_by_the_kernel() {
        let Some(mut ring) = ring(RingShape::default()) else { return };
        let decoy = DecoyFile::new().expect("pipe");
        let sqe = || RawSqe::decoy(&decoy, 0, &CtrlPayload::new(0));
        ring.push(&sqe().ioprio(1).user_data(1)).expect("queued");
        ring.push(&sqe().personality(99).user_data(2)).expect("queued");
        let errnos: Vec<_> = ring
            .wait(2, SECOND)
            .expect("waited")
            .iter()
            .map(|completion| (completion.user_data, completion.errno()))
            .collect();
        // The kernel stops a submission at the first bad SQE, so the second may need its own.
        assert_eq!(errnos[0], (1, Some(libc::EINVAL)));
        assert!(errnos.iter().all(|(_, errno)| *errno == Some(libc::EINVAL)), "{errnos:?}");
    }

    #[test]
    fn elements_of_a_safe_callers_making_are_not_sent() {
        let Some(mut ring) = ring(RingShape::default()) else { return };
        let arena = Arena::new(4096).expect("mapped");
        let decoy = DecoyFile::new().expect("pipe");
        for op in [IoCmdOp::PrepIoCmds, IoCmdOp::CommitIoCmds] {
            let sqe = || RawSqe::decoy(&decoy, op.encoded(), &CtrlPayload::new(0));
            let bad = sqe().sqe_addr(SqeAddr::Addr(Addr::Arena(&arena, 0)));
            let error = ring.push(&bad).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            ring.push(&sqe().sqe_addr(SqeAddr::Addr(Addr::Unmapped(&arena)))).expect("harmless");
        }
        let fetch = RawSqe::decoy(&decoy, IoCmdOp::FetchReq.encoded(), &CtrlPayload::new(0));
        ring.push(&fetch.sqe_addr(SqeAddr::Addr(Addr::Arena(&arena, 0)))).expect("no elements");
    }

    #[test]
    fn typed_elements_are_sent_in_their_own_layout_only() {
        let Some(mut ring) = ring(RingShape::default()) else { return };
        let decoy = DecoyFile::new().expect("pipe");
        let with_addr = BatchFlags::HAS_BUF_ADDR;
        let both = with_addr | BatchFlags::HAS_ZONE_LBA;
        let cases = [
            (with_addr, with_addr, 16, true),
            (both, both, 24, true),
            // No addresses are read, so any bytes will do, and any wrong length.
            (with_addr, BatchFlags::empty(), 8, true),
            (with_addr, BatchFlags::empty(), 200, true),
            (BatchFlags::empty(), BatchFlags::HAS_ZONE_LBA, 16, true),
            // A header, or an LBA, would be taken for an address.
            (BatchFlags::empty(), with_addr, 16, false),
            (BatchFlags::HAS_ZONE_LBA, with_addr, 16, false),
            (with_addr, both, 24, false),
            (with_addr, with_addr, 8, false),
        ];
        for (layout, flags, elem_bytes, allowed) in cases {
            let elements = ElementBuffer::new(layout, 4).expect("mapped");
            elements.fill(0, &[BatchElement::default(); 4]);
            let batch = BatchIo { flags, elem_bytes, nr_elem: 4, ..BatchIo::default() };
            for op in [IoCmdOp::PrepIoCmds, IoCmdOp::CommitIoCmds] {
                let sqe = RawSqe::decoy_batch(&decoy, op.encoded(), &batch, &elements, 0);
                let pushed = ring.push(&sqe);
                assert_eq!(pushed.is_ok(), allowed, "{layout} read as {flags} of {elem_bytes}");
                ring.wait(1, if allowed { SECOND } else { Duration::ZERO }).expect("waited");
            }
        }
    }

    #[test]
    fn registered_memory_is_moved_by_slot() {
        let Some(mut ring) = ring(RingShape::default()) else { return };
        if let Err(error) = ring.register_sparse_buffers(4) {
            eprintln!("skipped: no buffer table here: {error}");
            return;
        }
        let arena = Arena::new(4096).expect("mapped");
        ring.register_arena(2, &arena).expect("registered");
        let file = Arc::new(tempfile::tempfile().expect("file"));
        std::os::unix::fs::FileExt::write_all_at(&*file, b"0123456789", 0).expect("written");
        let read = RawSqe::read_fixed(&file, 3, 4).buf_index(2).fixed_addr(Addr::Arena(&arena, 8));
        ring.push(&read.user_data(1)).expect("queued");
        let write =
            RawSqe::write_fixed(&file, 100, 4).buf_index(2).fixed_addr(Addr::Arena(&arena, 8));
        ring.push(&write.user_data(2).flags(crate::raw::SqeFlags::IO_DRAIN)).expect("queued");
        ring.push(&RawSqe::read_fixed(&file, 0, 4).buf_index(1).user_data(3)).expect("queued");
        let mut seen: Vec<_> =
            ring.wait(3, SECOND).expect("waited").iter().map(|c| (c.user_data, c.res)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(1, 4), (2, 4), (3, -libc::EFAULT)], "slot 1 is empty");
        let mut bytes = [0; 4];
        arena.read(8, &mut bytes);
        assert_eq!(&bytes, b"3456");
        assert_eq!(file.metadata().expect("metadata").len(), 104);
    }
}
