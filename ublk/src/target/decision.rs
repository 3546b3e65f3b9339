//! The vocabulary of the fault-injection seam: what becomes of a result.

/// What to do with the result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitDecision {
    /// Commit this result: bytes, or a negative errno.
    Commit(i32),
    /// Never commit. The application waits until the server dies or the device is stopped by force.
    Never,
}
