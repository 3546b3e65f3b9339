//! A ring set up with any flags, whose commands may change while the kernel reads them: for fuzzing the raw protocol.
//!
//! The io-uring crate knows the flags it knows, and keeps the submission entries to itself. Here the entries are words that
//! are only touched through atomics, so that a second thread may rewrite the harmless ones of them (numbers, never
//! addresses) at the very moment the kernel reads the command. What can be pushed is a [`RawSqe`], as for any other ring.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::harmless::HarmlessSqe;
use super::raw_ring::Completion;
use super::setup;
use super::shared_words::SharedWords;

/// Flags that make io_uring_setup take addresses or the numbers of other files from its argument, or that want another way
/// of submitting.
const NOT_HERE: u32 =
    setup::NO_MMAP | setup::REGISTERED_FD_ONLY | setup::ATTACH_WQ | setup::SQ_REWIND;
const CQE_F_SKIP: u32 = 1 << 5;
const CQE_F_32: u32 = 1 << 15;

const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const ENTER_EXT_ARG: u32 = 8;
const REGISTER_FILES: u32 = 2;
const OFF_SQES: libc::off_t = 0x1000_0000;

/// Most entries of a ring.
const ENTRIES_MAX: u32 = 256;
/// How often a submission that took only a part is continued.
const SUBMITS_MAX: u32 = 64;
/// How long a kernel thread is given to take what was submitted.
const POLL_THREAD: Duration = Duration::from_millis(200);
/// Pause between looks where the kernel cannot be waited for.
const PAUSE: Duration = Duration::from_micros(200);

/// `struct io_uring_params`: 30 words. The names are places of words in it.
type Params = [u32; 30];
const SQ_ENTRIES: usize = 0;
const CQ_ENTRIES: usize = 1;
const FLAGS: usize = 2;
const SQ_IDLE: usize = 4;
const SQ_HEAD: usize = 10;
const SQ_TAIL: usize = 11;
const SQ_ARRAY: usize = 16;
const CQ_HEAD: usize = 20;
const CQ_TAIL: usize = 21;
const CQ_CQES: usize = 25;

/// How a [`WildRing`] is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WildShape {
    /// Submission entries, at most 256; the kernel rounds up to a power of two. There are four times as many completions.
    pub entries: u32,
    /// `IORING_SETUP_*`, without those that carry addresses or numbers of files.
    pub flags: u32,
    /// Idle milliseconds after which a submission thread sleeps.
    pub sq_idle_ms: u32,
}

/// A word of a command that is a number and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaceWord {
    /// `sqe.len`.
    Len,
    /// The first word of the payload: device id, or queue and tag.
    First,
    /// The second: queue and length, or the result.
    Second,
    /// The low half of a control command's `data`.
    Data,
}

impl RaceWord {
    fn offset_bytes(self) -> usize {
        match self {
            Self::Len => 24,
            Self::First => 48,
            Self::Second => 52,
            Self::Data => 64,
        }
    }
}

/// A word that changes back and forth while the kernel takes a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Race {
    /// Which of the commands that were pushed since the last submission.
    pub index: usize,
    /// Which word of it.
    pub word: RaceWord,
    /// The values it changes between.
    pub values: [u32; 2],
}

/// What the ring's file table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Nothing.
    None,
    /// Files that read a batch command's reserved bytes as reserved bytes.
    Devices,
    /// The control node, which would take them for an address.
    Control,
}

/// The ring. Dropping it cancels what is pending, in the background.
#[derive(Debug)]
pub struct WildRing {
    rings: SharedWords,
    sqes: SharedWords,
    params: Params,
    fd: OwnedFd,
    tail: u32,
    /// First entry of each command that was pushed since the last submission, and whether its words may change.
    pushed: Vec<(u32, bool)>,
    /// A submission thread takes entries when it likes, so files are kept as long as the ring.
    files: Vec<Arc<File>>,
    table: Table,
}

impl WildRing {
    /// Makes a ring.
    ///
    /// # Errors
    /// What io_uring_setup says, `EINVAL` for flags that this kernel does not know or not together; `InvalidInput` for more
    /// than 256 entries.
    pub fn new(shape: WildShape) -> io::Result<Self> {
        if shape.entries == 0 || shape.entries > ENTRIES_MAX {
            let why = "ring must have 1 to 256 entries";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut params: Params = [0; 30];
        params[FLAGS] = shape.flags & !NOT_HERE;
        params[CQ_ENTRIES] = shape.entries * 4;
        params[SQ_IDLE] = shape.sq_idle_ms;
        // Variadic: each argument has to fill its register.
        let entries = libc::c_long::from(shape.entries);
        // SAFETY: the kernel reads and writes one `io_uring_params`, which these 120 bytes are; without the flags of
        // `NOT_HERE` it takes no address from it.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params.as_mut_ptr()) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made it, for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let cqe_bytes = if params[FLAGS] & setup::CQE32 != 0 { 32 } else { 16 };
        let cq_end = params[CQ_CQES] as usize + params[CQ_ENTRIES] as usize * cqe_bytes;
        let sq_end = params[SQ_ARRAY] as usize + params[SQ_ENTRIES] as usize * 4;
        let sqe_bytes = if params[FLAGS] & setup::SQE128 != 0 { 128 } else { 64 };
        let rings = SharedWords::map(&fd, cq_end.max(sq_end), 0)?;
        let sqes = SharedWords::map(&fd, params[SQ_ENTRIES] as usize * sqe_bytes, OFF_SQES)?;
        let (pushed, files) = (Vec::new(), Vec::new());
        Ok(Self { rings, sqes, params, fd, tail: 0, pushed, files, table: Table::None })
    }

    /// Fills the ring's file table.
    pub(crate) fn register(&mut self, files: &[Arc<File>], table: Table) -> io::Result<()> {
        let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let (fd, operation) =
            (libc::c_long::from(self.fd.as_raw_fd()), libc::c_long::from(REGISTER_FILES));
        let count = numbers.len() as libc::c_long;
        // SAFETY: the kernel reads that many numbers, and keeps files, not the array.
        let done = unsafe {
            libc::syscall(libc::SYS_io_uring_register, fd, operation, numbers.as_ptr(), count)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        self.table = table;
        Ok(())
    }

    fn has(&self, flag: u32) -> bool {
        self.params[FLAGS] & flag != 0
    }

    fn is_wide(&self) -> bool {
        self.has(setup::SQE128)
    }

    fn head(&self) -> u32 {
        self.rings.word(self.params[SQ_HEAD] as usize).load(Ordering::Acquire)
    }

    /// Queues a command; it is 128 bytes long on a ring of such entries, and on one of mixed entries if it is a wide one.
    pub(crate) fn push(&mut self, sqe: &HarmlessSqe) -> io::Result<()> {
        sqe.check()?;
        if sqe.is_batch() && self.table == Table::Control {
            let why = "a batch command's reserved bytes would be the control node's address";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let entries = self.params[SQ_ENTRIES];
        let pair = self.has(setup::SQE_MIXED) && sqe.is_wide();
        // A wide command must not wrap; what is left at the end is filled with a NOP.
        if pair && self.tail % entries == entries - 1 {
            self.place(&[0; 64])?;
        }
        let first = self.tail;
        let bytes = *sqe.bytes().as_bytes();
        if pair {
            self.place(&bytes[..64])?;
            self.place(&bytes[64..])?;
        } else if self.is_wide() {
            self.place(&bytes)?;
        } else {
            self.place(&bytes[..64])?;
        }
        self.pushed.push((first, sqe.may_change()));
        self.files.extend(sqe.file().cloned());
        Ok(())
    }

    /// Fills the next entry.
    fn place(&mut self, bytes: &[u8]) -> io::Result<()> {
        let entries = self.params[SQ_ENTRIES];
        if self.tail.wrapping_sub(self.head()) >= entries {
            let why = "submission queue is full: submit first";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
        }
        let slot = self.tail % entries;
        let start = self.entry(slot);
        for (index, chunk) in bytes.chunks_exact(4).enumerate() {
            let word = u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
            self.sqes.word(start + index * 4).store(word, Ordering::Relaxed);
        }
        if !self.has(setup::NO_SQARRAY) {
            let place = self.params[SQ_ARRAY] as usize + slot as usize * 4;
            self.rings.word(place).store(slot, Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    fn entry(&self, slot: u32) -> usize {
        slot as usize * if self.is_wide() { 128 } else { 64 }
    }

    /// Hands what is queued to the kernel, while the words of `races` change; returns how many entries it took.
    ///
    /// A race of a command whose words must not change, or that is not there, is left out.
    ///
    /// # Errors
    /// What io_uring_enter says.
    pub fn submit(&mut self, races: &[Race]) -> io::Result<u32> {
        let running: Vec<(&AtomicU32, [u32; 2])> = races
            .iter()
            .filter_map(|race| {
                let (first, may_change) = *self.pushed.get(race.index)?;
                let entry = self.entry(first % self.params[SQ_ENTRIES]);
                let place = entry + race.word.offset_bytes();
                let is_there = race.word != RaceWord::Data || self.is_wide();
                (may_change && is_there).then(|| (self.sqes.word(place), race.values))
            })
            .collect();
        let result = if running.is_empty() {
            self.hand_over()
        } else {
            let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        for (word, values) in &running {
                            word.store(values[0], Ordering::Relaxed);
                            word.store(values[1], Ordering::Relaxed);
                        }
                        begun.store(true, Ordering::Relaxed);
                    }
                });
                while !begun.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                let result = self.hand_over();
                over.store(true, Ordering::Relaxed);
                result
            })
        };
        self.pushed.clear();
        result
    }

    fn hand_over(&self) -> io::Result<u32> {
        let before = self.head();
        self.rings.word(self.params[SQ_TAIL] as usize).store(self.tail, Ordering::Release);
        let begun = Instant::now();
        for _ in 0..SUBMITS_MAX {
            let left = self.tail.wrapping_sub(self.head());
            if left == 0 || begun.elapsed() > POLL_THREAD {
                break;
            }
            if self.has(setup::SQPOLL) {
                self.enter(left, 0, ENTER_SQ_WAKEUP, None)?;
                std::thread::sleep(PAUSE);
            } else {
                self.enter(left, 0, 0, None)?;
            }
        }
        Ok(self.head().wrapping_sub(before))
    }

    /// Waits until `n` completions are there or the time is over; returns what came.
    ///
    /// # Errors
    /// What io_uring_enter says.
    pub fn wait(&mut self, n: usize, timeout: Duration) -> io::Result<Vec<Completion>> {
        let begun = Instant::now();
        let mut out = Vec::new();
        // Deferred work is run by an enter that asks for completions, also by one that does not wait.
        let mut first = true;
        loop {
            self.drain(&mut out);
            let left = timeout.saturating_sub(begun.elapsed());
            if !first && (out.len() >= n || left.is_zero()) {
                return Ok(out);
            }
            if n == 0 || self.has(setup::IOPOLL) {
                self.enter(0, 0, ENTER_GETEVENTS, None)?;
                if n > out.len() {
                    std::thread::sleep(PAUSE);
                }
            } else if out.len() < n {
                match self.enter(0, 1, ENTER_GETEVENTS | ENTER_EXT_ARG, Some(left)) {
                    Ok(_) => {}
                    Err(error) if error.raw_os_error() == Some(libc::ETIME) => {}
                    Err(error) => return Err(error),
                }
            }
            first = false;
        }
    }

    fn enter(
        &self,
        to_submit: u32,
        want: u32,
        flags: u32,
        timeout: Option<Duration>,
    ) -> io::Result<u32> {
        let time = timeout.unwrap_or_default();
        let spec: [i64; 2] =
            [i64::try_from(time.as_secs()).unwrap_or(i64::MAX), i64::from(time.subsec_nanos())];
        // struct io_uring_getevents_arg: a signal mask, its size and a minimum, and where the time is.
        let argument: [u64; 3] = [0, 0, spec.as_ptr() as usize as u64];
        let (pointer, len_bytes) = match timeout {
            Some(_) => (argument.as_ptr(), size_of_val(&argument)),
            None => (ptr::null(), 0),
        };
        let number = |value: u32| libc::c_long::from(value);
        let fd = libc::c_long::from(self.fd.as_raw_fd());
        super::retry_eintr(|| {
            // SAFETY: the ring is alive, and its entries are those of `HarmlessSqe`s, some of whose numbers may change. The
            // kernel reads the argument and the time in it before it returns.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_io_uring_enter,
                    fd,
                    number(to_submit),
                    number(want),
                    number(flags),
                    pointer,
                    len_bytes,
                )
            };
            u32::try_from(done).map_err(|_| io::Error::last_os_error())
        })
    }

    fn drain(&self, out: &mut Vec<Completion>) {
        let place = |name: usize| self.rings.word(self.params[name] as usize);
        let mask = self.params[CQ_ENTRIES] - 1;
        let stride = if self.has(setup::CQE32) { 32 } else { 16 };
        let mut head = place(CQ_HEAD).load(Ordering::Relaxed);
        let tail = place(CQ_TAIL).load(Ordering::Acquire);
        while head != tail {
            let at = self.params[CQ_CQES] as usize + (head & mask) as usize * stride;
            let word = |index: usize| self.rings.word(at + index * 4).load(Ordering::Relaxed);
            let flags = word(3);
            let doubled = self.has(setup::CQE_MIXED) && flags & CQE_F_32 != 0;
            if flags & CQE_F_SKIP == 0 {
                let user_data = u64::from(word(0)) | u64::from(word(1)) << 32;
                out.push(Completion { user_data, res: word(2).cast_signed(), flags });
            }
            head = head.wrapping_add(if doubled { 2 } else { 1 });
        }
        place(CQ_HEAD).store(head, Ordering::Release);
    }
}

impl AsFd for WildRing {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::addr::Addr;
    use crate::sys::arena::Arena;
    use crate::sys::harmless::{HarmlessSqe, Ordinary};

    fn ring(flags: u32) -> Option<WildRing> {
        WildRing::new(WildShape { entries: 4, flags, sq_idle_ms: 5 })
            .map_err(|error| eprintln!("skipped: no ring with flags {flags:#x} here: {error}"))
            .ok()
    }

    fn nop(user_data: u64) -> HarmlessSqe {
        let mut sqe = HarmlessSqe::zeroed();
        sqe.set_user_data(user_data);
        sqe
    }

    #[rstest::rstest]
    #[case::plain(0)]
    #[case::wide(setup::SQE128)]
    #[case::big_completions(setup::SQE128 | setup::CQE32)]
    #[case::thread(setup::SQPOLL)]
    #[case::no_array(setup::NO_SQARRAY)]
    #[case::mixed(setup::SQE_MIXED | setup::CQE_MIXED)]
    #[case::deferred(1 << 12 | 1 << 13)]
    fn nops_come_back_with_their_numbers(#[case] flags: u32) {
        let Some(mut ring) = ring(flags) else { return };
        for round in 0..5 {
            for number in 0..4 {
                ring.push(&nop(round * 4 + number)).expect("queued");
            }
            assert_eq!(ring.push(&nop(99)).expect_err("full").kind(), io::ErrorKind::WouldBlock);
            assert_eq!(ring.submit(&[]).expect("submitted"), 4);
            let seen = ring.wait(4, Duration::from_secs(2)).expect("waited");
            let mut numbers: Vec<_> = seen.iter().map(|c| (c.user_data, c.res)).collect();
            numbers.sort_unstable();
            let expected: Vec<_> = (round * 4..round * 4 + 4).map(|n| (n, 0)).collect();
            assert_eq!(numbers, expected);
        }
    }

    #[test]
    fn a_wide_command_of_a_mixed_ring_takes_two_entries_and_never_wraps() {
        let Some(mut ring) = ring(setup::SQE_MIXED) else { return };
        let file = Arc::new(File::open("/dev/null").expect("opened"));
        let mut seen = Vec::new();
        for number in 0..6 {
            let mut sqe = HarmlessSqe::control(&file, 0, Default::default(), Addr::Null);
            sqe.set_wide();
            sqe.set_user_data(number);
            ring.push(&sqe).expect("queued");
            ring.submit(&[]).expect("submitted");
            ring.push(&nop(number + 100)).expect("queued");
            ring.submit(&[]).expect("submitted");
            seen.extend(ring.wait(2, Duration::from_millis(500)).expect("waited"));
        }
        let commands = seen.iter().filter(|c| (0..6).contains(&c.user_data)).count();
        assert!(commands >= 5, "{seen:?}");
    }

    #[test]
    fn a_read_stops_at_the_arenas_fence() {
        let Some(mut ring) = ring(0) else { return };
        let arena = Arena::new(4096).expect("mapped");
        let file = Arc::new(File::open("/dev/zero").expect("opened"));
        let addr = Addr::Arena(&arena, arena.len_bytes() - 8);
        let mut sqe = HarmlessSqe::ordinary(Ordinary::Read, &file, 0, addr, u16::MAX);
        sqe.set_len(u32::MAX);
        ring.push(&sqe).expect("queued");
        ring.submit(&[]).expect("submitted");
        let seen = ring.wait(1, Duration::from_secs(2)).expect("waited");
        assert!(matches!(seen.as_slice(), [only] if only.res == 8 || only.res == -libc::EFAULT));
    }

    #[test]
    fn words_change_while_the_kernel_takes_them() {
        let Some(mut ring) = ring(setup::SQE128) else { return };
        let (reader, _writer) = io::pipe().expect("pipe");
        let file = Arc::new(File::from(OwnedFd::from(reader)));
        for number in 0..20 {
            let mut sqe = HarmlessSqe::control(&file, 0, Default::default(), Addr::Null);
            sqe.set_user_data(number);
            ring.push(&sqe).expect("queued");
            let race = Race { index: 0, word: RaceWord::Data, values: [1, 2] };
            ring.submit(&[race]).expect("submitted");
            let seen = ring.wait(1, Duration::from_secs(2)).expect("waited");
            assert_eq!(seen[0].errno(), Some(libc::EOPNOTSUPP), "a pipe takes no commands");
        }
    }
}
