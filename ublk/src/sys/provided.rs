//! A group of provided buffers, from which the kernel takes one for each delivery of a multishot command.
//!
//! The list the kernel reads lies in memory that only this module writes, and every buffer in it is an [`Addr`] with a
//! length that cannot reach beyond an arena's fence.

use std::io;
use std::sync::atomic::{Ordering, fence};

use super::addr::Addr;
use super::arena::Arena;

/// Entries of a list; the kernel wants a power of two.
pub(crate) const LIST_ENTRIES: u16 = 64;
/// Bytes of an entry: address u64, length u32, buffer id u16, and two bytes that hold the tail in the first one.
const ENTRY_BYTES: usize = 16;
/// Where the list's tail lies.
const TAIL_AT: usize = 14;

/// The list of one group. It belongs to a ring, and stays mapped for ever.
#[derive(Debug)]
pub(crate) struct BufferList {
    memory: Arena,
    group: u16,
    tail: u16,
}

impl BufferList {
    /// An empty list; the caller registers its address.
    pub(crate) fn new(group: u16) -> io::Result<Self> {
        let memory = Arena::new(usize::from(LIST_ENTRIES) * ENTRY_BYTES)?;
        Ok(Self { memory, group, tail: 0 })
    }

    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    pub(crate) fn addr(&self) -> u64 {
        self.memory.addr(0)
    }

    /// Appends a buffer. The kernel has to have taken the one that was [`LIST_ENTRIES`] before it.
    ///
    /// A length is 16 bits wide and a fence is longer, so the kernel cannot run past the arena.
    pub(crate) fn push(&mut self, addr: Addr<'_>, len_bytes: u16, id: u16) {
        let at = usize::from(self.tail % LIST_ENTRIES) * ENTRY_BYTES;
        self.memory.write(at, &addr.to_bits().to_ne_bytes());
        self.memory.write(at + 8, &u32::from(len_bytes).to_ne_bytes());
        self.memory.write(at + 12, &id.to_ne_bytes());
        self.tail = self.tail.wrapping_add(1);
        // The kernel loads the tail with acquire and then reads what is before it.
        fence(Ordering::Release);
        self.memory.write(TAIL_AT, &self.tail.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_and_the_first_entry_share_sixteen_bytes() {
        let arena = Arena::new(4096).expect("mapped");
        let mut list = BufferList::new(3).expect("mapped");
        for id in 0..=LIST_ENTRIES {
            list.push(Addr::Arena(&arena, usize::from(id)), 256, id);
        }
        let mut first = [0; 16];
        list.memory.read(0, &mut first);
        // The 65th went where the first was.
        assert_eq!(first[..8], arena.addr(64).to_ne_bytes());
        assert_eq!(first[8..], [0, 1, 0, 0, 64, 0, 65, 0]);
        let mut second = [0; 16];
        list.memory.read(16, &mut second);
        assert_eq!(second[..8], arena.addr(1).to_ne_bytes());
        assert_eq!(second[8..], [0, 1, 0, 0, 1, 0, 0, 0]);
    }
}
