//! A zoned disk in memory: what a file system for zones is tested on when there is no such disk. It keeps
//! to the rules as strictly as a real one: a write that is not at the write pointer fails.

mod options;
mod zones;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use options::{ZonedRamError, ZonedRamOptions};
use zones::Zones;

use super::{
    Capabilities, RamTarget, Target, Zone, ZoneAction, ZoneCondition, ZoneGeometry, ZonedTarget,
};

/// A sparse, host-managed zoned ramdisk.
///
/// The write pointers are under one lock, which a write holds while it copies: appends to one zone then
/// need no second order. Reads take no part in that.
#[derive(Debug)]
pub struct ZonedRamTarget {
    disk: RamTarget,
    geometry: ZoneGeometry,
    zones: Mutex<Zones>,
}

impl ZonedRamTarget {
    /// A disk that is empty, and holds no storage yet.
    ///
    /// # Errors
    /// [`ZonedRamError`].
    pub fn new(options: ZonedRamOptions) -> Result<Self, ZonedRamError> {
        let (geometry, zones) = options.check()?;
        let disk = RamTarget::new(options.size_bytes)?;
        let zones = Mutex::new(Zones::new(zones, options.conventional_zones, geometry));
        Ok(Self { disk, geometry, zones })
    }

    /// Bytes of storage held now.
    pub fn allocated_bytes(&self) -> u64 {
        self.disk.allocated_bytes()
    }

    fn zones(&self) -> MutexGuard<'_, Zones> {
        // A panic between two lines of the book-keeping is a bug; the numbers stay plausible after it.
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the zone that begins there.
    fn number(&self, offset_bytes: u64) -> io::Result<usize> {
        let number = (offset_bytes / self.geometry.zone_bytes) as usize;
        let begins = offset_bytes.is_multiple_of(self.geometry.zone_bytes);
        let there = begins && offset_bytes < self.disk.size_bytes();
        if there { Ok(number) } else { Err(zones::broken_rule()) }
    }
}

impl Target for ZonedRamTarget {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    /// Neither discard nor write-zeroes: a reset is the one, and the other would need a write pointer.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// What lies behind the write pointer reads as zeroes.
    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset_bytes, buffer)
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        let mut zones = self.zones();
        zones.prepare_write(offset_bytes, data.len() as u64)?;
        self.disk.write(offset_bytes, data, fua)?;
        zones.advance(offset_bytes, data.len() as u64);
        Ok(())
    }

    fn zoned(&self) -> Option<&dyn ZonedTarget> {
        Some(self)
    }
}

impl ZonedTarget for ZonedRamTarget {
    fn geometry(&self) -> ZoneGeometry {
        self.geometry
    }

    fn zone(&self, offset_bytes: u64) -> io::Result<Zone> {
        let number = self.number(offset_bytes)?;
        Ok(self.zones().describe(number))
    }

    fn append(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<u64> {
        let number = self.number(offset_bytes)?;
        let mut zones = self.zones();
        let zone = zones.describe(number);
        if zone.condition == ZoneCondition::NotWritePointer {
            return Err(zones::broken_rule());
        }
        let at = zone.write_pointer_bytes;
        if zone.condition == ZoneCondition::Full {
            return Err(zones::broken_rule());
        }
        zones.prepare_write(at, data.len() as u64)?;
        self.disk.write(at, data, fua)?;
        zones.advance(at, data.len() as u64);
        Ok(at)
    }

    fn manage(&self, action: ZoneAction, offset_bytes: u64) -> io::Result<()> {
        let number = self.number(offset_bytes)?;
        let mut zones = self.zones();
        match action {
            ZoneAction::Open => zones.open(number),
            ZoneAction::Close => zones.close(number),
            ZoneAction::Finish => zones.finish(number),
            ZoneAction::Reset => {
                zones.reset(number)?;
                self.disk.discard(offset_bytes, self.geometry.zone_bytes)
            }
        }
    }

    fn reset_all(&self) -> io::Result<()> {
        let mut zones = self.zones();
        for number in zones.sequential() {
            zones.reset(number)?;
            self.disk
                .discard(number as u64 * self.geometry.zone_bytes, self.geometry.zone_bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
