//! A 64-byte SQE as eight words: what a worker's ring carries, built by a handful of stores. The
//! io-uring crate's builders have no place for two things a ublk server needs, the address beside a
//! command's payload and the flags of a command.

use io_uring::squeue::Entry;

use crate::uapi::{BatchIo, IoCmd};

const OP_FSYNC: u64 = 3;
const OP_READ_FIXED: u64 = 4;
const OP_WRITE_FIXED: u64 = 5;
const OP_POLL_ADD: u64 = 6;
const OP_TIMEOUT: u64 = 11;
const OP_FALLOCATE: u64 = 17;
const OP_READ: u64 = 22;
const OP_WRITE: u64 = 23;
const OP_URING_CMD: u64 = 46;

/// The descriptor is an index into the ring's file table.
const FIXED_FILE: u64 = 1 << 0;
/// The next entry waits for this one, and is cancelled when it fails.
const LINK: u64 = 1 << 2;
/// A buffer is taken from the group named.
const BUFFER_SELECT: u64 = 1 << 5;
/// No completion unless it fails. Available since Linux 5.17.
const SKIP_SUCCESS: u64 = 1 << 6;

/// `IORING_URING_CMD_MULTISHOT`. Available since Linux 6.18 with provided buffers.
const URING_CMD_MULTISHOT: u64 = 1 << 1;
/// `RWF_DSYNC`.
const RWF_DSYNC: u64 = 2;
/// `IORING_FSYNC_DATASYNC`.
const FSYNC_DATASYNC: u64 = 1;

const _: () = {
    assert!(io_uring::opcode::Fsync::CODE as u64 == OP_FSYNC);
    assert!(io_uring::opcode::ReadFixed::CODE as u64 == OP_READ_FIXED);
    assert!(io_uring::opcode::WriteFixed::CODE as u64 == OP_WRITE_FIXED);
    assert!(io_uring::opcode::PollAdd::CODE as u64 == OP_POLL_ADD);
    assert!(io_uring::opcode::Timeout::CODE as u64 == OP_TIMEOUT);
    assert!(io_uring::opcode::Fallocate::CODE as u64 == OP_FALLOCATE);
    assert!(io_uring::opcode::Read::CODE as u64 == OP_READ);
    assert!(io_uring::opcode::Write::CODE as u64 == OP_WRITE);
    assert!(io_uring::opcode::UringCmd16::CODE as u64 == OP_URING_CMD);
    assert!(size_of::<Entry>() == 64);
};

/// Words of `struct io_uring_sqe`: what they hold, by word.
const HEAD: usize = 0;
const OFF: usize = 1;
const ADDR: usize = 2;
const LEN_AND_FLAGS: usize = 3;
const USER_DATA: usize = 4;
const BUF_INDEX: usize = 5;
const CMD: usize = 6;

/// The memory that a transfer moves bytes to or from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// An address in this process.
    Memory(u64),
    /// An offset in a registered buffer.
    Registered { index: u16, offset: u64 },
}

/// An SQE under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sqe64([u64; 8]);

impl Sqe64 {
    fn on_file(opcode: u64, file: u32, user_data: u64) -> Self {
        let mut words = [0; 8];
        words[HEAD] = opcode | FIXED_FILE << 8 | u64::from(file) << 32;
        words[USER_DATA] = user_data;
        Self(words)
    }

    /// A per-tag command.
    pub(crate) fn io_cmd(
        file: u32,
        cmd_op: u32,
        cmd: IoCmd,
        sqe_addr: u64,
        user_data: u64,
    ) -> Self {
        let mut sqe = Self::on_file(OP_URING_CMD, file, user_data);
        let payload: [u64; 2] = zerocopy::transmute!(cmd);
        sqe.0[OFF] = u64::from(cmd_op);
        sqe.0[ADDR] = sqe_addr;
        sqe.0[CMD] = payload[0];
        sqe.0[CMD + 1] = payload[1];
        sqe
    }

    /// A batch command over elements at `addr`.
    pub(crate) fn batch(file: u32, cmd_op: u32, batch: BatchIo, addr: u64, user_data: u64) -> Self {
        let mut sqe = Self::on_file(OP_URING_CMD, file, user_data);
        let payload: [u64; 2] = zerocopy::transmute!(batch);
        sqe.0[OFF] = u64::from(cmd_op);
        sqe.0[ADDR] = addr;
        sqe.0[CMD] = payload[0];
        sqe.0[CMD + 1] = payload[1];
        sqe
    }

    /// Makes a command one of many completions, each with a buffer of that group.
    pub(crate) fn multishot(mut self, group: u16) -> Self {
        self.0[HEAD] |= BUFFER_SELECT << 8;
        self.0[LEN_AND_FLAGS] |= URING_CMD_MULTISHOT << 32;
        self.0[BUF_INDEX] = u64::from(group);
        self
    }

    /// Moves bytes between a file and a place.
    pub(crate) fn transfer(
        write: bool,
        file: u32,
        file_offset: u64,
        place: Place,
        len_bytes: u32,
        dsync: bool,
        user_data: u64,
    ) -> Self {
        let opcode = match (place, write) {
            (Place::Memory(_), false) => OP_READ,
            (Place::Memory(_), true) => OP_WRITE,
            (Place::Registered { .. }, false) => OP_READ_FIXED,
            (Place::Registered { .. }, true) => OP_WRITE_FIXED,
        };
        let mut sqe = Self::on_file(opcode, file, user_data);
        sqe.0[OFF] = file_offset;
        sqe.0[LEN_AND_FLAGS] = u64::from(len_bytes) | if dsync { RWF_DSYNC << 32 } else { 0 };
        match place {
            Place::Memory(addr) => sqe.0[ADDR] = addr,
            Place::Registered { index, offset } => {
                sqe.0[ADDR] = offset;
                sqe.0[BUF_INDEX] = u64::from(index);
            }
        }
        sqe
    }

    /// fdatasync(2), or fsync(2).
    pub(crate) fn sync(file: u32, data_only: bool, user_data: u64) -> Self {
        let mut sqe = Self::on_file(OP_FSYNC, file, user_data);
        sqe.0[LEN_AND_FLAGS] = if data_only { FSYNC_DATASYNC << 32 } else { 0 };
        sqe
    }

    /// fallocate(2). The length travels where an address does otherwise.
    pub(crate) fn allocate(
        file: u32,
        mode: u32,
        offset: u64,
        len_bytes: u64,
        user_data: u64,
    ) -> Self {
        let mut sqe = Self::on_file(OP_FALLOCATE, file, user_data);
        sqe.0[OFF] = offset;
        sqe.0[ADDR] = len_bytes;
        sqe.0[LEN_AND_FLAGS] = u64::from(mode);
        sqe
    }

    /// Completes when the descriptor is readable or hung up.
    pub(crate) fn poll(fd: i32, user_data: u64) -> Self {
        let mut words = [0; 8];
        words[HEAD] = OP_POLL_ADD | u64::from(fd as u32) << 32;
        words[LEN_AND_FLAGS] = (libc::POLLIN as u64) << 32;
        words[USER_DATA] = user_data;
        Self(words)
    }

    /// Completes with ETIME after the time at `timespec`, which the kernel reads when it takes the entry.
    pub(crate) fn timeout(timespec: u64, user_data: u64) -> Self {
        let mut words = [0; 8];
        words[HEAD] = OP_TIMEOUT | u64::from(u32::MAX) << 32;
        words[ADDR] = timespec;
        words[LEN_AND_FLAGS] = 1;
        words[USER_DATA] = user_data;
        Self(words)
    }

    /// Lets the next entry wait for this one.
    pub(crate) fn linked(mut self) -> Self {
        self.0[HEAD] |= LINK << 8;
        self
    }

    /// Asks for a completion only if it fails.
    pub(crate) fn quiet(mut self) -> Self {
        self.0[HEAD] |= SKIP_SUCCESS << 8;
        self
    }

    /// The ring's own type.
    pub(crate) fn entry(self) -> Entry {
        // SAFETY: `Entry` is `repr(C)` around the kernel's `io_uring_sqe`, 64 bytes (asserted above) of integers and
        // unions of integers, for which every bit pattern is a value. Pushing it is what is `unsafe`.
        unsafe { std::mem::transmute::<[u64; 8], Entry>(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use io_uring::{opcode, types};

    use super::*;
    use crate::uapi::IoCmdOp;

    fn words(entry: &Entry) -> [u64; 8] {
        // SAFETY: 64 bytes of integers, as above.
        unsafe { std::mem::transmute_copy(entry) }
    }

    /// The crate's builders, where they can say the same, say the same bytes.
    #[test]
    fn entries_are_those_of_the_io_uring_crate() {
        let cmd = IoCmd { q_id: 3, tag: 5, result: -7, addr: 0x7f00_1234_5000 };
        let theirs = opcode::UringCmd16::new(types::Fixed(2), IoCmdOp::FetchReq.encoded())
            .cmd(zerocopy::transmute!(cmd))
            .build()
            .user_data(9);
        let ours = Sqe64::io_cmd(2, IoCmdOp::FetchReq.encoded(), cmd, 0, 9);
        assert_eq!(words(&ours.entry()), words(&theirs));

        let buffer = 0x7f00_0000_1000_u64 as *mut u8;
        let theirs =
            opcode::Read::new(types::Fixed(1), buffer, 4096).offset(8192).build().user_data(4);
        let ours =
            Sqe64::transfer(false, 1, 8192, Place::Memory(buffer.addr() as u64), 4096, false, 4);
        assert_eq!(words(&ours.entry()), words(&theirs));

        let theirs = opcode::WriteFixed::new(types::Fixed(1), std::ptr::null(), 512, 6)
            .offset(1024)
            .rw_flags(libc::RWF_DSYNC)
            .build()
            .flags(io_uring::squeue::Flags::IO_LINK | io_uring::squeue::Flags::SKIP_SUCCESS)
            .user_data(4);
        let place = Place::Registered { index: 6, offset: 0 };
        let ours = Sqe64::transfer(true, 1, 1024, place, 512, true, 4).linked().quiet();
        assert_eq!(words(&ours.entry()), words(&theirs));

        let theirs = opcode::Fsync::new(types::Fixed(1))
            .flags(types::FsyncFlags::DATASYNC)
            .build()
            .user_data(1);
        assert_eq!(words(&Sqe64::sync(1, true, 1).entry()), words(&theirs));
        let theirs =
            opcode::Fallocate::new(types::Fixed(1), 4096).offset(512).mode(3).build().user_data(1);
        assert_eq!(words(&Sqe64::allocate(1, 3, 512, 4096, 1).entry()), words(&theirs));
        let theirs = opcode::PollAdd::new(types::Fd(7), libc::POLLIN as u32).build().user_data(1);
        assert_eq!(words(&Sqe64::poll(7, 1).entry()), words(&theirs));
        let timespec = types::Timespec::new().sec(1);
        let theirs = opcode::Timeout::new(&raw const timespec).build().user_data(1);
        let ours = Sqe64::timeout((&raw const timespec).addr() as u64, 1);
        assert_eq!(words(&ours.entry()), words(&theirs));
    }

    #[test]
    fn a_multishot_command_selects_its_buffers() {
        let fetch =
            Sqe64::batch(0, IoCmdOp::FetchIoCmds.encoded(), BatchIo::default(), 0, 0).multishot(5);
        let theirs = opcode::UringCmd16::new(types::Fixed(0), IoCmdOp::FetchIoCmds.encoded())
            .build()
            .flags(io_uring::squeue::Flags::BUFFER_SELECT);
        let mut expected = words(&theirs);
        expected[LEN_AND_FLAGS] = 2 << 32;
        expected[BUF_INDEX] = 5;
        assert_eq!(fetch.0, expected);
    }
}
