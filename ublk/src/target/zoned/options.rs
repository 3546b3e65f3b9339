//! How a zoned ramdisk is to be divided.

use thiserror::Error;

use crate::target::{RamTargetError, ZoneGeometry};

/// The smallest zone: what one chunk of the ramdisk below holds.
const ZONE_BYTES_MIN: u64 = 64 << 10;
/// The largest: its sectors must fit 32 bits of the parameters.
const ZONE_BYTES_MAX: u64 = 1 << 40;
/// As many zones as a table may have that is kept in memory.
const ZONES_MAX: u64 = 1 << 24;
/// The largest append unless the zone is smaller; the kernel cuts it at the largest request.
const APPEND_BYTES_MAX: u64 = 1 << 20;

/// Why there is no such zoned ramdisk.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZonedRamError {
    /// The ramdisk below is impossible.
    #[error(transparent)]
    Ram(#[from] RamTargetError),
    /// The zone is no power of two, or too small or large.
    #[error(
        "a zone of {bytes} bytes is not a power of two from {ZONE_BYTES_MIN} to {ZONE_BYTES_MAX}"
    )]
    Zone {
        /// What was asked for.
        bytes: u64,
    },
    /// The last zone would be cut off, or there would be none, or too many.
    #[error("{size_bytes} bytes are not 1 to {ZONES_MAX} whole zones of {zone_bytes}")]
    Size {
        /// The size asked for.
        size_bytes: u64,
        /// The zone.
        zone_bytes: u64,
    },
    /// No zone would be left to be written in sequence.
    #[error("{conventional} conventional zones of {zones} leave no sequential one")]
    Conventional {
        /// What was asked for.
        conventional: u32,
        /// How many zones there are.
        zones: u64,
    },
    /// More zones may be open than active, although each open one is active.
    #[error("{open} open zones are more than the {active} active ones that are allowed")]
    OpenAboveActive {
        /// The limit of open zones.
        open: u32,
        /// The limit of active zones.
        active: u32,
    },
}

/// How a zoned ramdisk is to be divided.
#[derive(Clone, Copy, Debug)]
pub struct ZonedRamOptions {
    pub(super) size_bytes: u64,
    zone_bytes: u64,
    pub(super) conventional_zones: u32,
    max_open_zones: u32,
    max_active_zones: u32,
}

impl ZonedRamOptions {
    /// A disk of that size, in zones of 64 MiB without limits, all of them sequential.
    pub fn new(size_bytes: u64) -> Self {
        Self {
            size_bytes,
            zone_bytes: 64 << 20,
            conventional_zones: 0,
            max_open_zones: 0,
            max_active_zones: 0,
        }
    }

    /// Length of each zone, a power of two.
    #[must_use]
    pub fn zone_bytes(mut self, bytes: u64) -> Self {
        self.zone_bytes = bytes;
        self
    }

    /// How many zones, from the first on, can be written anywhere.
    #[must_use]
    pub fn conventional_zones(mut self, zones: u32) -> Self {
        self.conventional_zones = zones;
        self
    }

    /// Zones open at once; 0 for no limit.
    #[must_use]
    pub fn max_open_zones(mut self, zones: u32) -> Self {
        self.max_open_zones = zones;
        self
    }

    /// Zones open or partly written at once; 0 for no limit.
    #[must_use]
    pub fn max_active_zones(mut self, zones: u32) -> Self {
        self.max_active_zones = zones;
        self
    }

    /// The geometry, and how many zones.
    pub(super) fn check(&self) -> Result<(ZoneGeometry, usize), ZonedRamError> {
        let Self { size_bytes, zone_bytes, .. } = *self;
        let (open, active) = (self.max_open_zones, self.max_active_zones);
        if !zone_bytes.is_power_of_two() || !(ZONE_BYTES_MIN..=ZONE_BYTES_MAX).contains(&zone_bytes)
        {
            return Err(ZonedRamError::Zone { bytes: zone_bytes });
        }
        let zones = size_bytes / zone_bytes;
        if !size_bytes.is_multiple_of(zone_bytes) || zones == 0 || zones > ZONES_MAX {
            return Err(ZonedRamError::Size { size_bytes, zone_bytes });
        }
        if u64::from(self.conventional_zones) >= zones {
            let conventional = self.conventional_zones;
            return Err(ZonedRamError::Conventional { conventional, zones });
        }
        if active != 0 && open > active {
            return Err(ZonedRamError::OpenAboveActive { open, active });
        }
        let geometry = ZoneGeometry {
            zone_bytes,
            // A limit that cannot be reached is none, and the kernel takes none above the zones there are.
            max_open_zones: if u64::from(open) >= zones { 0 } else { open },
            max_active_zones: if u64::from(active) >= zones { 0 } else { active },
            max_append_bytes: zone_bytes.min(APPEND_BYTES_MAX) as u32,
        };
        Ok((geometry, zones as usize))
    }
}
