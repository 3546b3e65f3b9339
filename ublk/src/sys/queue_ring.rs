//! The io_uring of one queue, and the only place where a buffer changes hands with the kernel.
//!
//! It keeps one bit per tag, "a command is with the kernel", and gives a buffer out only while that bit
//! is clear. With that, everything above is safe code: whatever order a queue sends commands in, no
//! slice of ours ever overlaps a buffer the kernel may fill.
//!
//! Hot path: 64-byte entries, SINGLE_ISSUER with DEFER_TASKRUN and COOP_TASKRUN (completions come only
//! inside our own wait, no interrupt to another CPU), the character device as a fixed file and the ring
//! itself registered (no descriptor look-up per command and per enter).

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};

use super::buffers::TagBuffers;
use crate::tag::Command;
use crate::uapi::{IoCmd, IoCmdOp};

/// Where the character device stands in the ring's file table.
const CHAR_DEVICE_SLOT: types::Fixed = types::Fixed(0);
/// The user data of the watch; tags are 16 bits.
const USER_DATA_WATCH: u64 = u64::MAX;
/// A kernel out of memory is asked again that many times before the error is passed on.
const ENTER_RETRIES_MAX: u32 = 1000;

const IORING_ENTER_GETEVENTS: libc::c_uint = 1;
const IORING_ENTER_REGISTERED_RING: libc::c_uint = 16;
const IORING_REGISTER_RING_FDS: libc::c_uint = 20;
const IORING_UNREGISTER_RING_FDS: libc::c_uint = 21;

/// `struct io_uring_rsrc_update`, which the io-uring crate keeps to itself.
#[repr(C)]
struct RingFdUpdate {
    offset: u32,
    resv: u32,
    data: u64,
}

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The command of a tag, and its result.
    Tag {
        /// The tag.
        tag: u16,
        /// The result.
        result: i32,
    },
    /// The watched descriptor became readable or was hung up.
    Watch,
}

/// The ring and the buffers of one queue. Made and used on one thread.
pub struct QueueRing {
    ring: IoUring,
    /// Forgotten instead of unmapped where the kernel may still write to it.
    buffers: ManuallyDrop<TagBuffers>,
    in_flight: Box<[bool]>,
    in_flight_count: usize,
    queue: u16,
    /// The ring's number among the thread's registered rings, where the kernel gave one.
    registered: Option<u32>,
    enters: u64,
}

impl std::fmt::Debug for QueueRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueRing")
            .field("queue", &self.queue)
            .field("in_flight_count", &self.in_flight_count)
            .field("enters", &self.enters)
            .finish_non_exhaustive()
    }
}

impl QueueRing {
    /// A ring for all tags of `buffers`, on the calling thread, for commands to `char_device`.
    ///
    /// # Errors
    /// What io_uring_setup(2) and io_uring_register(2) say. EINVAL from the former is a kernel before
    /// 6.1; EPERM a kernel where io_uring is switched off.
    pub fn new(queue: u16, buffers: TagBuffers, char_device: BorrowedFd<'_>) -> io::Result<Self> {
        let depth = buffers.depth();
        // One entry more than tags, for the watch. Each has one command in flight at most, so neither
        // ring can overflow.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(u32::from(depth) * 2 + 2)
            .build(u32::from(depth) + 1)?;
        ring.submitter().register_files(&[char_device.as_raw_fd()])?;
        let registered = register_ring_fd(&ring);
        Ok(Self {
            ring,
            in_flight: vec![false; usize::from(depth)].into_boxed_slice(),
            in_flight_count: 0,
            buffers: ManuallyDrop::new(buffers),
            queue,
            registered,
            enters: 0,
        })
    }

    /// Asks for one [`Completion::Watch`] once `fd` is readable or hung up. The descriptor must stay
    /// open until the next submission.
    ///
    /// # Errors
    /// EBUSY when the submission ring is full.
    pub fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), libc::POLLIN as u32)
            .build()
            .user_data(USER_DATA_WATCH);
        // SAFETY: a poll names no memory.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Queues a command; it leaves with the next [`submit_and_wait`](Self::submit_and_wait). From now on
    /// the tag's buffer belongs to the kernel.
    ///
    /// # Errors
    /// EBUSY when a command of that tag is in flight or the ring is full, EINVAL for no such tag.
    pub fn push(&mut self, tag: u16, command: Command) -> io::Result<()> {
        let index = usize::from(tag);
        let (Some(in_flight), Some(addr)) =
            (self.in_flight.get_mut(index), self.buffers.address(tag))
        else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        if *in_flight {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        let (operation, result) = match command {
            Command::Fetch => (IoCmdOp::FetchReq, 0),
            Command::CommitAndFetch { result } => (IoCmdOp::CommitAndFetchReq, result),
        };
        let payload = IoCmd { q_id: self.queue, tag, result, addr };
        let entry = opcode::UringCmd16::new(CHAR_DEVICE_SLOT, operation.encoded())
            .cmd(zerocopy::transmute!(payload))
            .build()
            .user_data(u64::from(tag));
        // SAFETY: the one memory it names is the tag's buffer. It is mapped until drop, which forgets it
        // if the command is still in flight; and `buffer` does not give it out until it has completed.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        *in_flight = true;
        self.in_flight_count += 1;
        Ok(())
    }

    /// Hands over what was queued and waits until `want` completions are there. One system call, unless
    /// a signal or a kernel short of memory wants it repeated.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn submit_and_wait(&mut self, want: u32) -> io::Result<()> {
        let mut retries = 0;
        loop {
            let queued = self.ring.submission().len();
            let ready = self.ring.completion().len();
            if queued == 0 && want > 0 && ready >= want as usize {
                return Ok(());
            }
            self.enters += 1;
            match self.enter(queued as libc::c_uint, want) {
                Ok(()) if self.ring.submission().is_empty() => return Ok(()),
                Ok(()) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY) if retries < ENTER_RETRIES_MAX => {
                        retries += 1;
                        std::thread::yield_now();
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// io_uring_enter(2). Always with GETEVENTS: with DEFER_TASKRUN nothing completes otherwise.
    fn enter(&self, to_submit: libc::c_uint, want: u32) -> io::Result<()> {
        let (fd, flag) = match self.registered {
            Some(index) => (index as libc::c_int, IORING_ENTER_REGISTERED_RING),
            None => (self.ring.as_raw_fd(), 0),
        };
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // Variadic: each argument has to fill its register.
        let (fd, to_submit, want) =
            (libc::c_long::from(fd), to_submit as libc::c_long, want as libc::c_long);
        let flags = (IORING_ENTER_GETEVENTS | flag) as libc::c_long;
        // SAFETY: the ring is alive, and its entries keep the promise given in `push`. The kernel reads
        // no argument beside these numbers.
        let submitted = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, fd, to_submit, want, flags, no_mask, 0_usize)
        };
        if submitted < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// How many completions can be taken without waiting.
    pub fn ready(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// Takes one completion. With it the tag's buffer is ours again.
    pub fn next_completion(&mut self) -> Option<Completion> {
        let entry = self.ring.completion().next()?;
        if entry.user_data() == USER_DATA_WATCH {
            return Some(Completion::Watch);
        }
        let tag = entry.user_data() as u16;
        if let Some(in_flight) = self.in_flight.get_mut(usize::from(tag))
            && std::mem::replace(in_flight, false)
        {
            self.in_flight_count -= 1;
        }
        Some(Completion::Tag { tag, result: entry.result() })
    }

    /// The first `len_bytes` of a tag's buffer; none while a command has it, or where it is shorter.
    pub fn buffer(&mut self, tag: u16, len_bytes: usize) -> Option<&mut [u8]> {
        if *self.in_flight.get(usize::from(tag))? {
            return None;
        }
        // SAFETY: the bit says that no command of this tag is with the kernel, commands name no buffer
        // but their own tag's, and `&mut self` keeps `push` away as long as the slice lives.
        unsafe { self.buffers.slice_mut(tag, len_bytes) }
    }

    /// How often the kernel was entered so far.
    pub fn enters(&self) -> u64 {
        self.enters
    }
}

impl Drop for QueueRing {
    fn drop(&mut self) {
        if let Some(offset) = self.registered.take() {
            let mut update = RingFdUpdate { offset, resv: 0, data: 0 };
            // A registered ring would live until its thread ends, and with it the device's file.
            let _ = register(&self.ring, IORING_UNREGISTER_RING_FDS, &mut update);
        }
        if self.in_flight_count == 0 {
            // Closing the ring drops its files later, in a worker; DEL_DEV waits for that. With
            // commands in flight older kernels would wait here for them, so then it is left to them.
            let _ = self.ring.submitter().unregister_files();
            // SAFETY: dropped once, here, and not used afterwards. No command names the buffers.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
        // Otherwise the mapping is forgotten: the kernel cancels commands after the ring was closed, and
        // until then may fill a buffer at an address that by then could be someone else's.
    }
}

/// io_uring_register(2) for the two calls the io-uring crate offers only on a borrowed submitter.
fn register(ring: &IoUring, operation: libc::c_uint, update: &mut RingFdUpdate) -> io::Result<()> {
    // SAFETY: `update` is what both operations take, one of it, and they keep no pointer to it.
    let done = unsafe {
        let update: *mut RingFdUpdate = update;
        let (fd, operation) = (libc::c_long::from(ring.as_raw_fd()), operation as libc::c_long);
        let one: libc::c_long = 1;
        libc::syscall(libc::SYS_io_uring_register, fd, operation, update, one)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The ring's index among the thread's registered rings; none where there is no room or no support, for
/// then the plain descriptor serves as well.
fn register_ring_fd(ring: &IoUring) -> Option<u32> {
    let data = u64::try_from(ring.as_raw_fd()).ok()?;
    let mut update = RingFdUpdate { offset: u32::MAX, resv: 0, data };
    register(ring, IORING_REGISTER_RING_FDS, &mut update).ok()?;
    Some(update.offset)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::queue::KillSwitch;

    /// A ring over a file that answers any command at once; none where io_uring is not to be had.
    fn ring(depth: u16) -> Option<QueueRing> {
        let file = File::options().read(true).write(true).open("/dev/null").unwrap();
        let buffers = TagBuffers::map(depth, 4096).unwrap();
        match QueueRing::new(0, buffers, file.as_fd()) {
            Ok(ring) => Some(ring),
            Err(error) => {
                eprintln!("skipped: no io_uring here: {error}");
                None
            }
        }
    }

    #[test]
    fn a_buffer_is_ours_except_while_its_command_is_with_the_kernel() {
        let Some(mut ring) = ring(4) else { return };
        assert!(ring.registered.is_some());
        ring.buffer(2, 4096).unwrap().fill(7);
        ring.push(2, Command::Fetch).unwrap();
        assert!(ring.buffer(2, 1).is_none());
        assert!(ring.buffer(1, 1).is_some());
        assert_eq!(ring.push(2, Command::Fetch).unwrap_err().raw_os_error(), Some(libc::EBUSY));
        assert_eq!(ring.push(4, Command::Fetch).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        ring.submit_and_wait(1).unwrap();
        let completion = ring.next_completion().unwrap();
        assert!(matches!(completion, Completion::Tag { tag: 2, .. }));
        assert_eq!(ring.next_completion(), None);
        assert_eq!(ring.buffer(2, 4096).unwrap(), [7; 4096]);
        assert_eq!(ring.enters(), 1);
    }

    #[test]
    fn a_full_queue_fits_the_ring_and_costs_one_enter() {
        let Some(mut ring) = ring(4096) else { return };
        for tag in 0..4096 {
            ring.push(tag, Command::CommitAndFetch { result: 0 }).unwrap();
        }
        ring.submit_and_wait(4096).unwrap();
        assert_eq!(ring.ready(), 4096);
        let mut seen = vec![false; 4096];
        while let Some(Completion::Tag { tag, .. }) = ring.next_completion() {
            assert!(!std::mem::replace(&mut seen[usize::from(tag)], true));
        }
        assert!(seen.iter().all(|seen| *seen));
        assert_eq!(ring.enters(), 1);
    }

    #[test]
    fn a_waiting_ring_ends_when_the_switch_is_cut() {
        let Some(mut ring) = ring(1) else { return };
        let switch = KillSwitch::new().unwrap();
        ring.watch(switch.watched()).unwrap();
        ring.submit_and_wait(0).unwrap();
        assert_eq!(ring.next_completion(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                switch.cut();
            });
            ring.submit_and_wait(1).unwrap();
        });
        assert_eq!(ring.next_completion(), Some(Completion::Watch));
    }
}
