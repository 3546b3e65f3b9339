//! One queue of a device: what its tags are, and what becomes of a request that comes to it.
//!
//! The tags of a queue are fetched by one thread here. Which of them a request gets is the block layer's choice, so all
//! that are armed have to be alike.

/// Tags of a queue.
pub const TAGS: u8 = 2;
/// Most queues of a device.
pub const QUEUES_MAX: u8 = 2;

/// What a tag's command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// None in this round.
    Free,
    /// Armed: waits for a request.
    Armed,
    /// With the server, request and all.
    Owned,
    /// Armed, but the request that was committed is still there: a buffer of it is registered.
    Held,
    /// Taken back. It counts as fetched until the device is closed.
    Cancelled,
    /// Of an earlier round that was not ended: it counts as fetched, and its command is gone. Before 7.3.
    Stale,
}

/// One queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // The driver's own flag bits, by their names.
pub struct Queue {
    /// Tags.
    pub tags: [Tag; TAGS as usize],
    /// Thread of the server that has fetched them, and alone may commit.
    pub thread: u8,
    /// Requests are not given to the tags.
    pub cancelling: bool,
    /// Requests are failed, for the disk goes.
    pub force_abort: bool,
    /// Requests are failed, for there is no server.
    pub fails_io: bool,
}

impl Queue {
    /// As ADD_DEV makes it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tags: [Tag::Free; TAGS as usize],
            thread: 0,
            cancelling: false,
            force_abort: false,
            fails_io: false,
        }
    }

    /// Whether every tag was fetched in this round.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.tags.iter().all(|tag| *tag != Tag::Free)
    }

    /// Whether no tag was.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.tags.iter().all(|tag| *tag == Tag::Free)
    }

    /// Whether all that were fetched say the same to a command that is not called for, whichever of them had a request.
    #[must_use]
    pub fn is_alike(&self) -> bool {
        let busy = |tag: Tag| if tag == Tag::Held { Tag::Armed } else { tag };
        let mut fetched = self.tags.iter().map(|tag| busy(*tag)).filter(|tag| *tag != Tag::Free);
        fetched.next().is_none_or(|first| fetched.all(|tag| tag == first))
    }

    /// Number of tags that are `wanted`.
    #[must_use]
    pub fn count(&self, wanted: Tag) -> usize {
        self.tags.iter().filter(|tag| **tag == wanted).count()
    }

    /// One tag that is `from` becomes `to`; whether there was one.
    pub fn turn(&mut self, from: Tag, to: Tag) -> bool {
        let tag = self.tags.iter_mut().find(|tag| **tag == from);
        tag.map(|tag| *tag = to).is_some()
    }

    /// Every tag that is `from` becomes `to`.
    pub fn turn_all(&mut self, from: Tag, to: Tag) {
        while self.turn(from, to) {}
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}
