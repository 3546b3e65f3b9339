//! The third door of a target: zones. A host-managed device is written at the write pointer of each zone
//! and nowhere else, and a zone is emptied as a whole.

use std::io;

pub use crate::uapi::ZoneCondition;

/// How a device is divided, and what it limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneGeometry {
    /// Every zone's length in bytes, a power of two. The device's size is a multiple of it.
    pub zone_bytes: u64,
    /// Zones open at once; 0 for no limit.
    pub max_open_zones: u32,
    /// Zones open or closed, that is partly written, at once; 0 for no limit.
    pub max_active_zones: u32,
    /// The largest zone append in bytes, at most a zone.
    pub max_append_bytes: u32,
}

/// A zone, as a report describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Where the write pointer is, in bytes from the start of the device; the zone's end when it is full.
    pub write_pointer_bytes: u64,
    /// How many of its bytes can be written; its length for most devices.
    pub capacity_bytes: u64,
    /// Its condition. [`ZoneCondition::NotWritePointer`] makes it a conventional zone, which is written
    /// anywhere.
    pub condition: ZoneCondition,
}

/// What can be done to one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneAction {
    /// Keep it open until it is closed, finished or reset.
    Open,
    /// Give its place among the open zones to others.
    Close,
    /// Make it full, wherever its write pointer is.
    Finish,
    /// Empty it.
    Reset,
}

/// What a target with zones does beyond reading and writing.
///
/// The kernel orders writes to one zone among themselves, but sends appends at any time. Zones are named
/// by where they begin, in bytes. The errno of a limit that is reached: ETOOMANYREFS for open zones,
/// EOVERFLOW for active ones; EIO for what breaks the rules of a zone.
pub trait ZonedTarget: Send + Sync {
    /// How it is divided. Read once, when the device is configured.
    fn geometry(&self) -> ZoneGeometry;

    /// The zone that begins at `offset_bytes`.
    ///
    /// # Errors
    /// Whatever whoever reads the report should see; a device does not even start then.
    fn zone(&self, offset_bytes: u64) -> io::Result<Zone>;

    /// Tells `zones` zones, one after the other, from the one that begins at `offset_bytes`.
    ///
    /// # Errors
    /// As [`zone`](Self::zone).
    fn report(&self, offset_bytes: u64, zones: u32, each: &mut dyn FnMut(Zone)) -> io::Result<()> {
        let zone_bytes = self.geometry().zone_bytes;
        for number in 0..u64::from(zones) {
            each(self.zone(offset_bytes + number * zone_bytes)?);
        }
        Ok(())
    }

    /// Writes `data` at the write pointer of the zone that begins at `offset_bytes`, and says where that
    /// was, in bytes from the start of the device.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn append(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<u64>;

    /// Does something to the zone that begins at `offset_bytes`.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn manage(&self, action: ZoneAction, offset_bytes: u64) -> io::Result<()>;

    /// Empties every zone that has a write pointer.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn reset_all(&self) -> io::Result<()>;
}
