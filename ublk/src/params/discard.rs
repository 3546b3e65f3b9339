//! Limits of discard and write-zeroes. Whether there is either follows from the target; how much at a time may be
//! chosen.

use super::{ParamsBuilder, ParamsError};
use crate::target::Capabilities;
use crate::uapi::{Attrs, ParamBasic, ParamDiscard, SECTOR_BYTES};

/// The largest discard or write-zeroes: its bytes must fit the result of a request.
pub(super) const CLEAR_SECTORS_MAX: u32 = (1 << 30) >> 9;

/// What may be chosen about clearing; by default it follows from the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiscardLimits {
    /// The unit, a multiple of the logical block; the target's unless given.
    pub granularity_bytes: Option<u32>,
    /// Bytes from the start of the device to the first unit, less than one.
    pub alignment_bytes: u32,
    /// Largest discard, a multiple of the unit up to 1 GiB.
    pub max_discard_bytes: Option<u32>,
    /// Largest write-zeroes, a multiple of the unit up to 1 GiB.
    pub max_write_zeroes_bytes: Option<u32>,
}

impl ParamsBuilder {
    pub(super) fn discard_group(
        &self,
        basic: &ParamBasic,
    ) -> Result<Option<ParamDiscard>, ParamsError> {
        let Capabilities { discard, write_zeroes, .. } = self.capabilities;
        let writable = !basic.attrs.contains(Attrs::READ_ONLY);
        let limits = self.discard;
        let able = writable && (discard || write_zeroes);
        if limits.max_discard_bytes.is_some() && !(writable && discard) {
            return Err(ParamsError::Unable { operation: "discard" });
        }
        if limits.max_write_zeroes_bytes.is_some() && !(writable && write_zeroes) {
            return Err(ParamsError::Unable { operation: "write-zeroes" });
        }
        if !able {
            return match limits == DiscardLimits::default() {
                true => Ok(None),
                false => Err(ParamsError::Unable { operation: "discard" }),
            };
        }
        let granularity = self.granularity()?;
        let alignment = limits.alignment_bytes;
        if alignment >= granularity || !alignment.is_multiple_of(self.logical_block_bytes) {
            let rule = "bytes must be a multiple of the logical block below the granularity";
            return Err(limit("discard alignment", alignment, rule));
        }
        let discard_sectors = sectors("largest discard", limits.max_discard_bytes, granularity)?;
        let zero_sectors =
            sectors("largest write-zeroes", limits.max_write_zeroes_bytes, granularity)?;
        Ok(Some(ParamDiscard {
            discard_alignment: alignment,
            discard_granularity: granularity,
            max_discard_sectors: if discard { discard_sectors } else { 0 },
            max_write_zeroes_sectors: if write_zeroes { zero_sectors } else { 0 },
            max_discard_segments: u16::from(discard),
            reserved0: 0,
        }))
    }

    fn granularity(&self) -> Result<u32, ParamsError> {
        let logical = self.logical_block_bytes;
        let granularity = match self.discard.granularity_bytes {
            Some(bytes) => bytes,
            None => match self.capabilities.discard_granularity_bytes {
                0 => logical,
                // A coarser logical block than the target's unit is a unit too.
                bytes => bytes.max(logical),
            },
        };
        if granularity == 0 || !granularity.is_multiple_of(logical) {
            return Err(ParamsError::DiscardGranularity { bytes: granularity, logical });
        }
        Ok(granularity)
    }
}

/// The kernel splits at the limit, so the limit has to be whole units.
fn sectors(name: &'static str, asked: Option<u32>, granularity: u32) -> Result<u32, ParamsError> {
    let unit_sectors = granularity / SECTOR_BYTES as u32;
    let max = (CLEAR_SECTORS_MAX / unit_sectors).max(1) * unit_sectors;
    let Some(bytes) = asked else { return Ok(max) };
    let whole = bytes != 0 && bytes.is_multiple_of(granularity);
    if whole && bytes / SECTOR_BYTES as u32 <= max {
        return Ok(bytes / SECTOR_BYTES as u32);
    }
    Err(limit(name, bytes, "bytes must be a multiple of the granularity, up to 1 GiB"))
}

fn limit(name: &'static str, bytes: u32, rule: &'static str) -> ParamsError {
    ParamsError::Limit { name, value: bytes.into(), rule }
}
