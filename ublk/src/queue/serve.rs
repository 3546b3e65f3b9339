//! From a request to a target and back: what panics becomes an answer too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Port, Queue, QueueError, Request, execute};
use crate::target::{CommitDecision, Target};

impl<P: Port> Queue<P> {
    /// Serves until the kernel has ended every tag.
    ///
    /// # Errors
    /// As [`next_request`](Queue::next_request). A target's errors and panics are answers, not errors.
    pub fn serve<T: Target + ?Sized>(&mut self, target: &T) -> Result<(), QueueError> {
        let size_bytes = target.size_bytes();
        while let Some(request) = self.next_request()? {
            serve_one(request, target, size_bytes)?;
        }
        Ok(())
    }
}

fn serve_one<P: Port, T: Target + ?Sized>(
    mut request: Request<'_, P>,
    target: &T,
    size_bytes: u64,
) -> Result<(), QueueError> {
    let descriptor = request.descriptor();
    let (queue, tag) = (request.queue_id(), request.tag());
    let buffer = request.buffer();
    // A target that panicked may have broken its own invariants, as with any lock it held: that is its
    // business. Nothing of ours is half changed, for it has only the bytes.
    let decided = catch_unwind(AssertUnwindSafe(|| {
        let result = execute(target, &descriptor, size_bytes, buffer);
        target.before_commit(queue, tag, descriptor.op, result)
    }));
    match decided {
        Ok(CommitDecision::Commit(result)) => request.complete(result),
        Ok(CommitDecision::Never) => {
            request.withhold();
            Ok(())
        }
        Err(panic) => {
            request.note_panic();
            // The payload's own drop may panic too, and must not take the queue with it.
            std::mem::forget(panic);
            request.complete(-libc::EIO)
        }
    }
}
