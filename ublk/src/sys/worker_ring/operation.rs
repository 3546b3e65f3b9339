//! What a task can have the kernel do for its request.

use std::time::Duration;

use crate::uapi::ShmemAddr;

/// Something a task has the kernel do for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Moves bytes between the request and a file: from the file unless `write`.
    Transfer {
        /// To the file.
        write: bool,
        /// Which of the lane's files.
        file: u32,
        /// Where in the file.
        offset_bytes: u64,
        /// Where in the request.
        start_bytes: u32,
        /// How many bytes.
        len_bytes: u32,
        /// Durable on completion.
        dsync: bool,
        /// Register the request's pages first.
        register: bool,
        /// The request begins there in shared memory, and not in the slot's buffer.
        shared: Option<ShmemAddr>,
    },
    /// Registers the request's pages.
    Register,
    /// Makes a file's bytes durable.
    Sync {
        /// Which of the lane's files.
        file: u32,
    },
    /// fallocate(2).
    Allocate {
        /// Which of the lane's files.
        file: u32,
        /// `FALLOC_FL_*`.
        mode: u32,
        /// Where.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
    },
    /// Completes after a while.
    Sleep {
        /// How long.
        duration: Duration,
    },
}
