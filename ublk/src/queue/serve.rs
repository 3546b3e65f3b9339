//! From a request to a target and back: bounds before the call, errno and panics after it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Descriptor, Port, Queue, QueueError, Request};
use crate::target::{CommitDecision, Op, Target, errno_of};

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

/// Does what a descriptor asks for and says what to commit: bytes, or a negative errno. A range outside
/// of `size_bytes`, or one that `buffer` does not match, is EIO and never reaches the target.
pub fn execute<T: Target + ?Sized>(
    target: &T,
    descriptor: &Descriptor,
    size_bytes: u64,
    buffer: &mut [u8],
) -> i32 {
    let len = descriptor.len_bytes();
    let Some(offset) = descriptor.offset_bytes() else { return -libc::EIO };
    if descriptor.op != Op::Flush && offset.checked_add(len).is_none_or(|end| end > size_bytes) {
        return -libc::EIO;
    }
    if buffer.len() as u64 != descriptor.data_len_bytes() {
        return -libc::EIO;
    }
    let done: io::Result<()> = match descriptor.op {
        Op::Read => target.read(offset, buffer),
        Op::Write => target.write(offset, buffer, descriptor.fua),
        Op::Flush => target.flush(),
        Op::Discard => target.discard(offset, len),
        Op::WriteZeroes => target.write_zeroes(offset, len, !descriptor.no_unmap),
        _ => return -libc::EOPNOTSUPP,
    };
    match done {
        Ok(()) if descriptor.op == Op::Flush => 0,
        Ok(()) => i32::try_from(len).unwrap_or(i32::MAX),
        Err(error) => -errno_of(&error),
    }
}
