//! Batch elements the kernel may be pointed at: typed, so that every address among them is one of [`Addr`].
//!
//! Elements lie in memory of their own that no safe caller can write to as bytes, and that is never unmapped: a command
//! may be read late, after the buffer was filled anew or dropped. Whenever it is read, each word is a word that some
//! element put there, in the one layout this buffer has; so a word that the kernel takes for an address is one.

use std::io;

use super::addr::Addr;
use super::arena::Arena;
use crate::uapi::BatchFlags;

/// The flags that decide how an element is laid out.
const LAYOUT: BatchFlags = BatchFlags::HAS_BUF_ADDR.union(BatchFlags::HAS_ZONE_LBA);
/// The most elements of a buffer: more than any queue has tags.
const MAX_ELEMENTS: usize = 1 << 14;

/// One element of PREP_IO_CMDS or COMMIT_IO_CMDS. Words that the buffer's layout lacks are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchElement<'a> {
    /// Tag within the queue.
    pub tag: u16,
    /// Index for automatic buffer registration.
    pub buf_index: u16,
    /// Result of a commit: bytes, or a negative errno.
    pub result: i32,
    /// The tag's buffer, with [`BatchFlags::HAS_BUF_ADDR`].
    pub buf_addr: Addr<'a>,
    /// Where a zone append landed, with [`BatchFlags::HAS_ZONE_LBA`].
    pub zone_lba: u64,
}

/// Memory for batch elements of one layout. Like an arena it is never given back: make few, fill them often.
#[derive(Debug)]
pub struct ElementBuffer {
    arena: Arena,
    layout: BatchFlags,
}

impl ElementBuffer {
    /// A buffer for `capacity` elements or more, up to whole pages; of `flags` only those count that lay elements out.
    ///
    /// # Errors
    /// `InvalidInput` for a capacity of 0 or more than 16384; else what mmap says.
    pub fn new(flags: BatchFlags, capacity: usize) -> io::Result<Self> {
        let layout = flags & LAYOUT;
        if capacity > MAX_ELEMENTS {
            let why = "batch element buffer holds at most 16384 elements";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let arena = Arena::new(capacity * usize::from(layout.elem_bytes()))?;
        Ok(Self { arena, layout })
    }

    /// The flags that lay its elements out.
    #[must_use]
    pub fn layout(&self) -> BatchFlags {
        self.layout
    }

    /// Bytes from one element to the next.
    #[must_use]
    pub fn stride_bytes(&self) -> usize {
        usize::from(self.layout.elem_bytes())
    }

    /// How many elements fit; behind the last one reading faults, where the layout fills whole pages.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.arena.len_bytes() / self.stride_bytes()
    }

    /// Writes elements from position `first` on.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn fill(&self, first: usize, elements: &[BatchElement<'_>]) {
        for (position, element) in (first..).zip(elements) {
            let mut at = position * self.stride_bytes();
            let mut put = |word: [u8; 8]| {
                self.arena.write(at, &word);
                at += 8;
            };
            let mut header = [0; 8];
            header[..2].copy_from_slice(&element.tag.to_ne_bytes());
            header[2..4].copy_from_slice(&element.buf_index.to_ne_bytes());
            header[4..].copy_from_slice(&element.result.to_ne_bytes());
            put(header);
            if self.layout.contains(BatchFlags::HAS_BUF_ADDR) {
                put(element.buf_addr.to_bits().to_ne_bytes());
            }
            if self.layout.contains(BatchFlags::HAS_ZONE_LBA) {
                put(element.zone_lba.to_ne_bytes());
            }
        }
    }

    /// Address of an element.
    ///
    /// # Panics
    /// When it is beyond the end; the end itself has an address.
    pub(crate) fn addr(&self, first: usize) -> u64 {
        self.arena.addr(first * self.stride_bytes())
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.arena.read(0, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_laid_out_as_the_kernel_reads_them() {
        let arena = Arena::new(4096).expect("mapped");
        let element = BatchElement {
            tag: 0x0201,
            buf_index: 0x0403,
            result: 0x0807_0605,
            buf_addr: Addr::Arena(&arena, 16),
            zone_lba: 0x1817_1615_1413_1211,
        };
        let header = [1, 2, 3, 4, 5, 6, 7, 8];
        let (addr, lba) = (arena.addr(16).to_ne_bytes(), element.zone_lba.to_ne_bytes());
        for (flags, expected) in [
            (BatchFlags::empty(), vec![header]),
            (BatchFlags::AUTO_BUF_REG_FALLBACK, vec![header]),
            (BatchFlags::HAS_BUF_ADDR, vec![header, addr]),
            (BatchFlags::HAS_ZONE_LBA, vec![header, lba]),
            (LAYOUT, vec![header, addr, lba]),
        ] {
            let buffer = ElementBuffer::new(flags, 3).expect("mapped");
            buffer.fill(1, &[element, element]);
            let stride = expected.len() * 8;
            assert_eq!(buffer.stride_bytes(), stride);
            let bytes = buffer.bytes(3 * stride);
            assert_eq!(bytes[..stride], vec![0; stride]);
            assert_eq!(bytes[stride..2 * stride], expected.concat());
            assert_eq!(bytes[2 * stride..], expected.concat());
        }
    }

    #[test]
    #[should_panic(expected = "are not inside an arena")]
    fn elements_beyond_the_end_are_a_bug() {
        let buffer = ElementBuffer::new(BatchFlags::empty(), 1).expect("mapped");
        buffer.fill(buffer.capacity(), &[BatchElement::default()]);
    }
}
