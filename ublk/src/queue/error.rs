//! Why a queue ended other than by its device's end.

use std::io;

use thiserror::Error;

use crate::tag::TagError;

/// Why a queue cannot be served, or not any longer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Something the queue needs could not be made.
    #[error("queue {queue}: cannot {what}: {source}")]
    Setup {
        /// The queue.
        queue: u16,
        /// What was being done.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The target wants bytes, and the device's data mode keeps them away from the server.
    #[error(
        "queue {queue}: zero copy needs a target that says where its bytes are (extents), or user copy beside it"
    )]
    NoBytes {
        /// The queue.
        queue: u16,
    },
    /// The ring failed.
    #[error("queue {queue}: io_uring_enter failed: {source}")]
    Ring {
        /// The queue.
        queue: u16,
        /// Why.
        source: io::Error,
    },
    /// The kernel and this queue disagree about a tag.
    #[error("queue {queue}, tag {tag}: {source}")]
    Tag {
        /// The queue.
        queue: u16,
        /// The tag.
        tag: u16,
        /// About what.
        source: TagError,
    },
    /// The queue was told to end at once; requests it owned were not answered.
    #[error("queue {queue} was ended by force")]
    Killed {
        /// The queue.
        queue: u16,
    },
}
