//! A writable device over a base that is never written: what is written goes to an overlay, and the same
//! base can carry many. The overlay is a sparse file that survives the server, its crash and the
//! machine's; [`layout`] says what is in it.
//!
//! The base is divided into clusters. A write to a part of one copies the rest of it up from the base
//! first; a bit for each cluster says where to read it. The order on the medium is data, then bit: a bit
//! that became durable before its data would turn old bytes into zeroes after a loss of power. So a bit
//! goes out with a flush, after the data was synced.
//!
//! That alone would make the writes since the last flush disappear when only the server dies, and a
//! device that is recovered must not lose what it completed. So each bit is also kept, at once, in a
//! second, *loose* map. It is believed only if the machine has not booted since: then the page cache
//! that holds it and its data is still there, whoever died.

mod clusters;
mod error;
mod files;
mod layout;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use clusters::Clusters;
pub use error::CowTargetError;
pub use layout::{CLUSTER_BYTES_DEFAULT, CLUSTER_BYTES_MAX, CLUSTER_BYTES_MIN};
use layout::{Layout, SECTOR_BYTES};

use super::{Capabilities, Target};

/// A copy-on-write device: `B` is the base, `O` keeps the overlay.
#[derive(Debug)]
pub struct CowTarget<B: Target, O: Target> {
    base: B,
    overlay: O,
    layout: Layout,
    clusters: RwLock<Clusters>,
    /// Held while clusters are copied up, so that two writes to one do not copy over each other.
    copying: Mutex<()>,
    /// Held by the flush that is under way: an older map must not be written over a newer one.
    flushing: Mutex<()>,
    /// A sync failed. What the medium holds is unknown then, and a later sync that succeeds would make
    /// bits durable whose data is lost.
    broken: AtomicBool,
    /// Keeps other servers off the overlay. Never looked at.
    _lock: Option<files::Lock>,
}

impl<B: Target, O: Target> CowTarget<B, O> {
    /// Lays a new overlay over `base`, or goes on with the one that `overlay` holds. An `overlay` whose
    /// header reads as zeroes is new; [`overlay_size_bytes`](Self::overlay_size_bytes) says how large it
    /// must be.
    ///
    /// # Errors
    /// [`CowTargetError`].
    pub fn new(base: B, overlay: O, cluster_bytes: u32) -> Result<Self, CowTargetError> {
        Self::on_boot(base, overlay, cluster_bytes, layout::boot_id())
    }

    /// What an overlay over a base of that size takes at most; it is sparse where it can be.
    ///
    /// # Errors
    /// [`CowTargetError::Cluster`] for a cluster that is no power of two, or too small or large.
    pub fn overlay_size_bytes(base_bytes: u64, cluster_bytes: u32) -> Result<u64, CowTargetError> {
        Ok(Layout::new(base_bytes, cluster_bytes)?.end())
    }

    fn on_boot(
        base: B,
        overlay: O,
        cluster_bytes: u32,
        boot_id: layout::BootId,
    ) -> Result<Self, CowTargetError> {
        // What does not fill a sector cannot be served.
        let base_bytes = base.size_bytes() / SECTOR_BYTES * SECTOR_BYTES;
        let layout = Layout::of(&overlay, base_bytes, cluster_bytes)?;
        let clusters = Clusters::load(&overlay, &layout, boot_id)?;
        Ok(Self {
            base,
            overlay,
            layout,
            clusters: RwLock::new(clusters),
            copying: Mutex::new(()),
            flushing: Mutex::new(()),
            broken: AtomicBool::new(false),
            _lock: None,
        })
    }

    /// Clusters that are in the overlay.
    pub fn written_clusters(&self) -> u64 {
        self.map().count()
    }

    fn map(&self) -> RwLockReadGuard<'_, Clusters> {
        self.clusters.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn map_mut(&self) -> RwLockWriteGuard<'_, Clusters> {
        self.clusters.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// From `at` on, at most `len` bytes: whether they are in the overlay, and up to where that is so.
    fn run(&self, at: u64, len: u64) -> (bool, u64) {
        let cluster_bytes = self.layout.cluster_bytes;
        let end = at + len;
        let (written, until) = self.map().run(at / cluster_bytes, end.div_ceil(cluster_bytes));
        (written, (until * cluster_bytes).min(end) - at)
    }

    /// Changes a range in the overlay, run by run: `change` gets the place in the overlay, and which part
    /// of the range it is. Clusters that are not there yet are copied up around it.
    fn change(
        &self,
        offset: u64,
        len: u64,
        change: impl Fn(u64, std::ops::Range<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let (mut written, mut part) = self.run(at, len - done);
            let place = self.layout.place(at);
            if written {
                change(place, done..done + part)?;
            } else {
                let copying = lock(&self.copying);
                // Again: another write may have been quicker.
                (written, part) = self.run(at, len - done);
                if written {
                    drop(copying);
                    change(place, done..done + part)?;
                } else {
                    self.copy_up_around(at, part)?;
                    change(place, done..done + part)?;
                    self.mark(at, part)?;
                }
            }
            done += part;
        }
        Ok(())
    }

    /// Copies what lies before and behind a range in its first and last cluster.
    fn copy_up_around(&self, at: u64, len: u64) -> io::Result<()> {
        let cluster_bytes = self.layout.cluster_bytes;
        let (start, end) = (at - at % cluster_bytes, at + len);
        let stop = end.next_multiple_of(cluster_bytes).min(self.layout.base_bytes);
        for gap in [start..at, end..stop] {
            if gap.is_empty() {
                continue;
            }
            let mut bytes = vec![0; (gap.end - gap.start) as usize];
            self.base.read(gap.start, &mut bytes)?;
            self.overlay.write(self.layout.place(gap.start), &bytes, false)?;
        }
        Ok(())
    }

    /// Says that the clusters of a range are in the overlay. Their data has been written.
    fn mark(&self, at: u64, len: u64) -> io::Result<()> {
        let cluster_bytes = self.layout.cluster_bytes;
        let range = at / cluster_bytes..(at + len).div_ceil(cluster_bytes);
        self.map_mut().set(range.clone());
        // We are the only one that copies up, so nobody writes an older state over this one.
        let (sector, bytes) = self.map().sectors_of(&range);
        self.overlay.write(self.layout.loose_map + sector * SECTOR_BYTES, &bytes, false)
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.overlay.flush();
        if synced.is_err() {
            self.broken.store(true, Ordering::Relaxed);
        }
        synced
    }
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B: Target, O: Target> Target for CowTarget<B, O> {
    fn size_bytes(&self) -> u64 {
        self.layout.base_bytes
    }

    fn capabilities(&self) -> Capabilities {
        let (base, overlay) = (self.base.capabilities(), self.overlay.capabilities());
        Capabilities {
            flush: true,
            discard: overlay.discard && overlay.write_zeroes,
            write_zeroes: overlay.write_zeroes,
            rotational: base.rotational || overlay.rotational,
            logical_block_bytes_min: base
                .logical_block_bytes_min
                .max(overlay.logical_block_bytes_min),
            discard_granularity_bytes: self.layout.cluster_bytes as u32,
            // A write may have to copy first, and to tell afterwards that it is done: no extent says so.
            extents: false,
            ..Capabilities::default()
        }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut at, mut rest) = (offset_bytes, buffer);
        while !rest.is_empty() {
            let (written, len) = self.run(at, rest.len() as u64);
            let (part, behind) = rest.split_at_mut(len as usize);
            if written {
                self.overlay.read(self.layout.place(at), part)?;
            } else {
                self.base.read(at, part)?;
            }
            (at, rest) = (at + len, behind);
        }
        Ok(())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        self.change(offset_bytes, data.len() as u64, |place, part| {
            self.overlay.write(place, &data[part.start as usize..part.end as usize], false)
        })?;
        if fua { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        let _one = lock(&self.flushing);
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("an earlier sync of the overlay failed, start it anew"));
        }
        // What is in the map now is what the sync makes durable; what comes later has to wait.
        let pages = self.map_mut().take_dirty();
        self.sync()?;
        if pages.is_empty() {
            return Ok(());
        }
        for (page, bytes) in &pages {
            let at = self.layout.map + page * bytes.len() as u64;
            self.overlay.write(at, bytes, false).inspect_err(|_| {
                self.broken.store(true, Ordering::Relaxed);
            })?;
        }
        self.sync()
    }

    /// As [`write_zeroes`](Target::write_zeroes): what was discarded must not show the base again.
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        self.write_zeroes(offset_bytes, len_bytes, true)
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        self.change(offset_bytes, len_bytes, |place, part| {
            self.overlay.write_zeroes(place, part.end - part.start, may_unmap)
        })
    }
}

impl<B: Target, O: Target> Drop for CowTarget<B, O> {
    /// A server that ends in order leaves everything durable. Nobody is left to hear of a failure, and
    /// nobody was promised anything since the last flush.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
