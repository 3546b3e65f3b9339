//! A request as a token: completing consumes it, dropping it completes it with EIO.

use super::{Answer, Descriptor, KernelPort, Port, QueueError, Worker};
use crate::target::Op;

/// A request that waits for its answer.
#[derive(Debug)]
#[must_use = "a request that is dropped is answered with EIO"]
pub struct Request<'w, P: Port = KernelPort> {
    worker: &'w mut Worker<P>,
    slot: u32,
    descriptor: Descriptor,
    settled: bool,
}

impl<'w, P: Port> Request<'w, P> {
    pub(super) fn new(worker: &'w mut Worker<P>, slot: u32, descriptor: Descriptor) -> Self {
        Self { worker, slot, descriptor, settled: false }
    }

    /// The queue it came through.
    pub fn queue_id(&self) -> u16 {
        self.worker.lane(self.slot).queue
    }

    /// Its tag.
    pub fn tag(&self) -> u16 {
        self.worker.tag_of(self.slot)
    }

    /// Which of the worker's tickets its queue came from, in their order: this tells devices apart.
    pub fn ticket(&self) -> usize {
        self.worker.lane_number(self.slot)
    }

    /// What is asked for.
    pub fn op(&self) -> Op {
        self.descriptor.op
    }

    /// All of what is asked for.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// The result that means "all of it": its bytes, cut at what a result can say. The kernel looks at
    /// the exact number only for reads and writes, which are shorter.
    pub fn len_bytes(&self) -> i32 {
        i32::try_from(self.descriptor.len_bytes()).unwrap_or(i32::MAX)
    }

    /// The request's bytes: to be filled by a read, filled for a write, empty for anything else. It is
    /// the same in every data mode in which bytes reach the server.
    pub fn buffer(&mut self) -> &mut [u8] {
        let len_bytes = self.descriptor.data_len_bytes() as usize;
        if len_bytes == 0 {
            return &mut [];
        }
        // That it is there was checked before the request was made; and the tag is ours until commit.
        self.worker.port.buffer(self.slot, len_bytes).unwrap_or_default()
    }

    /// The request's metadata: to be filled by a read, filled for a write, empty for a request that has none.
    /// Available since Linux 7.0.
    pub fn metadata(&mut self) -> &mut [u8] {
        self.buffers().1
    }

    /// [`buffer`](Self::buffer) and [`metadata`](Self::metadata) at once.
    pub fn buffers(&mut self) -> (&mut [u8], &mut [u8]) {
        if !self.descriptor.has_metadata {
            return (self.buffer(), &mut []);
        }
        let len_bytes = self.descriptor.data_len_bytes() as usize;
        let metadata_len_bytes = self.worker.metadata_len_bytes(self.slot, &self.descriptor);
        // As in `buffer`.
        self.worker.port.buffers(self.slot, len_bytes, metadata_len_bytes).unwrap_or_default()
    }

    /// Answers: bytes done, or a negative errno.
    ///
    /// # Errors
    /// [`QueueError`] when the worker cannot go on.
    pub fn complete(self, result: i32) -> Result<(), QueueError> {
        self.complete_with(Answer::from(result))
    }

    /// Answers, with where a zone append was put.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn complete_with(mut self, answer: Answer) -> Result<(), QueueError> {
        self.settle(answer)
    }

    /// Answers after the request that is answered next, or before the worker waits; for fault injection
    /// only.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub fn complete_after_next(mut self, answer: Answer) -> Result<(), QueueError> {
        self.settled = true;
        self.worker.hold_back(self.slot, &self.descriptor, answer, false)
    }

    /// Never answers. The application waits until the server dies; for fault injection only.
    pub fn withhold(mut self) {
        self.settled = true;
        self.worker.lane(self.slot).counters.withheld();
    }

    pub(super) fn note_panic(&self) {
        self.worker.lane(self.slot).counters.panicked();
    }

    fn settle(&mut self, answer: Answer) -> Result<(), QueueError> {
        self.settled = true;
        self.worker.answer(self.slot, &self.descriptor, answer)
    }
}

impl<P: Port> Drop for Request<'_, P> {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = self.settle(Answer::error(libc::EIO))
        {
            self.worker.fail(error);
        }
    }
}
