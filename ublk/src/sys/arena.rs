//! Memory the kernel may be told to write into by safe code, because nobody will ever reuse it.
//!
//! A conformance suite sends commands whose effect it does not know yet, abandons them, and drops the ring. Were the
//! buffer freed then, the kernel could write into somebody's `Vec`. So an arena is mapped once and stays for ever,
//! fenced by pages without permission: a command that runs past its end gets `EFAULT` and not a neighbour.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest arena; the sum over a process is for the caller to keep reasonable.
pub const MAX_ARENA_LEN_BYTES: usize = 256 << 20;

/// Length of the fence on each side, more than any control command's 16-bit length can jump.
const FENCE_LEN_BYTES: usize = 128 << 10;

/// A handle to a piece of memory that lives until the process ends. Cheap to copy.
///
/// In memory: fence, read-only page, fence, body, fence. All access goes through atomics, so that threads and the
/// kernel may meet in it.
#[derive(Clone, Copy, Debug)]
pub struct Arena {
    body: NonNull<u8>,
    len_bytes: usize,
    read_only: NonNull<u8>,
    unmapped: NonNull<u8>,
}

// SAFETY: the memory is never unmapped, and is touched through atomics only.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Maps an arena whose body is at least `len_bytes` long, rounded up to whole pages, all zeros.
    ///
    /// The memory is never given back: make few, early.
    ///
    /// # Errors
    /// `InvalidInput` for 0 or more than [`MAX_ARENA_LEN_BYTES`]; else what mmap or mprotect says.
    pub fn new(len_bytes: usize) -> io::Result<Self> {
        if len_bytes == 0 || len_bytes > MAX_ARENA_LEN_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "arena must be 1 byte to 256 MiB long",
            ));
        }
        let page = super::page_size_bytes();
        let fence = FENCE_LEN_BYTES.next_multiple_of(page);
        let len_bytes = len_bytes.next_multiple_of(page);
        let read_only_at = fence;
        let body_at = read_only_at + page + fence;
        let total_bytes = body_at + len_bytes + fence;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                total_bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("kernel mapped an arena at address zero"))?;
        // SAFETY: all three offsets are below `total_bytes`, the length of the mapping.
        let arena = unsafe {
            Self {
                body: base.add(body_at),
                len_bytes,
                read_only: base.add(read_only_at),
                unmapped: base,
            }
        };
        let opened = arena
            .protect(arena.body, len_bytes, libc::PROT_READ | libc::PROT_WRITE)
            .and_then(|()| arena.protect(arena.read_only, page, libc::PROT_READ));
        if let Err(error) = opened {
            // SAFETY: nobody has seen the mapping yet.
            unsafe { libc::munmap(base.as_ptr().cast(), total_bytes) };
            return Err(error);
        }
        Ok(arena)
    }

    fn protect(&self, start: NonNull<u8>, len_bytes: usize, protection: i32) -> io::Result<()> {
        // SAFETY: callers pass a page-aligned part of this arena's own mapping. Taking permission away can fault a
        // concurrent access, which is a signal and not undefined behaviour.
        let done = unsafe { libc::mprotect(start.as_ptr().cast(), len_bytes, protection) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Length of the body in bytes, a multiple of the page size.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Address of a byte of the body, as a command carries it; the end itself (a fence) has one too.
    ///
    /// # Panics
    /// When `offset_bytes` is beyond the end.
    #[must_use]
    pub fn addr(&self, offset_bytes: usize) -> u64 {
        assert!(
            offset_bytes <= self.len_bytes,
            "offset {offset_bytes} is beyond an arena of {} bytes",
            self.len_bytes
        );
        (self.body.as_ptr() as usize + offset_bytes) as u64
    }

    /// Address of a page that can be read and not written; see [`Arena::fill_read_only`].
    #[must_use]
    pub fn read_only_addr(&self) -> u64 {
        self.read_only.as_ptr() as usize as u64
    }

    /// Address of a page that can be neither read nor written.
    #[must_use]
    pub fn unmapped_addr(&self) -> u64 {
        self.unmapped.as_ptr() as usize as u64
    }

    /// Copies out of the body.
    ///
    /// # Panics
    /// When the range is not inside the body.
    pub fn read(&self, offset_bytes: usize, out: &mut [u8]) {
        self.check(offset_bytes, out.len());
        // SAFETY: `check` keeps the range inside the body: page-aligned, whole pages, readable for ever.
        unsafe { load(self.body, offset_bytes, out) };
    }

    /// Copies into the body.
    ///
    /// # Panics
    /// When the range is not inside the body.
    pub fn write(&self, offset_bytes: usize, bytes: &[u8]) {
        self.check(offset_bytes, bytes.len());
        // SAFETY: `check` keeps the range inside the body: page-aligned, whole pages, writable for ever.
        unsafe { store(self.body, offset_bytes, bytes) };
    }

    /// Puts bytes at the front of the read-only page. Nobody else may fill it at the same moment: the loser of such a
    /// race gets SIGSEGV.
    ///
    /// # Errors
    /// What mprotect says.
    ///
    /// # Panics
    /// When `bytes` is longer than a page.
    pub fn fill_read_only(&self, bytes: &[u8]) -> io::Result<()> {
        let page = super::page_size_bytes();
        assert!(bytes.len() <= page, "{} bytes do not fit the read-only page", bytes.len());
        self.protect(self.read_only, page, libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: the page was just made writable and holds `bytes.len()` bytes.
        unsafe { store(self.read_only, 0, bytes) };
        self.protect(self.read_only, page, libc::PROT_READ)
    }

    fn check(&self, offset_bytes: usize, len_bytes: usize) {
        let end = offset_bytes.checked_add(len_bytes);
        assert!(
            end.is_some_and(|end| end <= self.len_bytes),
            "{len_bytes} bytes at {offset_bytes} are not inside an arena of {} bytes",
            self.len_bytes
        );
    }
}

/// Loads bytes that the kernel and other threads may be writing.
///
/// Whole words only, here and in [`store`]: atomics of different sizes that overlap would be a race.
///
/// # Safety
/// `base` must be aligned to 8, the bytes up to the end of the last word touched must be mapped readable for the
/// duration of the call, and nobody in this process may access them but through these two functions.
unsafe fn load(base: NonNull<u8>, offset_bytes: usize, out: &mut [u8]) {
    let mut at = offset_bytes;
    let mut rest = out;
    while !rest.is_empty() {
        let skip = at % 8;
        let (now, later) = rest.split_at_mut(rest.len().min(8 - skip));
        // SAFETY: the caller vouches for alignment, mapping and access.
        let word = unsafe { AtomicU64::from_ptr(base.as_ptr().add(at - skip).cast()) };
        let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        now.copy_from_slice(&bytes[skip..skip + now.len()]);
        at += now.len();
        rest = later;
    }
}

/// Stores bytes that the kernel and other threads may be reading, and leaves their neighbours in a word alone.
///
/// # Safety
/// As for [`load`], with memory that is writable too.
unsafe fn store(base: NonNull<u8>, offset_bytes: usize, bytes: &[u8]) {
    let mut at = offset_bytes;
    let mut rest = bytes;
    while !rest.is_empty() {
        let skip = at % 8;
        let (now, later) = rest.split_at(rest.len().min(8 - skip));
        // SAFETY: the caller vouches for alignment, mapping and access.
        let word = unsafe { AtomicU64::from_ptr(base.as_ptr().add(at - skip).cast()) };
        if let Ok(whole) = <[u8; 8]>::try_from(now) {
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        } else {
            let patch = |old: u64| {
                let mut patched = old.to_ne_bytes();
                patched[skip..skip + now.len()].copy_from_slice(now);
                Some(u64::from_ne_bytes(patched))
            };
            // The closure always gives a value, so this cannot fail.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, patch);
        }
        at += now.len();
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_written_is_read_at_any_alignment() {
        let arena = Arena::new(1).expect("mapped");
        assert_eq!(arena.len_bytes(), super::super::page_size_bytes());
        let bytes: Vec<u8> = (1..=61).collect();
        for start in 3..12 {
            for len in [0, 1, 7, 8, 9, 61] {
                arena.write(0, &[0xee; 80]);
                arena.write(start, &bytes[..len]);
                let mut expected = [0xee; 80];
                expected[start..start + len].copy_from_slice(&bytes[..len]);
                for from in 0..9 {
                    let mut out = [0; 64];
                    arena.read(from, &mut out);
                    assert_eq!(out[..], expected[from..from + 64], "{len} bytes at {start}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "are not inside an arena")]
    fn a_write_past_the_end_is_a_bug() {
        let arena = Arena::new(1).expect("mapped");
        arena.write(arena.len_bytes() - 1, &[1, 2]);
    }

    #[test]
    #[should_panic(expected = "are not inside an arena")]
    fn an_offset_that_overflows_is_a_bug() {
        let arena = Arena::new(1).expect("mapped");
        arena.read(usize::MAX, &mut [0; 2]);
    }

    /// The kernel's view of an address: reads into it through a pipe and returns the errno.
    fn kernel_writes_to(addr: u64, len: usize) -> Result<usize, i32> {
        let (reader, mut writer) = io::pipe().expect("pipe");
        writer.write_all(&vec![7; len]).expect("pipe holds it");
        // SAFETY: the addresses tested are arena addresses; where they are not writable the kernel answers EFAULT.
        let done = unsafe { libc::read(reader.as_raw_fd(), addr as *mut libc::c_void, len) };
        usize::try_from(done)
            .map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or_default())
    }

    #[test]
    fn the_kernel_faults_where_it_should_and_nowhere_else() {
        let arena = Arena::new(4096).expect("mapped");
        assert_eq!(kernel_writes_to(arena.addr(0), 16), Ok(16));
        assert_eq!(kernel_writes_to(arena.unmapped_addr(), 16), Err(libc::EFAULT));
        assert_eq!(kernel_writes_to(arena.read_only_addr(), 16), Err(libc::EFAULT));
        assert_eq!(kernel_writes_to(arena.addr(arena.len_bytes()), 16), Err(libc::EFAULT));
        let mut out = [0; 17];
        arena.read(0, &mut out);
        assert_eq!(out[15..], [7, 0]);
    }

    #[test]
    fn the_read_only_page_can_be_filled_and_read_by_the_kernel() {
        let arena = Arena::new(4096).expect("mapped");
        arena.fill_read_only(b"hello").expect("filled");
        let (mut reader, writer) = io::pipe().expect("pipe");
        // SAFETY: the page is mapped readable for ever.
        let done = unsafe {
            libc::write(writer.as_raw_fd(), arena.read_only_addr() as *const libc::c_void, 5)
        };
        assert_eq!(done, 5);
        let mut out = [0; 5];
        reader.read_exact(&mut out).expect("five bytes");
        assert_eq!(&out, b"hello");
        assert_eq!(kernel_writes_to(arena.read_only_addr(), 1), Err(libc::EFAULT));
    }

    #[test]
    fn an_arena_is_there_after_its_handle_is_gone() {
        let addr = { Arena::new(4096).expect("mapped").addr(0) };
        let maps = {
            let mut text = String::new();
            File::open("/proc/self/maps").expect("maps").read_to_string(&mut text).expect("text");
            text
        };
        assert!(maps.lines().any(|line| line.starts_with(&format!("{addr:x}-"))), "{maps}");
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for len in [0, MAX_ARENA_LEN_BYTES + 1] {
            assert_eq!(Arena::new(len).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
    }
}
