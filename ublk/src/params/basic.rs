//! The group every device has: units, capacity, and the promises that follow from the target.

use super::{MAX_IO_BYTES_MAX, ParamsBuilder, ParamsError};
use crate::target::Capabilities;
use crate::uapi::{Attrs, ParamBasic, SECTOR_BYTES};

/// Caps of the driver from 7.2 on: 256 MiB for physical block, minimum and optimal I/O.
const SHIFT_MAX: u8 = 28;

impl ParamsBuilder {
    pub(super) fn basic(&self) -> Result<ParamBasic, ParamsError> {
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
            // Below the physical block the block layer would raise the one and drop the other, silently.
            io_opt_shift: shift("optimal I/O", io_opt, physical, unit_max)?,
            io_min_shift: shift("minimum I/O", io_min, physical, unit_max)?,
            max_sectors: max_io / SECTOR_BYTES as u32,
            chunk_sectors: self.chunk_sectors()?,
            dev_sectors: blocks * (u64::from(logical) / SECTOR_BYTES),
            virt_boundary_mask: self.virt_boundary_mask()?,
        })
    }

    fn chunk_sectors(&self) -> Result<u32, ParamsError> {
        let Some(bytes) = self.chunk_bytes else { return Ok(0) };
        if bytes == 0 || !bytes.is_multiple_of(self.logical_block_bytes) {
            let rule = "bytes must be a multiple of the logical block, and not none";
            return Err(ParamsError::Limit { name: "chunk", value: bytes.into(), rule });
        }
        Ok(bytes / SECTOR_BYTES as u32)
    }

    fn virt_boundary_mask(&self) -> Result<u64, ParamsError> {
        let Some(bytes) = self.virt_boundary_bytes else { return Ok(0) };
        shift("virtual boundary", bytes, 512, self.page_bytes)?;
        Ok(u64::from(bytes) - 1)
    }

    fn attrs(&self) -> Attrs {
        let Capabilities { flush, fua, read_only, rotational, .. } = self.capabilities;
        let mut attrs = Attrs::empty();
        for (wanted, attr) in [
            (self.read_only || read_only, Attrs::READ_ONLY),
            (self.rotational || rotational, Attrs::ROTATIONAL),
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
