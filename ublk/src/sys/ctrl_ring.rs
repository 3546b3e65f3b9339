//! The control client's ring: 128-byte entries, and the buffers of commands in flight.
//!
//! A control command names a buffer that the kernel may write to long after the caller's patience is over: START_DEV
//! waits for the last tag, DEL_DEV for the last opener. So the buffers belong to the ring and are freed only when
//! the completion has been seen. Those still in flight when the ring is dropped are leaked, on purpose: that costs
//! some kilobytes once, and the alternative is a kernel that writes into somebody else's memory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::raw_ring::{Completion, Ring, RingShape};
use super::sender::Sender;
use super::sqe::SqeBytes;
use crate::uapi::CtrlCmd;

/// Commands that may be pending, or done and not yet collected, at once.
const MAX_PENDING: usize = 64;

/// Heap memory that is only ever touched through its pointer, because the kernel holds the same pointer.
#[derive(Debug)]
struct Payload {
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: it owns its memory, like a `Box<[u8]>`.
unsafe impl Send for Payload {}

impl Payload {
    fn new(bytes: Vec<u8>) -> Self {
        let boxed = Box::leak(bytes.into_boxed_slice());
        Self { len_bytes: boxed.len(), start: NonNull::from(boxed).cast() }
    }

    fn addr(&self) -> u64 {
        if self.len_bytes == 0 { 0 } else { self.start.as_ptr() as usize as u64 }
    }

    /// Takes the bytes back.
    ///
    /// # Safety
    /// The kernel must be done with the command that carried the address.
    unsafe fn into_bytes(self) -> Vec<u8> {
        let this = ManuallyDrop::new(self);
        // SAFETY: start and length are those of the boxed slice leaked in `new`, and nobody else uses it any more.
        let boxed = unsafe {
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(this.start.as_ptr(), this.len_bytes))
        };
        boxed.into_vec()
    }
}

#[derive(Debug)]
enum Slot {
    /// The kernel has the command; nobody waits for it any more when `abandoned`.
    InFlight { payload: Payload, abandoned: bool, sender: Option<Sender> },
    /// The completion was seen and not yet collected.
    Done { result: i32, payload: Vec<u8> },
}

/// Whose a command is: with that process it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitter {
    /// This one.
    Us,
    /// A copy of this one; see [`Sender`]. Where none can be made it is this one.
    Copy,
}

/// What a command came to: the CQE's result and the buffer as the kernel left it.
pub(crate) struct Outcome {
    pub(crate) result: i32,
    pub(crate) payload: Vec<u8>,
}

/// See the module. `Payload` has no destructor, so dropping the map leaks what is in flight.
#[derive(Debug)]
pub(crate) struct CtrlRing {
    ring: Ring,
    file: File,
    slots: HashMap<u64, Slot>,
    next_token: u64,
}

impl CtrlRing {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let shape = RingShape { entries: MAX_PENDING as u32, sqe128: true, ..RingShape::default() };
        Ok(Self { ring: Ring::open(&shape)?, file, slots: HashMap::new(), next_token: 1 })
    }

    /// Builds the SQE for a command whose `addr` and `len` are set to a buffer with these bytes, and submits it.
    /// `observe` sees the SQE first. The token is never used twice.
    pub(crate) fn submit(
        &mut self,
        cmd_op: u32,
        mut cmd: CtrlCmd,
        payload: Vec<u8>,
        submitter: Submitter,
        observe: impl FnOnce(&SqeBytes),
    ) -> io::Result<u64> {
        let fd = self.file.as_raw_fd();
        let build = |payload: &Payload, token| {
            cmd.addr = payload.addr();
            cmd.len = payload.len_bytes as u16; // `place` has checked that it fits.
            let mut sqe = SqeBytes::uring_cmd(fd, cmd_op, token);
            sqe.set_ctrl_cmd(&cmd);
            observe(&sqe);
            sqe
        };
        // SAFETY: the one address in the command is the payload's; the descriptor is ours and open.
        unsafe { self.place(payload, submitter, build) }
    }

    /// Gives a payload a slot, and submits the SQE built for it.
    ///
    /// # Safety
    /// The SQE must make the kernel write to nothing but the payload it was built for, and complete once.
    unsafe fn place(
        &mut self,
        payload: Vec<u8>,
        submitter: Submitter,
        build: impl FnOnce(&Payload, u64) -> SqeBytes,
    ) -> io::Result<u64> {
        self.collect(0, Duration::ZERO)?;
        if self.slots.len() >= MAX_PENDING {
            return Err(io::Error::other(
                "64 control commands are pending or not collected: wait for some of them first",
            ));
        }
        if payload.len() > usize::from(u16::MAX) {
            return Err(io::Error::other("control payload is longer than 65535 bytes"));
        }
        let token = self.next_token;
        self.next_token += 1;
        let payload = Payload::new(payload);
        let sqe = build(&payload, token);
        self.slots.insert(token, Slot::InFlight { payload, abandoned: false, sender: None });
        // A copy submits one entry: not where an earlier one was left in the queue.
        let submitter = if self.ring.is_submitted() { submitter } else { Submitter::Us };
        // SAFETY: the payload lives in its slot until the completion is seen, or for ever; the rest is our caller's.
        if let Err(error) = unsafe { self.ring.push(&sqe) } {
            self.slots.remove(&token);
            return Err(error);
        }
        // On failure the entry stays queued and its slot stays in flight: the kernel may still take it.
        if submitter == Submitter::Us || !self.submit_by_copy(token) {
            self.ring.submit()?;
        }
        Ok(token)
    }

    /// Has a copy of this process submit the one entry that is queued. False where it is queued still.
    fn submit_by_copy(&mut self, token: u64) -> bool {
        let (ring, file) = (self.ring.as_fd().as_raw_fd(), self.file.as_raw_fd());
        match Sender::submit_one(ring, file, || self.ring.is_submitted()) {
            Ok(made) => {
                if let Some(Slot::InFlight { sender, .. }) = self.slots.get_mut(&token) {
                    *sender = Some(made);
                }
                true
            }
            Err(_) => self.ring.is_submitted(),
        }
    }

    /// Waits for one command; `None` when the time is over first, and the command stays pending.
    pub(crate) fn wait(&mut self, token: u64, timeout: Duration) -> io::Result<Option<Outcome>> {
        let started = Instant::now();
        loop {
            match self.slots.get(&token) {
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::NotFound,
                        "no such pending command: it was collected, abandoned, or belongs to another client",
                    ));
                }
                Some(Slot::Done { .. }) => {
                    if let Some(Slot::Done { result, payload }) = self.slots.remove(&token) {
                        return Ok(Some(Outcome { result, payload }));
                    }
                }
                Some(Slot::InFlight { .. }) => {
                    let left = timeout.saturating_sub(started.elapsed());
                    if !self.collect(1, left)? && left.is_zero() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Gives up on a command's result. Its buffer lives on until the kernel is done.
    pub(crate) fn abandon(&mut self, token: u64) {
        match self.slots.get_mut(&token) {
            Some(Slot::InFlight { abandoned, .. }) => *abandoned = true,
            Some(Slot::Done { .. }) => drop(self.slots.remove(&token)),
            None => {}
        }
    }

    /// Commands that are in flight, abandoned ones too, or done and not collected.
    pub(crate) fn occupied(&mut self) -> io::Result<usize> {
        self.collect(0, Duration::ZERO)?;
        Ok(self.slots.len())
    }

    /// Takes in completions, waiting for `want` of them; tells whether any came.
    fn collect(&mut self, want: usize, timeout: Duration) -> io::Result<bool> {
        let mut completions = Vec::new();
        let waited = self.ring.wait(want, timeout, &mut completions);
        for completion in &completions {
            self.finish(completion);
        }
        waited.map(|()| !completions.is_empty())
    }

    fn finish(&mut self, completion: &Completion) {
        let token = completion.user_data;
        let Some(Slot::InFlight { payload, abandoned, .. }) = self.slots.remove(&token) else {
            return; // Control commands complete once and tokens are not reused, so there is nothing to lose.
        };
        // SAFETY: this completion says that the kernel is done with the command.
        let payload = unsafe { payload.into_bytes() };
        if !abandoned {
            self.slots.insert(token, Slot::Done { result: completion.res, payload });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// `IORING_OP_READ`, which unlike a ublk command stays pending on any host.
    const OP_READ: u8 = 22;
    const OP_NOP: u8 = 0;

    /// A ring on the read end of a pipe, and the write end; `None` where the host has no io_uring.
    fn ring_on_a_pipe() -> Option<(CtrlRing, io::PipeWriter)> {
        let (reader, writer) = io::pipe().expect("pipe");
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        CtrlRing::new(file)
            .map(|ring| (ring, writer))
            .map_err(|error| eprintln!("skipped: io_uring is not available here: {error}"))
            .ok()
    }

    fn submit_read(ring: &mut CtrlRing) -> u64 {
        submit_read_by(ring, Submitter::Us)
    }

    fn submit_read_by(ring: &mut CtrlRing, submitter: Submitter) -> u64 {
        let fd = ring.file.as_raw_fd();
        let build = |payload: &Payload, token| {
            let mut sqe = SqeBytes::uring_cmd(fd, 0, token);
            sqe.set_opcode(OP_READ);
            sqe.set_addr(payload.addr());
            sqe.set_len(payload.len_bytes as u32);
            sqe
        };
        // SAFETY: a read into the payload and nothing else.
        unsafe { ring.place(vec![0; 8], submitter, build) }.expect("submitted")
    }

    #[test]
    fn a_command_that_timed_out_can_be_awaited_again() {
        let Some((mut ring, mut writer)) = ring_on_a_pipe() else { return };
        let token = submit_read(&mut ring);
        for _ in 0..2 {
            let started = Instant::now();
            let timeout = Duration::from_millis(20);
            assert!(ring.wait(token, timeout).expect("no ring error").is_none());
            assert!(started.elapsed() >= timeout);
        }
        assert!(ring.wait(token, Duration::ZERO).expect("a look").is_none());
        writer.write_all(b"late").expect("written");
        let outcome = ring.wait(token, Duration::from_secs(5)).expect("no ring error");
        let outcome = outcome.expect("done");
        assert_eq!((outcome.result, outcome.payload.as_slice()), (4, &b"late\0\0\0\0"[..]));
        assert_eq!(
            ring.wait(token, Duration::ZERO).err().map(|e| e.kind()),
            Some(io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn commands_are_collected_in_any_order() {
        let Some((mut ring, mut writer)) = ring_on_a_pipe() else { return };
        let tokens = [submit_read(&mut ring), submit_read(&mut ring)];
        writer.write_all(b"8 bytes.").expect("written");
        writer.write_all(b"8 again.").expect("written");
        for token in tokens.iter().rev() {
            let outcome = ring.wait(*token, Duration::from_secs(5)).expect("no ring error");
            assert_eq!(outcome.expect("done").result, 8);
        }
        assert!(ring.slots.is_empty());
    }

    #[test]
    fn an_abandoned_command_keeps_its_buffer_until_the_kernel_is_done() {
        let Some((mut ring, mut writer)) = ring_on_a_pipe() else { return };
        let token = submit_read(&mut ring);
        ring.abandon(token);
        assert_eq!(ring.slots.len(), 1);
        writer.write_all(b"unwanted").expect("written");
        let next = submit_read(&mut ring);
        assert!(ring.wait(next, Duration::from_millis(20)).expect("no ring error").is_none());
        assert_eq!(ring.slots.keys().collect::<Vec<_>>(), [&next]);
    }

    /// Processes that this thread has made.
    fn children() -> usize {
        let path = "/proc/thread-self/children";
        std::fs::read_to_string(path).expect("own children").split_whitespace().count()
    }

    #[test]
    fn a_command_of_a_copy_ends_as_ours_do_and_the_copy_with_it() {
        let Some((mut ring, mut writer)) = ring_on_a_pipe() else { return };
        let token = submit_read_by(&mut ring, Submitter::Copy);
        assert_eq!(children(), 1);
        // A completion of ours is not what the copy stays for.
        let nothing = |_: &Payload, token| {
            let mut sqe = SqeBytes::uring_cmd(-1, 0, token);
            sqe.set_opcode(OP_NOP);
            sqe
        };
        // SAFETY: it does nothing.
        let ours = unsafe { ring.place(Vec::new(), Submitter::Us, nothing) }.expect("submitted");
        assert!(ring.wait(ours, Duration::from_secs(5)).expect("a look").is_some());
        assert!(ring.wait(token, Duration::from_millis(20)).expect("a look").is_none());
        assert_eq!(children(), 1);
        writer.write_all(b"8 bytes.").expect("written");
        let outcome = ring.wait(token, Duration::from_secs(5)).expect("no ring error");
        let outcome = outcome.expect("done");
        // The copy has read into its own memory, which shows that it was the copy.
        assert_eq!((outcome.result, outcome.payload.as_slice()), (8, &[0; 8][..]));
        assert_eq!(children(), 0);
    }

    #[test]
    fn a_copy_goes_with_its_ring() {
        let Some((mut ring, writer)) = ring_on_a_pipe() else { return };
        submit_read_by(&mut ring, Submitter::Copy);
        assert_eq!(children(), 1);
        drop(ring);
        assert_eq!(children(), 0);
        drop(writer);
    }

    #[test]
    fn dropping_a_ring_with_a_command_in_flight_ends() {
        let Some((mut ring, writer)) = ring_on_a_pipe() else { return };
        submit_read(&mut ring);
        drop(ring);
        drop(writer);
    }
}
