//! The protocol of one tag, without I/O: what may be sent next, and what a completion means now.
//!
//! A tag that is forgotten hangs the application that waits for it, and a tag that has two commands in
//! flight lends one buffer to the kernel twice. Both mistakes are made in loops full of rings and
//! mappings, where they are hard to see; so the rules live here alone, as a machine that consumes
//! completions and emits commands, and runs under proptest and Miri on any host.
//!
//! ```text
//!   New --arm--> Armed --completion 0--> Owned --commit--> Armed
//!                 |  \
//!                 |   +--completion 1--> Asked --get_data--> Armed
//!                 +------completion -ENODEV--> Aborted
//! ```
//!
//! It is the same in every data mode: only a device with NEED_GET_DATA asks, and where a request's bytes
//! are is no matter of the tag's.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// The completion that asks for a buffer.
const RESULT_NEED_GET_DATA: i32 = crate::uapi::IO_RES_NEED_GET_DATA;
/// The completion of a command that the kernel gave up because the device stops or its server dies.
const RESULT_ABORTED: i32 = -libc::ENODEV;

/// Where a tag is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagState {
    /// No command was ever sent.
    New,
    /// A command is with the kernel; the buffer belongs to it.
    Armed,
    /// The kernel has a write and asks where to put its data; the server owes a
    /// [`get_data`](Tag::get_data).
    Asked,
    /// The server has a request and owes a commit; the buffer belongs to the server.
    Owned,
    /// The kernel ended the tag. Nothing may be sent for it any more.
    Aborted,
}

/// A command to send to the character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `UBLK_U_IO_FETCH_REQ`: wait for the first request.
    Fetch,
    /// `UBLK_U_IO_COMMIT_AND_FETCH_REQ`: the result of this request, then wait for the next.
    CommitAndFetch {
        /// Bytes done, or a negative errno.
        result: i32,
        /// Where a zone append was put, in sectors; 0 for everything else.
        append_sector: u64,
    },
    /// `UBLK_U_IO_NEED_GET_DATA`: here is the buffer for the write that was announced.
    GetData,
}

/// What a completion brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A request is in the tag's descriptor.
    Request,
    /// A write is announced, and its data can be asked for.
    NeedsBuffer,
    /// The tag has ended; the device stops or goes away.
    Aborted,
}

/// A step that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TagError {
    /// A completion came although no command was in flight.
    #[error("completion {result} for a tag that is {state:?} and has no command in flight")]
    Unexpected {
        /// The state the tag was in, and still is.
        state: TagState,
        /// The completion's result.
        result: i32,
    },
    /// The kernel refused the command. The tag is dead, and its request too if it was a commit.
    #[error("the kernel refused the {what} with errno {errno}", what = if *.commit { "commit" } else { "fetch" })]
    Refused {
        /// The errno, positive.
        errno: i32,
        /// Whether the command was a commit and not the first fetch.
        commit: bool,
    },
    /// A result that belongs to a mode which was not asked for.
    #[error("completion {result} belongs to a mode this device was not added with")]
    Foreign {
        /// The completion's result.
        result: i32,
    },
    /// The server wanted to send a command that the state forbids.
    #[error("cannot {wanted} a tag that is {state:?}")]
    Forbidden {
        /// The state the tag was in, and still is.
        state: TagState,
        /// What was wanted: `fetch`, `commit` or `get the data of`.
        wanted: &'static str,
    },
}

/// The state machine of one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    state: TagState,
    /// Whether the command in flight is a commit: only then can a refusal lose a request.
    committed: bool,
    /// Whether the command in flight gives a buffer for a write that was announced: no second
    /// announcement can follow.
    gave_buffer: bool,
}

impl Default for Tag {
    fn default() -> Self {
        Self::new()
    }
}

impl Tag {
    /// A tag for which nothing was sent yet.
    pub const fn new() -> Self {
        Self { state: TagState::New, committed: false, gave_buffer: false }
    }

    /// Where the tag is.
    pub const fn state(&self) -> TagState {
        self.state
    }

    /// The first fetch.
    ///
    /// # Errors
    /// [`TagError::Forbidden`] unless the tag is new: the kernel takes one FETCH per tag and round.
    pub fn arm(&mut self) -> Result<Command, TagError> {
        match self.state {
            TagState::New => {
                self.state = TagState::Armed;
                Ok(Command::Fetch)
            }
            state => Err(TagError::Forbidden { state, wanted: "fetch" }),
        }
    }

    /// Takes in the result of the command in flight.
    ///
    /// # Errors
    /// [`TagError::Unexpected`] leaves the tag as it was. [`TagError::Refused`] and
    /// [`TagError::Foreign`] end it, for the kernel will not answer for it again.
    pub fn complete(&mut self, result: i32) -> Result<Arrival, TagError> {
        if self.state != TagState::Armed {
            return Err(TagError::Unexpected { state: self.state, result });
        }
        match result {
            0 => {
                self.state = TagState::Owned;
                Ok(Arrival::Request)
            }
            RESULT_NEED_GET_DATA if !self.gave_buffer => {
                self.state = TagState::Asked;
                Ok(Arrival::NeedsBuffer)
            }
            RESULT_ABORTED => {
                self.state = TagState::Aborted;
                Ok(Arrival::Aborted)
            }
            _ => {
                self.state = TagState::Aborted;
                if result < 0 {
                    let errno = result.saturating_neg();
                    Err(TagError::Refused { errno, commit: self.committed })
                } else {
                    Err(TagError::Foreign { result })
                }
            }
        }
    }

    /// Gives a buffer for the write that was announced.
    ///
    /// # Errors
    /// [`TagError::Forbidden`] unless the kernel asked for it.
    pub fn get_data(&mut self) -> Result<Command, TagError> {
        match self.state {
            TagState::Asked => {
                self.state = TagState::Armed;
                self.gave_buffer = true;
                Ok(Command::GetData)
            }
            state => Err(TagError::Forbidden { state, wanted: "get the data of" }),
        }
    }

    /// Gives the request's result back and asks for the next one. `append_sector` says where a zone
    /// append was put.
    ///
    /// # Errors
    /// [`TagError::Forbidden`] unless the server owns the tag.
    pub fn commit(&mut self, result: i32, append_sector: u64) -> Result<Command, TagError> {
        match self.state {
            TagState::Owned => {
                self.state = TagState::Armed;
                self.committed = true;
                self.gave_buffer = false;
                Ok(Command::CommitAndFetch { result, append_sector })
            }
            state => Err(TagError::Forbidden { state, wanted: "commit" }),
        }
    }
}
