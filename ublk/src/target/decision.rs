//! The vocabulary of the fault-injection seam: what a target is told of a result, and what becomes of it.

use super::{Hints, Op};

/// A request that has been done, before its result goes to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The queue it came through.
    pub queue: u16,
    /// Its tag.
    pub tag: u16,
    /// What was asked for.
    pub op: Op,
    /// Where it begins, in bytes.
    pub offset_bytes: u64,
    /// How many bytes it covers; 0 for a flush.
    pub len_bytes: u64,
    /// What its sender said about it.
    pub hints: Hints,
    /// Bytes done, or a negative errno.
    pub result: i32,
}

/// What to do with the result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitDecision {
    /// Commit this result: bytes, or a negative errno.
    Commit(i32),
    /// Commit this result, but after the result of the request that the queue answers next; or before the
    /// queue waits, if there is none.
    CommitAfterNext(i32),
    /// Never commit. The application waits until the server dies or the device is stopped by force.
    Never,
}
