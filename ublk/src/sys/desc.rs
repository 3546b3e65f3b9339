//! The descriptor area of a queue: kernel-written memory, read by copying and never by reference.
//!
//! The kernel rewrites a slot while the server looks at another one, so a `&IoDesc` into this memory would be
//! a promise nobody can keep. A copy is made of three 64-bit loads; the completion that delivered the tag is what
//! orders them after the kernel's stores.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::uapi::{
    IoDesc, MAX_IO_DESC_SIZE_BYTES, MIN_IO_DESC_SIZE_BYTES, desc_area_len_bytes, desc_area_offset,
};

/// Longest mapping [`DescArea::map_at`] makes: sixteen areas of the largest kind, far beyond any use.
const MAX_LEN_BYTES: usize = 16 << 20;

/// A mapping of descriptors of `/dev/ublkcN`, unmapped when dropped.
#[derive(Debug)]
pub struct DescArea {
    base: NonNull<u8>,
    len_bytes: usize,
    stride_bytes: usize,
    slots: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread, and this type only reads it, atomically.
unsafe impl Send for DescArea {}
// SAFETY: as above; two threads that load the same words do not race.
unsafe impl Sync for DescArea {}

impl DescArea {
    /// Maps the descriptors of one queue, read-only and populated.
    ///
    /// `io_desc_size` is the stride in bytes: [`DevInfo::io_desc_stride_bytes`](crate::uapi::DevInfo::io_desc_stride_bytes).
    ///
    /// # Errors
    /// `InvalidInput` for a depth of 0 or a stride the ABI has no room for; else what mmap says: `EINVAL` when the
    /// queue does not exist or the depth is not the device's.
    pub fn map(
        file: BorrowedFd<'_>,
        queue: u16,
        depth: u16,
        io_desc_size: u16,
    ) -> io::Result<Self> {
        let sizes = MIN_IO_DESC_SIZE_BYTES..=MAX_IO_DESC_SIZE_BYTES;
        if depth == 0 || !sizes.contains(&io_desc_size) || !io_desc_size.is_multiple_of(8) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "descriptor area needs a depth of 1 or more and a stride of 24 to 256 bytes, in steps of 8",
            ));
        }
        let page = super::page_size_bytes() as u64;
        let len_bytes = desc_area_len_bytes(depth, io_desc_size, page) as usize;
        let offset = desc_area_offset(queue, io_desc_size, page);
        let mut area = Self::map_at(file, offset, len_bytes, false)?;
        area.stride_bytes = usize::from(io_desc_size);
        area.slots = usize::from(depth);
        Ok(area)
    }

    /// Maps any range, for tests of the driver's own checks. Slots are then 24 bytes apart and fill the mapping.
    ///
    /// # Errors
    /// `InvalidInput` for a length of 0 or above 16 MiB; else what mmap says.
    pub fn map_at(
        file: BorrowedFd<'_>,
        offset: u64,
        len_bytes: usize,
        writable: bool,
    ) -> io::Result<Self> {
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        if len_bytes == 0 || len_bytes > MAX_LEN_BYTES {
            return Err(invalid("descriptor mapping must be 1 byte to 16 MiB long"));
        }
        let offset = libc::off_t::try_from(offset)
            .map_err(|_| invalid("descriptor mapping starts beyond what mmap can name"))?;
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing, and the descriptor is open.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len_bytes,
                protection,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file.as_raw_fd(),
                offset,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("kernel mapped descriptors at address zero"))?;
        let stride_bytes = size_of::<IoDesc>();
        let area = Self { base, len_bytes, stride_bytes, slots: len_bytes / stride_bytes };
        // A mapping in a copy of this process would keep the device open after its server is gone.
        // SAFETY: advice about our own mapping, which changes nothing in this process.
        match unsafe { libc::madvise(base.as_ptr().cast(), len_bytes, libc::MADV_DONTFORK) } {
            0 => Ok(area),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Number of descriptors this mapping can copy out.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Length of the mapping in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Copies the descriptor of a tag. Only meaningful between the tag's completion and its commit.
    ///
    /// # Panics
    /// When the tag is not below [`DescArea::slots`]: tags come from the queue's own commands, so that is a bug.
    #[must_use]
    pub fn copy_out(&self, tag: u16) -> IoDesc {
        let tag = usize::from(tag);
        assert!(tag < self.slots, "tag {tag} is outside a descriptor area of {} slots", self.slots);
        let words: [u64; 3] = std::array::from_fn(|word| {
            // SAFETY: `tag < slots`, and every constructor keeps `slots * stride <= len` with a stride of 24 bytes
            // or more, so the word lies inside the mapping; base and stride are multiples of 8, so it is aligned;
            // relaxed 64-bit loads are plain loads and therefore allowed on read-only pages.
            unsafe {
                let place = self.base.as_ptr().add(tag * self.stride_bytes + word * 8);
                AtomicU64::from_ptr(place.cast::<u64>()).load(Ordering::Relaxed)
            }
        });
        zerocopy::transmute!(words)
    }

    /// Asks for write permission on the mapping, for tests: kernels from 7.2 on refuse with `EACCES`.
    ///
    /// # Errors
    /// What mprotect says.
    pub fn make_writable(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping, and more permission invalidates no access anybody makes.
        let done = unsafe {
            libc::mprotect(
                self.base.as_ptr().cast(),
                self.len_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for DescArea {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and no reference into it was ever given out.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use zerocopy::IntoBytes;

    use super::*;
    use crate::uapi::desc_area_stride_bytes;

    fn desc(number: u64) -> IoDesc {
        IoDesc { op_flags: 1, nr_sectors: 8, start_sector: number, addr: !number }
    }

    /// A file that looks like the device: `queues` areas a full stride apart.
    fn device_file(queues: u16, depth: u16, io_desc_size: u16) -> std::fs::File {
        let stride = desc_area_stride_bytes(io_desc_size, super::super::page_size_bytes() as u64);
        let mut bytes = vec![0; stride as usize * usize::from(queues)];
        for queue in 0..queues {
            for tag in 0..depth {
                let at = stride as usize * usize::from(queue)
                    + usize::from(tag) * usize::from(io_desc_size);
                let number = u64::from(queue) << 16 | u64::from(tag);
                bytes[at..at + 24].copy_from_slice(desc(number).as_bytes());
            }
        }
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&bytes).expect("filled");
        file
    }

    #[rstest::rstest]
    #[case(24, 64)]
    #[case(24, 4096)]
    #[case(40, 128)]
    #[case(256, 33)]
    fn every_slot_is_read_at_its_queue_and_stride(#[case] io_desc_size: u16, #[case] depth: u16) {
        let file = device_file(3, depth, io_desc_size);
        for queue in 0..3 {
            let area = DescArea::map(file.as_fd(), queue, depth, io_desc_size).expect("mapped");
            for tag in [0, 1, depth / 2, depth - 1] {
                let number = u64::from(queue) << 16 | u64::from(tag);
                assert_eq!(area.copy_out(tag), desc(number));
            }
        }
    }

    #[test]
    #[should_panic(expected = "tag 64 is outside a descriptor area of 64 slots")]
    fn a_tag_beyond_the_depth_is_a_bug() {
        let file = device_file(1, 64, 24);
        let area = DescArea::map(file.as_fd(), 0, 64, 24).expect("mapped");
        let _ = area.copy_out(64);
    }

    #[rstest::rstest]
    #[case(0, 24)]
    #[case(1, 16)]
    #[case(1, 28)]
    #[case(1, 264)]
    fn shapes_the_abi_has_no_room_for_are_refused(#[case] depth: u16, #[case] size: u16) {
        let file = device_file(1, 1, 24);
        let error = DescArea::map(file.as_fd(), 0, depth, size).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_writable_file_can_be_made_writable_and_a_wrong_offset_cannot_be_mapped() {
        let file = device_file(1, 4, 24);
        let area = DescArea::map_at(file.as_fd(), 0, 4096, false).expect("mapped");
        assert_eq!(area.slots(), 170);
        area.make_writable().expect("an ordinary file allows it");
        let error = DescArea::map_at(file.as_fd(), 100, 4096, false).expect_err("not page aligned");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
