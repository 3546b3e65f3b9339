//! What one ring serves of one queue: which tags, through which file, and how their bytes move. A ring
//! has a lane for each queue it serves, of whatever device.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::batch::Batch;
use super::buffers::TagBuffers;
use super::common::CommonTags;
use super::shared::SharedMemory;
use crate::uapi::ShmemAddr;

/// How a request's bytes get to the server and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The kernel copies them to and from the tag's buffer.
    Copy,
    /// The server reads and writes them through the character device, to and from the tag's buffer.
    UserCopy,
    /// The request's pages are registered with the ring, and files are read into and written from them.
    Registered {
        /// The kernel registers them as it delivers a request.
        auto: bool,
        /// And delivers the request without, where it cannot; the server registers then.
        fallback: bool,
        /// Bytes can be reached as with [`Transfer::UserCopy`], for what no file can do.
        user_copy: bool,
    },
}

/// Some tags of a queue, evenly spaced: all of them, or one thread's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagSet {
    /// The first.
    pub first: u16,
    /// From one to the next; not 0.
    pub step: u16,
    /// How many.
    pub count: u16,
}

impl TagSet {
    /// All tags of a queue of that depth.
    pub const fn all(depth: u16) -> Self {
        Self { first: 0, step: 1, count: depth }
    }

    /// Share `index` of `shares`, interleaved: the block layer uses neighbouring tags one after another.
    #[must_use]
    pub fn share(self, index: u16, shares: u16) -> Self {
        let count = (self.count.saturating_sub(index)).div_ceil(shares.max(1));
        Self {
            first: self.first + index * self.step,
            step: self.step.saturating_mul(shares.max(1)),
            count,
        }
    }

    /// The tag at a position.
    pub const fn tag(self, index: u16) -> u16 {
        self.first + index * self.step
    }

    /// The position of a tag; none for one that is not in the set.
    pub fn index(self, tag: u16) -> Option<u16> {
        let distance = tag.checked_sub(self.first)?;
        let index = distance / self.step;
        (distance.is_multiple_of(self.step) && index < self.count).then_some(index)
    }
}

/// What a lane is made from.
#[derive(Debug)]
pub(crate) struct LaneSpec<'a> {
    pub(crate) char_device: BorrowedFd<'a>,
    pub(crate) queue: u16,
    pub(crate) depth: u16,
    pub(crate) tags: TagSet,
    /// Where several rings serve all of the queue's tags: those that this one prepares.
    pub(crate) common: Option<(Arc<CommonTags>, TagSet)>,
    pub(crate) buffer_len_bytes: u32,
    /// Room for metadata beside each buffer; 0 for a device without.
    pub(crate) metadata_len_bytes: u32,
    pub(crate) transfer: Transfer,
    pub(crate) batch: bool,
    pub(crate) zoned: bool,
    /// Register each request's pages at another index than the one before it.
    pub(crate) rotate: bool,
    /// Files that transfers may name, by their index.
    pub(crate) files: Vec<BorrowedFd<'a>>,
    /// Memory that requests may be in, with the index the kernel knows it by.
    pub(crate) shared: Arc<Vec<(u16, SharedMemory)>>,
}

/// A lane of a ring.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: u16,
    pub(super) tags: TagSet,
    /// The slot of the set's first tag; the others follow.
    pub(super) first_slot: u32,
    pub(super) buffers: Arc<TagBuffers>,
    /// The tags are several rings'.
    pub(super) common: Option<Arc<CommonTags>>,
    /// Which of two places each tag's pages are registered at now; empty where there is one.
    pub(super) second_place: Vec<bool>,
    pub(super) transfer: Transfer,
    /// The character device in the ring's file table; the lane's files follow it.
    pub(super) char_device: u32,
    pub(super) files: u32,
    pub(super) shared: Arc<Vec<(u16, SharedMemory)>>,
    pub(super) batch: Option<Batch>,
}

impl Lane {
    /// A file in the ring's table.
    pub(super) fn file(&self, index: u32) -> Option<u32> {
        (index < self.files).then(|| self.char_device + 1 + index)
    }

    /// The memory of an index, where that many bytes at that offset are in it.
    pub(super) fn shared(&self, at: ShmemAddr, len_bytes: u64) -> Option<&SharedMemory> {
        let (_, memory) = self.shared.iter().find(|(index, _)| *index == at.index)?;
        memory.address(u64::from(at.offset), len_bytes).map(|_| memory)
    }

    /// The address that a command gives for the tag at that position: its buffer, where the kernel copies.
    pub(super) fn address(&self, index: u16) -> u64 {
        match self.transfer {
            Transfer::Copy => self.buffers.address(index).unwrap_or(0),
            Transfer::UserCopy | Transfer::Registered { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_and_complete() {
        for depth in [1, 2, 7, 64, 4096] {
            for shares in [1, 2, 3, 7] {
                let mut seen = vec![0; usize::from(depth)];
                for index in 0..shares {
                    let share = TagSet::all(depth).share(index, shares);
                    for position in 0..share.count {
                        let tag = share.tag(position);
                        seen[usize::from(tag)] += 1;
                        assert_eq!(share.index(tag), Some(position));
                    }
                    for tag in 0..depth {
                        assert_eq!(share.index(tag).is_some(), tag % shares == index);
                    }
                }
                assert!(seen.iter().all(|count| *count == 1), "{depth} in {shares}");
            }
        }
    }

    #[test]
    fn a_share_of_a_share_is_a_share() {
        let share = TagSet::all(16).share(1, 2).share(1, 2);
        let tags: Vec<u16> = (0..share.count).map(|index| share.tag(index)).collect();
        assert_eq!(tags, [3, 7, 11, 15]);
    }
}
