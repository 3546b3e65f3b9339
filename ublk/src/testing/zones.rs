//! The zones of a disk under test, in the words of [`ZonedTarget`](crate::target::ZonedTarget).

use std::io;

use zerocopy::FromBytes;

use super::{Disk, Request};
use crate::target::{Zone, ZoneAction, ZoneCondition};
use crate::uapi::{BlkZone, SECTOR_BYTES};

impl<T> Disk<T> {
    /// Writes `data` at the write pointer of the zone that begins at `offset_bytes`, and gives where that
    /// was, in bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn append(&self, offset_bytes: u64, data: &[u8]) -> io::Result<u64> {
        let answer = self.one(Request::append(offset_bytes, data))?;
        let at = answer.appended_at_bytes.unwrap_or_default();
        answer.result.map(|_| at)
    }

    /// Describes at most `zones` zones from the one that begins at `offset_bytes` on; fewer at the end of
    /// the disk. Each comes with where it begins.
    ///
    /// # Errors
    /// As [`write`](Self::write); `InvalidData` for a report that no kernel could read.
    pub fn report(&self, offset_bytes: u64, zones: u32) -> io::Result<Vec<(u64, Zone)>> {
        let report = self.one(Request::report(offset_bytes, zones))?.result?;
        let mut all = Vec::new();
        for zone in report.chunks_exact(size_of::<BlkZone>()) {
            let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no zone is like this");
            let zone = BlkZone::read_from_bytes(zone).map_err(|_| wrong())?;
            // This is how the kernel knows the end.
            if zone.len == 0 {
                break;
            }
            let condition = ZoneCondition::from_code(zone.cond).ok_or_else(wrong)?;
            all.push((
                zone.start * SECTOR_BYTES,
                Zone {
                    write_pointer_bytes: zone.wp * SECTOR_BYTES,
                    capacity_bytes: zone.capacity * SECTOR_BYTES,
                    condition,
                },
            ));
        }
        Ok(all)
    }

    /// Does something to the zone that begins at `offset_bytes`.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn manage(&self, action: ZoneAction, offset_bytes: u64) -> io::Result<()> {
        self.one(Request::manage(action, offset_bytes))?.result.map(drop)
    }

    /// Empties every zone that has a write pointer.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn reset_all(&self) -> io::Result<()> {
        self.one(Request::reset_all())?.result.map(drop)
    }
}
