//! The parameters of a device with zones. They follow from the target's geometry alone; what the kernel
//! answers with EINVAL, or with a device that cannot start, is told apart here.

use thiserror::Error;

use crate::target::ZoneGeometry;
use crate::uapi::{ParamZoned, SECTOR_BYTES};

/// Why a device cannot have such zones.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZoneParamsError {
    /// The zone is no power of two, or its sectors do not fit 32 bits, or a page does not fit it.
    #[error("zone of {bytes} bytes is not a power of two from {min} to {max}")]
    Zone {
        /// What the target said.
        bytes: u64,
        /// The smallest: a page.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// The last zone would be cut off: the kernel could not ask for it, and refuses the device.
    #[error("{size_bytes} bytes are not whole zones of {zone_bytes}")]
    Size {
        /// The target's size.
        size_bytes: u64,
        /// The zone.
        zone_bytes: u64,
    },
    /// The kernel wants appends, of whole logical blocks, within one zone.
    #[error(
        "largest zone append of {bytes} bytes is not a multiple of {logical} from {logical} to the zone \
         of {zone_bytes}"
    )]
    Append {
        /// What the target said.
        bytes: u32,
        /// The logical block.
        logical: u32,
        /// The zone.
        zone_bytes: u64,
    },
    /// A limit above the number of zones.
    #[error("{name} of {limit} is more than the {zones} zones there are")]
    Limit {
        /// Which limit.
        name: &'static str,
        /// What the target said.
        limit: u32,
        /// How many zones there are.
        zones: u64,
    },
    /// More zones may be open than active, although each open one is active.
    #[error("limit of {open} open zones is above the limit of {active} active ones")]
    OpenAboveActive {
        /// The limit of open zones.
        open: u32,
        /// The limit of active zones.
        active: u32,
    },
}

/// The group of zones, and the `chunk_sectors` of the basic group, which is the zone.
pub(super) fn build(
    geometry: ZoneGeometry,
    size_bytes: u64,
    logical: u32,
    page_bytes: u32,
) -> Result<(ParamZoned, u32), ZoneParamsError> {
    let ZoneGeometry { zone_bytes, max_open_zones: open, max_active_zones: active, .. } = geometry;
    let (min, max) = (u64::from(page_bytes), u64::from(1_u32 << 31) * SECTOR_BYTES);
    if !zone_bytes.is_power_of_two() || !(min..=max).contains(&zone_bytes) {
        return Err(ZoneParamsError::Zone { bytes: zone_bytes, min, max });
    }
    if size_bytes == 0 || !size_bytes.is_multiple_of(zone_bytes) {
        return Err(ZoneParamsError::Size { size_bytes, zone_bytes });
    }
    let append = geometry.max_append_bytes;
    if append == 0 || !append.is_multiple_of(logical) || u64::from(append) > zone_bytes {
        return Err(ZoneParamsError::Append { bytes: append, logical, zone_bytes });
    }
    let zones = size_bytes / zone_bytes;
    for (name, limit) in [("open zones", open), ("active zones", active)] {
        if u64::from(limit) > zones {
            return Err(ZoneParamsError::Limit { name, limit, zones });
        }
    }
    if active != 0 && open > active {
        return Err(ZoneParamsError::OpenAboveActive { open, active });
    }
    let zoned = ParamZoned {
        max_open_zones: open,
        max_active_zones: active,
        max_zone_append_sectors: append / SECTOR_BYTES as u32,
        reserved: [0; 20],
    };
    Ok((zoned, (zone_bytes / SECTOR_BYTES) as u32))
}

#[cfg(test)]
mod tests {
    use crate::params::{ParamsBuilder, ParamsError};
    use crate::target::{Capabilities, ZoneGeometry};
    use crate::uapi::ParamTypes;

    const GEOMETRY: ZoneGeometry = ZoneGeometry {
        zone_bytes: 4 << 20,
        max_open_zones: 3,
        max_active_zones: 4,
        max_append_bytes: 64 << 10,
    };

    fn build(size_bytes: u64, geometry: ZoneGeometry) -> Result<crate::uapi::Params, ParamsError> {
        ParamsBuilder::new(size_bytes, Capabilities::default()).zoned(Some(geometry)).build()
    }

    #[test]
    fn the_zone_is_the_chunk_and_the_limits_are_told() {
        let params = build(64 << 20, GEOMETRY).unwrap();
        assert_eq!(params.types, ParamTypes::BASIC | ParamTypes::ZONED);
        assert_eq!(params.basic.chunk_sectors, 8192);
        assert_eq!(params.zoned.max_zone_append_sectors, 128);
        assert_eq!((params.zoned.max_open_zones, params.zoned.max_active_zones), (3, 4));
        let plain = ParamsBuilder::new(64 << 20, Capabilities::default()).zoned(None).build();
        assert_eq!(plain.unwrap().types, ParamTypes::BASIC);
    }

    #[test]
    fn every_wrong_geometry_is_named() {
        let error = |size, geometry| build(size, geometry).unwrap_err().to_string();
        let with = |change: fn(&mut ZoneGeometry)| {
            let mut geometry = GEOMETRY;
            change(&mut geometry);
            error(64 << 20, geometry)
        };
        assert!(with(|g| g.zone_bytes = 3 << 20).starts_with("zone of 3145728 bytes is not"));
        assert!(with(|g| g.zone_bytes = 512).starts_with("zone of 512 bytes"));
        assert!(with(|g| g.zone_bytes = 1 << 41).starts_with("zone of 2199023255552 bytes"));
        assert_eq!(error(6 << 20, GEOMETRY), "6291456 bytes are not whole zones of 4194304");
        assert!(with(|g| g.max_append_bytes = 0).starts_with("largest zone append of 0"));
        assert!(with(|g| g.max_append_bytes = 1000).starts_with("largest zone append of 1000"));
        assert!(with(|g| g.max_append_bytes = 8 << 20).contains("to the zone of 4194304"));
        assert_eq!(
            with(|g| g.max_active_zones = 17),
            "active zones of 17 is more than the 16 zones there are"
        );
        assert!(with(|g| g.max_open_zones = 5).starts_with("limit of 5 open zones is above"));
    }
}
