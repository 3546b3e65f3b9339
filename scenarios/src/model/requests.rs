//! What becomes of a device's requests: given to a tag, held back or failed; asked for, copied, registered, committed.

use super::device::{Device, Read, State};
use super::effects::Effects;
use super::profile::Profile;
use super::queue::Tag;
use super::sort::Mode;
use crate::rig::{EACCES, EBUSY, EINVAL};

/// Bytes of a read, and its result.
pub(super) const READ_BYTES: i32 = 4096;

impl Read {
    /// Whether the server can commit it.
    #[must_use]
    pub fn can_be_answered(&self) -> bool {
        self.delivered && !self.committed && !self.orphan && !self.wants
    }
}

impl Device {
    /// Gives a request to a tag, holds it back or fails it.
    pub fn request(&mut self, slot: u8, number: u8, write: bool, effects: &mut Effects) {
        let asks = write && self.sort.mode == Mode::GetData;
        let holds = self.holds();
        let Some(queue) = self.queues.get_mut(usize::from(number)) else { return };
        if queue.fails_io {
            effects.read(slot, &[-nix::libc::EREMOTEIO]);
        } else if holds && queue.force_abort || queue.cancelling && !holds {
            effects.read(slot, &[-nix::libc::EIO]);
        } else {
            // Which tag a request gets is the block layer's choice; all that are armed are alike to the model.
            let delivered = !queue.cancelling && queue.turn(Tag::Armed, Tag::Owned);
            self.reads.push(Read {
                slot,
                queue: number,
                delivered,
                registered: false,
                committed: false,
                orphan: false,
                write,
                wants: asks && delivered,
            });
        }
    }

    /// Whether the server has a request.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.reads.iter().any(|read| read.delivered)
    }

    /// Whether it has one that it can commit.
    #[must_use]
    pub fn can_answer(&self) -> bool {
        self.reads.iter().any(Read::can_be_answered)
    }

    /// The request that a step about one of them is about: one whose pages are not registered, if there is.
    #[must_use]
    pub fn target(&self) -> Option<Read> {
        let mut given = self.reads.iter().filter(|read| read.delivered && !read.committed);
        given
            .clone()
            .find(|read| !read.registered && !read.orphan)
            .or_else(|| given.next())
            .copied()
    }

    /// The write whose data is asked for next.
    #[must_use]
    pub fn wanting(&self) -> Option<Read> {
        self.reads.iter().find(|read| read.wants && !read.orphan).copied()
    }

    /// The request whose pages are unregistered next.
    #[must_use]
    pub fn registered(&self) -> Option<Read> {
        self.reads.iter().find(|read| read.registered).copied()
    }

    /// The server commits all it can.
    pub fn answer(&mut self, effects: &mut Effects) {
        let mut kept = Vec::new();
        for mut read in std::mem::take(&mut self.reads) {
            if read.can_be_answered() {
                let to = if read.registered { Tag::Held } else { Tag::Armed };
                if let Some(queue) = self.queues.get_mut(usize::from(read.queue)) {
                    queue.turn(Tag::Owned, to);
                }
                if !read.registered {
                    effects.read(read.slot, &[READ_BYTES]);
                    continue;
                }
                read.committed = true;
            }
            kept.push(read);
        }
        self.reads = kept;
    }

    /// pread or pwrite in the place of a request's data.
    #[must_use]
    pub fn copy(&self, write: bool, profile: &Profile) -> i32 {
        match (self.state, self.sort.mode, self.target()) {
            (State::Dead, ..) => -EACCES,
            (_, Mode::Copy | Mode::ZeroCopy | Mode::GetData, _) if profile.copy_asks_the_mode => {
                -EACCES
            }
            // A request without a count of its users is not found.
            (_, Mode::Copy | Mode::ZeroCopy | Mode::GetData, _) | (_, _, None) => -EINVAL,
            (.., Some(request)) if write != request.write => READ_BYTES,
            // It would be the data of the other direction.
            _ => -EACCES,
        }
    }

    /// NEED_GET_DATA for the first write that wants it; else for the target, or for a tag that has no request.
    pub fn get_data(&mut self) -> i32 {
        if let Some(read) = self.reads.iter_mut().find(|read| read.wants && !read.orphan) {
            read.wants = false;
            return 0;
        }
        if self.target().is_some() { -EINVAL } else { self.stray() }
    }

    /// A command of tag 0 that is none for it.
    #[must_use]
    pub fn stray(&self) -> i32 {
        match self.tag(0) {
            Some(Tag::Armed | Tag::Held) => -EBUSY,
            _ => -EINVAL,
        }
    }

    /// REGISTER_IO_BUF for the target, or for a tag that has no request.
    pub fn register(&mut self) -> i32 {
        let Some(target) = self.target() else {
            return if self.tag(0) == Some(Tag::Free) { -EINVAL } else { -EBUSY };
        };
        if self.sort.mode != Mode::ZeroCopy {
            return -EINVAL;
        }
        if target.registered {
            return -EBUSY;
        }
        for read in self.reads.iter_mut().filter(|read| read.slot == target.slot) {
            read.registered = true;
        }
        0
    }

    /// UNREGISTER_IO_BUF; the last one ends a request that is committed.
    pub fn unregister(&mut self, effects: &mut Effects) -> i32 {
        let Some(target) = self.registered() else { return -EINVAL };
        for read in self.reads.iter_mut().filter(|read| read.slot == target.slot) {
            read.registered = false;
        }
        if target.committed {
            self.reads.retain(|read| read.slot != target.slot);
            self.end_held(target, effects);
        }
        0
    }

    /// A server's rings go, and with them what they have registered.
    pub(super) fn drop_registrations(&mut self, effects: &mut Effects) {
        let (held, rest): (Vec<_>, Vec<_>) = self.reads.iter().partition(|read| read.committed);
        self.reads = rest;
        for read in &mut self.reads {
            read.registered = false;
        }
        for read in held {
            self.end_held(read, effects);
        }
    }

    fn end_held(&mut self, read: Read, effects: &mut Effects) {
        effects.read(read.slot, &[READ_BYTES]);
        if let Some(queue) = self.queues.get_mut(usize::from(read.queue)) {
            queue.turn(Tag::Held, Tag::Armed);
        }
    }

    /// Requests that were held back go to the new server.
    pub fn kick(&mut self, effects: &mut Effects) {
        for read in std::mem::take(&mut self.reads) {
            if read.delivered {
                self.reads.push(read);
            } else {
                self.request(read.slot, read.queue, read.write, effects);
            }
        }
    }
}
