//! A device's parameters, from what its target can do and what the user asked for.
//!
//! The kernel answers a wrong parameter with EINVAL, whichever it was and whyever; so every rule it has
//! is checked here first and told apart. The promises (volatile cache, FUA, discard) are never asked
//! for but follow from [`Capabilities`]: a device that promises a flush its target has not got loses
//! data, and one that promises none while the target has a cache does too.

mod zoned;

use thiserror::Error;
pub use zoned::ZoneParamsError;

use crate::target::{Capabilities, ZoneGeometry};
use crate::uapi::{Attrs, ParamBasic, ParamDiscard, Params, SECTOR_BYTES};

/// Largest request of a device in copy mode. The driver knows no limit but the field; ours keeps a
/// queue's buffers sane, and is the most that the user-copy mode can address too.
pub const MAX_IO_BYTES_MAX: u32 = 32 << 20;
/// What a request may be at most unless said otherwise.
pub const MAX_IO_BYTES_DEFAULT: u32 = 512 << 10;
/// The largest discard or write-zeroes: its bytes must fit the result of a request.
const CLEAR_SECTORS_MAX: u32 = (1 << 30) >> 9;
/// Caps of the driver from 7.2 on: 256 MiB for physical block, minimum and optimal I/O.
const SHIFT_MAX: u8 = 28;

/// Why there are no such parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Not a power of two, or outside of what the kernel takes.
    #[error("{name} of {bytes} bytes is not a power of two from {min} to {max}")]
    Unit {
        /// Which one.
        name: &'static str,
        /// What was asked for.
        bytes: u32,
        /// The smallest the kernel takes.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// The target cannot serve blocks that small.
    #[error(
        "logical block of {bytes} bytes is finer than the target serves, use {min} bytes or more"
    )]
    FinerThanTarget {
        /// What was asked for.
        bytes: u32,
        /// What the target needs.
        min: u32,
    },
    /// A physical block smaller than a logical one.
    #[error("physical block of {physical} bytes is smaller than the logical block of {logical}")]
    PhysicalBelowLogical {
        /// The physical block.
        physical: u32,
        /// The logical block.
        logical: u32,
    },
    /// The largest request is no multiple of the page, or too small or large.
    #[error("largest request of {bytes} bytes is not a multiple of {page} from {page} to {max}")]
    MaxIo {
        /// What was asked for.
        bytes: u32,
        /// The page size.
        page: u32,
        /// The limit.
        max: u32,
    },
    /// The device would have no block at all.
    #[error("{size_bytes} bytes do not fill one logical block of {logical} bytes")]
    TooSmall {
        /// The target's size.
        size_bytes: u64,
        /// The logical block.
        logical: u32,
    },
    /// The unit of discard is no multiple of the logical block.
    #[error(
        "discard granularity of {bytes} bytes is not a multiple of the logical block of {logical}"
    )]
    DiscardGranularity {
        /// What the target said.
        bytes: u32,
        /// The logical block.
        logical: u32,
    },
    /// The target's zones are impossible.
    #[error(transparent)]
    Zones(#[from] ZoneParamsError),
}

/// Builds [`Params`] for a target.
#[derive(Clone, Debug)]
pub struct ParamsBuilder {
    size_bytes: u64,
    capabilities: Capabilities,
    logical_block_bytes: u32,
    physical_block_bytes: Option<u32>,
    io_min_bytes: Option<u32>,
    io_opt_bytes: Option<u32>,
    max_io_bytes: u32,
    read_only: bool,
    zoned: Option<ZoneGeometry>,
    page_bytes: u32,
}

impl ParamsBuilder {
    /// Parameters of a target of that size, with the smallest logical block it serves.
    pub fn new(size_bytes: u64, capabilities: Capabilities) -> Self {
        Self {
            size_bytes,
            capabilities,
            logical_block_bytes: capabilities.logical_block_bytes_min.max(512),
            physical_block_bytes: None,
            io_min_bytes: None,
            io_opt_bytes: None,
            max_io_bytes: MAX_IO_BYTES_DEFAULT,
            read_only: false,
            zoned: None,
            page_bytes: u32::try_from(crate::sys::page_size_bytes()).unwrap_or(4096),
        }
    }

    /// The unit of I/O: 512 bytes to a page.
    #[must_use]
    pub fn logical_block_bytes(mut self, bytes: u32) -> Self {
        self.logical_block_bytes = bytes;
        self
    }

    /// The unit in which the storage works best; 4096 bytes, or the logical block if that is larger,
    /// unless given.
    #[must_use]
    pub fn physical_block_bytes(mut self, bytes: u32) -> Self {
        self.physical_block_bytes = Some(bytes);
        self
    }

    /// The smallest I/O without a penalty; the physical block unless given.
    #[must_use]
    pub fn io_min_bytes(mut self, bytes: u32) -> Self {
        self.io_min_bytes = Some(bytes);
        self
    }

    /// The best size for streams; the physical block unless given.
    #[must_use]
    pub fn io_opt_bytes(mut self, bytes: u32) -> Self {
        self.io_opt_bytes = Some(bytes);
        self
    }

    /// The largest request, a multiple of the page up to [`MAX_IO_BYTES_MAX`].
    #[must_use]
    pub fn max_io_bytes(mut self, bytes: u32) -> Self {
        self.max_io_bytes = bytes;
        self
    }

    /// Refuse writes although the target would take them.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The target's zones, if it has any ([`Target::zoned`](crate::target::Target::zoned)). The device
    /// must then be added with [`Features::ZONED`](crate::uapi::Features::ZONED).
    #[must_use]
    pub fn zoned(mut self, zoned: Option<ZoneGeometry>) -> Self {
        self.zoned = zoned;
        self
    }

    /// Checks everything the kernel would, and gives the parameters for SET_PARAMS.
    ///
    /// # Errors
    /// [`ParamsError`], the first rule that is broken.
    pub fn build(&self) -> Result<Params, ParamsError> {
        let logical = self.logical_block_bytes;
        let basic = self.basic()?;
        let params = self.add_zones(Params::new(basic))?;
        let Capabilities { discard, write_zeroes, .. } = self.capabilities;
        let writable = !basic.attrs.contains(Attrs::READ_ONLY);
        if !writable || !(discard || write_zeroes) {
            return Ok(params);
        }
        let granularity = match self.capabilities.discard_granularity_bytes {
            0 => logical,
            // A coarser logical block than the target's unit is a unit too.
            bytes => bytes.max(logical),
        };
        if granularity % logical != 0 {
            return Err(ParamsError::DiscardGranularity { bytes: granularity, logical });
        }
        // The kernel splits at the limit, so the limit has to be whole units.
        let unit_sectors = granularity / SECTOR_BYTES as u32;
        let limit = (CLEAR_SECTORS_MAX / unit_sectors).max(1) * unit_sectors;
        Ok(params.with_discard(ParamDiscard {
            discard_alignment: 0,
            discard_granularity: granularity,
            max_discard_sectors: if discard { limit } else { 0 },
            max_write_zeroes_sectors: if write_zeroes { limit } else { 0 },
            max_discard_segments: u16::from(discard),
            reserved0: 0,
        }))
    }

    fn add_zones(&self, mut params: Params) -> Result<Params, ParamsError> {
        let Some(geometry) = self.zoned else { return Ok(params) };
        let logical = self.logical_block_bytes;
        let (zoned, chunk) = zoned::build(geometry, self.size_bytes, logical, self.page_bytes)?;
        params.basic.chunk_sectors = chunk;
        Ok(params.with_zoned(zoned))
    }

    fn basic(&self) -> Result<ParamBasic, ParamsError> {
        let logical = self.logical_block_bytes;
        let logical_bs_shift = shift("logical block", logical, 512, self.page_bytes)?;
        let target_min = self.capabilities.logical_block_bytes_min;
        if logical < target_min {
            return Err(ParamsError::FinerThanTarget { bytes: logical, min: target_min });
        }
        let physical = self.physical_block_bytes.unwrap_or_else(|| logical.max(4096));
        let unit_max = 1 << SHIFT_MAX;
        let physical_bs_shift = shift("physical block", physical, 512, unit_max)?;
        if physical < logical {
            return Err(ParamsError::PhysicalBelowLogical { physical, logical });
        }
        let io_min = self.io_min_bytes.unwrap_or(physical);
        let io_opt = self.io_opt_bytes.unwrap_or(physical);
        let (max_io, page) = (self.max_io_bytes, self.page_bytes);
        if max_io < page || max_io > MAX_IO_BYTES_MAX || max_io % page != 0 {
            let max = MAX_IO_BYTES_MAX;
            return Err(ParamsError::MaxIo { bytes: max_io, page, max });
        }
        let blocks = self.size_bytes / u64::from(logical);
        if blocks == 0 {
            return Err(ParamsError::TooSmall { size_bytes: self.size_bytes, logical });
        }
        Ok(ParamBasic {
            attrs: self.attrs(),
            logical_bs_shift,
            physical_bs_shift,
            io_opt_shift: shift("optimal I/O", io_opt, 512, unit_max)?,
            io_min_shift: shift("minimum I/O", io_min, 512, unit_max)?,
            max_sectors: max_io / SECTOR_BYTES as u32,
            chunk_sectors: 0,
            dev_sectors: blocks * (u64::from(logical) / SECTOR_BYTES),
            virt_boundary_mask: 0,
        })
    }

    fn attrs(&self) -> Attrs {
        let Capabilities { flush, fua, read_only, rotational, .. } = self.capabilities;
        let mut attrs = Attrs::empty();
        for (wanted, attr) in [
            (self.read_only || read_only, Attrs::READ_ONLY),
            (rotational, Attrs::ROTATIONAL),
            (flush, Attrs::VOLATILE_CACHE),
            // Without a cache there is nothing for FUA to bypass, and the kernel would ignore it.
            (flush && fua, Attrs::FUA),
        ] {
            if wanted {
                attrs |= attr;
            }
        }
        attrs
    }
}

fn shift(name: &'static str, bytes: u32, min: u32, max: u32) -> Result<u8, ParamsError> {
    if bytes.is_power_of_two() && (min..=max).contains(&bytes) {
        Ok(bytes.trailing_zeros() as u8)
    } else {
        Err(ParamsError::Unit { name, bytes, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::ParamTypes;

    fn all() -> Capabilities {
        Capabilities {
            flush: true,
            fua: true,
            discard: true,
            write_zeroes: true,
            ..Capabilities::default()
        }
    }

    fn plain() -> ParamsBuilder {
        ParamsBuilder::new(1 << 20, Capabilities::default())
    }

    #[test]
    fn promises_follow_from_capabilities() {
        let params = ParamsBuilder::new(1 << 20, all()).build().unwrap();
        assert_eq!(params.basic.attrs, Attrs::VOLATILE_CACHE | Attrs::FUA);
        assert_eq!(params.types, ParamTypes::BASIC | ParamTypes::DISCARD);
        assert_eq!((params.basic.dev_sectors, params.basic.max_sectors), (2048, 1024));
        assert_eq!(params.discard.max_discard_segments, 1);
        assert_eq!(params.discard.discard_granularity, 512);

        let bare = plain().build().unwrap();
        assert_eq!(bare.basic.attrs, Attrs::empty());
        assert_eq!(bare.types, ParamTypes::BASIC);

        let fua_only = Capabilities { fua: true, ..Capabilities::default() };
        let params = ParamsBuilder::new(1 << 20, fua_only).build().unwrap();
        assert_eq!(params.basic.attrs, Attrs::empty());
    }

    #[test]
    fn a_read_only_device_offers_no_discard() {
        let params = ParamsBuilder::new(1 << 20, all()).read_only(true).build().unwrap();
        assert!(params.basic.attrs.contains(Attrs::READ_ONLY));
        assert_eq!(params.types, ParamTypes::BASIC);
    }

    #[test]
    fn write_zeroes_alone_has_no_discard_segment() {
        let zeroes = Capabilities { write_zeroes: true, ..Capabilities::default() };
        let discard = ParamsBuilder::new(1 << 20, zeroes).build().unwrap().discard;
        assert_eq!((discard.max_discard_sectors, discard.max_discard_segments), (0, 0));
        assert!(discard.max_write_zeroes_sectors > 0 && discard.discard_granularity != 0);
    }

    #[test]
    fn every_wrong_value_is_named() {
        let error = |builder: ParamsBuilder| builder.build().unwrap_err().to_string();
        assert_eq!(
            error(plain().logical_block_bytes(768)),
            "logical block of 768 bytes is not a power of two from 512 to 4096"
        );
        assert!(error(plain().logical_block_bytes(8192)).starts_with("logical block of 8192"));
        assert!(error(plain().logical_block_bytes(256)).starts_with("logical block of 256"));
        assert_eq!(
            error(plain().logical_block_bytes(4096).physical_block_bytes(512)),
            "physical block of 512 bytes is smaller than the logical block of 4096"
        );
        for bytes in [0, 512, 4097, MAX_IO_BYTES_MAX + 4096] {
            assert!(error(plain().max_io_bytes(bytes)).starts_with("largest request of"));
        }
        assert!(error(plain().io_opt_bytes(3000)).starts_with("optimal I/O of 3000"));
        assert!(error(plain().io_min_bytes(0)).starts_with("minimum I/O of 0"));
        assert!(error(plain().physical_block_bytes(1 << 29)).starts_with("physical block"));
        let tiny = ParamsBuilder::new(4095, Capabilities::default()).logical_block_bytes(4096);
        assert_eq!(error(tiny), "4095 bytes do not fill one logical block of 4096 bytes");
        let coarse = Capabilities { logical_block_bytes_min: 4096, ..Capabilities::default() };
        let finer = ParamsBuilder::new(1 << 20, coarse).logical_block_bytes(512);
        assert!(error(finer).contains("finer than the target serves, use 4096"));
        let odd = Capabilities { discard: true, discard_granularity_bytes: 768, ..all() };
        assert!(error(ParamsBuilder::new(1 << 20, odd)).starts_with("discard granularity"));
    }

    #[test]
    fn a_remainder_of_a_block_is_not_served() {
        let params = ParamsBuilder::new(10_000, Capabilities::default())
            .logical_block_bytes(4096)
            .build()
            .unwrap();
        assert_eq!(params.basic.dev_sectors, 16);
    }

    #[test]
    fn the_limit_of_discard_is_whole_units() {
        let coarse = Capabilities { discard_granularity_bytes: 3 << 20, ..all() };
        let discard = ParamsBuilder::new(1 << 40, coarse).build().unwrap().discard;
        assert_eq!(discard.max_discard_sectors % (discard.discard_granularity >> 9), 0);
        assert!(discard.max_discard_sectors <= CLEAR_SECTORS_MAX);
    }
}
