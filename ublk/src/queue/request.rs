//! A request as a token: completing consumes it, dropping it completes it with EIO.

use super::{Descriptor, KernelPort, Port, Queue, QueueError};
use crate::target::Op;

/// A request that waits for its answer.
#[derive(Debug)]
#[must_use = "a request that is dropped is answered with EIO"]
pub struct Request<'q, P: Port = KernelPort> {
    queue: &'q mut Queue<P>,
    tag: u16,
    descriptor: Descriptor,
    settled: bool,
}

impl<'q, P: Port> Request<'q, P> {
    pub(super) fn new(queue: &'q mut Queue<P>, tag: u16, descriptor: Descriptor) -> Self {
        Self { queue, tag, descriptor, settled: false }
    }

    /// The queue it came through.
    pub fn queue_id(&self) -> u16 {
        self.queue.id
    }

    /// Its tag.
    pub fn tag(&self) -> u16 {
        self.tag
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

    /// The request's bytes: to be filled by a read, filled for a write, empty for anything else.
    pub fn buffer(&mut self) -> &mut [u8] {
        let len_bytes = self.descriptor.data_len_bytes() as usize;
        // That it is there was checked before the request was made; and the tag is ours until commit.
        self.queue.port.buffer(self.tag, len_bytes).unwrap_or_default()
    }

    /// Answers: bytes done, or a negative errno.
    ///
    /// # Errors
    /// [`QueueError`] when the queue cannot go on.
    pub fn complete(mut self, result: i32) -> Result<(), QueueError> {
        self.settle(result)
    }

    /// Never answers. The application waits until the server dies; for fault injection only.
    pub fn withhold(mut self) {
        self.settled = true;
        self.queue.counters.withheld();
    }

    pub(super) fn note_panic(&self) {
        self.queue.counters.panicked();
    }

    fn settle(&mut self, result: i32) -> Result<(), QueueError> {
        self.settled = true;
        self.queue.answered(self.tag, &self.descriptor, result);
        self.queue.commit(self.tag, result)
    }
}

impl<P: Port> Drop for Request<'_, P> {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = self.settle(-libc::EIO)
        {
            self.queue.fail(error);
        }
    }
}
