//! The memory that a queue lends to the kernel, one piece per tag.
//!
//! One mapping for the whole queue, made once: the kernel fills a buffer while its command is armed, so
//! nothing here may ever be moved, freed or given back to the system while that can happen. (Other
//! servers gave idle pages back, and lost writes that way.)

use std::io;
use std::ptr::{self, NonNull};

/// The least that a huge page is anywhere the driver runs with pages of 4 KiB.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Page-aligned, zeroed buffers for all tags of one queue: bytes, and after them room for metadata where there is some.
///
/// A place in them is no reference yet: who makes one of it has to know that nobody else has.
#[derive(Debug)]
pub(crate) struct TagBuffers {
    base: NonNull<u8>,
    stride_bytes: usize,
    len_bytes: usize,
    /// Where in a stride the metadata begins: on the page after the bytes.
    metadata_start: usize,
    metadata_len_bytes: usize,
    depth: u16,
}

// SAFETY: a mapping belongs to the process. This type only tells addresses; whoever makes a reference of one answers
// for it, on whatever thread.
unsafe impl Send for TagBuffers {}
// SAFETY: as above.
unsafe impl Sync for TagBuffers {}

impl TagBuffers {
    /// Maps `depth` buffers of `len_bytes` each.
    ///
    /// # Errors
    /// EINVAL for no buffer or an empty one, else what mmap(2) says.
    pub(crate) fn map(depth: u16, len_bytes: u32) -> io::Result<Self> {
        Self::map_with_metadata(depth, len_bytes, 0)
    }

    /// Maps `depth` buffers of `len_bytes` each, with room for that much metadata beside each.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub(crate) fn map_with_metadata(
        depth: u16,
        len_bytes: u32,
        metadata_len_bytes: u32,
    ) -> io::Result<Self> {
        // SAFETY: no pointer is involved; the page size can always be asked for.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).unwrap_or(4096).max(4096);
        let (len, metadata_len) = (len_bytes as usize, metadata_len_bytes as usize);
        let metadata_start = len.checked_next_multiple_of(page);
        let stride = metadata_start
            .and_then(|start| start.checked_add(metadata_len.checked_next_multiple_of(page)?));
        let total = stride.and_then(|stride| stride.checked_mul(usize::from(depth)));
        let (Some(metadata_start), Some(stride_bytes), Some(total)) =
            (metadata_start, stride, total)
        else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        if total == 0 || len == 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // Depth times the largest request is rarely all used at once. Miri knows no such flag.
        let no_reserve = if cfg!(miri) { 0 } else { libc::MAP_NORESERVE };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | no_reserve;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            libc::mmap(ptr::null_mut(), total, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let Some(base) = NonNull::new(base.cast::<u8>()) else {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        };
        if stride_bytes < HUGE_PAGE_BYTES {
            keep_small_pages(base, total);
        }
        Ok(Self {
            base,
            stride_bytes,
            len_bytes: len,
            metadata_start,
            metadata_len_bytes: metadata_len,
            depth,
        })
    }

    /// Bytes of each buffer.
    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The address of a tag's buffer, as a command names it; none for a tag that is not there.
    pub(crate) fn address(&self, tag: u16) -> Option<u64> {
        (tag < self.depth)
            .then(|| self.base.as_ptr().addr() as u64 + u64::from(tag) * self.stride_bytes as u64)
    }

    /// The first `len_bytes` of a buffer, as a place and not as a reference; none where they are not there.
    pub(crate) fn place(&self, tag: u16, len_bytes: usize) -> Option<NonNull<[u8]>> {
        if tag >= self.depth || len_bytes > self.len_bytes {
            return None;
        }
        let offset = usize::from(tag) * self.stride_bytes;
        // SAFETY: offset and length were just checked to be inside the mapping.
        let start = unsafe { self.base.add(offset) };
        Some(NonNull::slice_from_raw_parts(start, len_bytes))
    }

    /// The first `len_bytes` of a tag's metadata, which no byte of [`place`](Self::place) is part of.
    pub(crate) fn metadata_place(&self, tag: u16, len_bytes: usize) -> Option<NonNull<[u8]>> {
        if tag >= self.depth || len_bytes > self.metadata_len_bytes {
            return None;
        }
        let offset = usize::from(tag) * self.stride_bytes + self.metadata_start;
        // SAFETY: as in `place`: a stride is long enough for both parts, and the tag is one of the mapping's.
        let start = unsafe { self.base.add(offset) };
        Some(NonNull::slice_from_raw_parts(start, len_bytes))
    }
}

impl Drop for TagBuffers {
    fn drop(&mut self) {
        let total = self.stride_bytes * usize::from(self.depth);
        // SAFETY: this is the mapping that `map` made, and slices of it cannot outlive `self`. That no
        // command names it any more is seen to by the ring, which forgets the buffers otherwise.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), total);
        }
    }
}

/// Where the system gives huge pages to whoever does not refuse them, the first 4 KiB request of a tag would make
/// the buffers of its neighbours resident, too: 64 MiB for a queue of 128 tags that needs half of one.
fn keep_small_pages(base: NonNull<u8>, len_bytes: usize) {
    if cfg!(miri) {
        return;
    }
    // SAFETY: the range was mapped by the caller and no one has a reference into it; the advice changes no byte. A
    // kernel without huge pages refuses it, and needs no advice.
    unsafe {
        libc::madvise(base.as_ptr().cast(), len_bytes, libc::MADV_NOHUGEPAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One 4 KiB write at each tag made 68 MiB resident on a kernel whose huge pages are `always` (vm-perf).
    #[test]
    #[cfg_attr(miri, ignore = "no such advice, and no /proc")]
    fn a_touched_buffer_makes_no_neighbour_resident() {
        let buffers = TagBuffers::map(64, 512 << 10).unwrap();
        let first = buffers.address(0).unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let range = |line: &str| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
        };
        let flags = maps
            .lines()
            .skip_while(|line| !range(line).is_some_and(|range| range.contains(&first)))
            .find(|line| line.starts_with("VmFlags:"))
            .unwrap();
        assert!(flags.split_whitespace().any(|flag| flag == "nh"), "{flags}");
    }

    #[test]
    fn buffers_are_aligned_zeroed_and_apart() {
        let buffers = TagBuffers::map(3, 5000).unwrap();
        for tag in 0..3 {
            assert_eq!(buffers.address(tag).unwrap() % 4096, 0);
            // SAFETY: no kernel in this test, and no other slice.
            let slice = unsafe { buffers.place(tag, 5000).unwrap().as_mut() };
            assert!(slice.iter().all(|byte| *byte == 0));
            slice.fill(tag as u8 + 1);
        }
        for tag in 0..3 {
            // SAFETY: as above.
            let slice = unsafe { buffers.place(tag, 5000).unwrap().as_ref() };
            assert!(slice.iter().all(|byte| *byte == tag as u8 + 1));
        }
    }

    #[test]
    fn metadata_lies_beside_the_bytes_of_its_tag() {
        let buffers = TagBuffers::map_with_metadata(3, 5000, 4097).unwrap();
        for tag in 0..3 {
            // SAFETY: no kernel in this test; the two parts of a tag do not overlap, which is what is tested.
            let (data, metadata) = unsafe {
                let data = buffers.place(tag, 5000).unwrap().as_mut();
                (data, buffers.metadata_place(tag, 4097).unwrap().as_mut())
            };
            assert!(metadata.iter().all(|byte| *byte == 0));
            data.fill(2 * tag as u8 + 1);
            metadata.fill(2 * tag as u8 + 2);
        }
        for tag in 0..3 {
            // SAFETY: as above.
            let (data, metadata) = unsafe {
                let data = buffers.place(tag, 5000).unwrap().as_ref();
                (data, buffers.metadata_place(tag, 4097).unwrap().as_ref())
            };
            assert!(data.iter().all(|byte| *byte == 2 * tag as u8 + 1));
            assert!(metadata.iter().all(|byte| *byte == 2 * tag as u8 + 2));
        }
        assert!(buffers.metadata_place(3, 1).is_none());
        assert!(buffers.metadata_place(0, 4098).is_none());
        assert!(TagBuffers::map(1, 4096).unwrap().metadata_place(0, 1).is_none());
    }

    #[test]
    fn what_is_not_there_is_none() {
        let buffers = TagBuffers::map(2, 4096).unwrap();
        assert_eq!(buffers.address(2), None);
        assert!(buffers.place(2, 1).is_none());
        assert!(buffers.place(0, 4097).is_none());
        assert!(TagBuffers::map(0, 4096).is_err());
        assert!(TagBuffers::map(1, 0).is_err());
        assert!(TagBuffers::map_with_metadata(1, 0, 4096).is_err());
    }
}
