//! The tags of one batch queue that several rings serve. The kernel may deliver any tag to any of them, so their
//! buffers belong to none; here is written down which ring has a tag right now.
//!
//! A ring takes a tag when the kernel delivers it, and gives it back before the command that answers it is submitted.
//! In between its gate is open, and only then. So of all rings at most one can lend out a tag's buffer, whatever the
//! kernel says; and what one wrote is seen by the next, for giving is a release and taking an acquire.

use std::io;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(loom)]
use loom::sync::{Condvar, Mutex};

use super::buffers::TagBuffers;

/// Who has which tag of a queue, and the buffers of all of them.
#[derive(Debug)]
pub(crate) struct CommonTags {
    /// Whether some ring has the tag.
    taken: Box<[AtomicBool]>,
    /// Mapped by the first ring. Each has a share in them, and keeps it for ever where the kernel may still write.
    buffers: Mutex<Option<Arc<TagBuffers>>>,
    /// How many tags the rings have prepared, and who waits for the last.
    prepared: Mutex<usize>,
    all_prepared: Condvar,
}

impl CommonTags {
    pub(crate) fn new(depth: u16) -> Self {
        let taken = (0..depth).map(|_| AtomicBool::new(false)).collect();
        Self {
            taken,
            buffers: Mutex::new(None),
            prepared: Mutex::new(0),
            all_prepared: Condvar::new(),
        }
    }

    /// The buffers, of `len_bytes` each and with that much metadata, which every ring has to ask for alike.
    pub(super) fn buffers(
        &self,
        len_bytes: u32,
        metadata_len_bytes: u32,
    ) -> io::Result<Arc<TagBuffers>> {
        // A panic in here would have left nothing half done.
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = buffers.as_ref() {
            if there.len_bytes() != len_bytes as usize {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            return Ok(Arc::clone(there));
        }
        let depth = u16::try_from(self.taken.len()).unwrap_or(u16::MAX);
        Ok(Arc::clone(buffers.insert(Arc::new(TagBuffers::map_with_metadata(
            depth,
            len_bytes,
            metadata_len_bytes,
        )?))))
    }

    /// Notes that the kernel has taken tags that were prepared.
    pub(super) fn note_prepared(&self, tags: usize) {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        *prepared += tags;
        if *prepared >= self.taken.len() {
            self.all_prepared.notify_all();
        }
    }

    /// Waits until all tags are prepared, by whichever rings; no longer than `limit`. A device that is being taken
    /// over refuses fetches before that.
    pub(super) fn wait_prepared(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        while *prepared < self.taken.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The kernel will say what is wrong.
                return;
            }
            let waited = self.all_prepared.wait_timeout(prepared, left);
            prepared = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes the calling ring the one that has the tag. False where another has it, or there is no such tag.
    #[must_use]
    pub(super) fn take(&self, tag: u16) -> bool {
        let taken = self.taken.get(usize::from(tag));
        // An attempt that fails writes nothing, so that it cannot be mistaken for a ring that has the tag.
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        taken.is_some_and(|taken| taken.compare_exchange(false, true, order.0, order.1).is_ok())
    }

    /// Gives a tag, which the calling ring has, to the kernel.
    pub(super) fn give(&self, tag: u16) {
        if let Some(taken) = self.taken.get(usize::from(tag)) {
            taken.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_one_ring_at_a_time() {
        let common = CommonTags::new(2);
        assert!(common.take(0) && !common.take(0) && common.take(1) && !common.take(2));
        common.give(0);
        assert!(common.take(0));
    }

    #[test]
    fn the_last_ring_to_prepare_lets_all_go_on() {
        let common = CommonTags::new(3);
        common.note_prepared(1);
        let begin = std::time::Instant::now();
        common.wait_prepared(Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(20));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| common.wait_prepared(Duration::from_secs(30)));
            common.note_prepared(2);
            waits.join().unwrap();
        });
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn all_rings_have_the_same_buffers() {
        let common = CommonTags::new(2);
        let first = common.buffers(4096, 0).unwrap();
        assert_eq!(first.address(1), common.buffers(4096, 0).unwrap().address(1));
        assert!(common.buffers(8192, 0).is_err());
    }

    #[test]
    fn what_one_thread_wrote_the_next_sees() {
        let common = CommonTags::new(1);
        let buffers = common.buffers(64, 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        while !common.take(0) {
                            std::thread::yield_now();
                        }
                        // SAFETY: the tag was taken, and no kernel is in this test.
                        let bytes = unsafe { buffers.place(0, 64).unwrap().as_mut() };
                        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                        bytes.fill(bytes[0].wrapping_add(1));
                        common.give(0);
                    }
                });
            }
        });
        // SAFETY: as above, and the threads have ended.
        let bytes = unsafe { buffers.place(0, 64).unwrap().as_ref() };
        assert_eq!(*bytes, [(4 * 500 % 256) as u8; 64]);
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p ublk --lib loom_tests`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A tag's buffer, as loom watches it: two that look at once, or one that looks without having heard of the other's
    /// end, are an error.
    struct Queue {
        common: CommonTags,
        buffer: UnsafeCell<u32>,
    }

    // SAFETY: the buffer is touched by nobody but `serve`, who has taken its tag; loom watches that.
    unsafe impl Sync for Queue {}

    /// What a ring does with a tag that the kernel says is its: adds one to the bytes.
    fn serve(queue: &Queue) -> bool {
        if !queue.common.take(0) {
            return false;
        }
        // SAFETY: whoever has taken the tag has its buffer alone; that this is so is what loom checks.
        queue.buffer.with_mut(|bytes| unsafe { *bytes += 1 });
        queue.common.give(0);
        true
    }

    #[test]
    fn a_kernel_that_delivers_a_tag_twice_gives_no_buffer_to_two_rings() {
        loom::model(|| {
            let common = CommonTags::new(1);
            let queue = Arc::new(Queue { common, buffer: UnsafeCell::new(0) });
            let other = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || serve(&queue))
            };
            let here = serve(&queue);
            let served = u32::from(here) + u32::from(other.join().unwrap());
            assert!(served >= 1 && queue.common.take(0), "one of both serves, and gives it back");
            // SAFETY: as above.
            assert_eq!(queue.buffer.with(|bytes| unsafe { *bytes }), served);
        });
    }

    #[test]
    fn the_last_ring_to_prepare_wakes_all_that_wait() {
        loom::model(|| {
            const LONG: Duration = Duration::from_secs(1000);
            let common = Arc::new(CommonTags::new(2));
            let other = {
                let common = Arc::clone(&common);
                thread::spawn(move || {
                    common.note_prepared(1);
                    common.wait_prepared(LONG);
                })
            };
            common.note_prepared(1);
            common.wait_prepared(LONG);
            other.join().unwrap();
            assert_eq!(*common.prepared.lock().unwrap(), 2);
        });
    }
}
