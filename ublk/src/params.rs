//! A device's parameters, from what its target can do and what the user asked for.
//!
//! The kernel answers a wrong parameter with EINVAL, whichever it was and whyever; so every rule it has
//! is checked here first and told apart. The promises (volatile cache, FUA, discard) are never asked
//! for but follow from [`Capabilities`]: a device that promises a flush its target has not got loses
//! data, and one that promises none while the target has a cache does too.

mod basic;
mod devt;
mod discard;
mod error;
mod integrity;
mod segment;
mod zoned;

pub use devt::DeviceNumbers;
pub use discard::DiscardLimits;
pub use error::ParamsError;
pub use segment::SegmentLimits;
pub use zoned::ZoneParamsError;

pub use crate::target::{Checksum, IntegrityOptions};

use crate::target::{Capabilities, ZoneGeometry};
use crate::uapi::{Features, ParamTypes, Params};

/// Largest request of a device in copy mode. The driver knows no limit but the field; ours keeps a
/// queue's buffers sane, and is the most that the user-copy mode can address too.
pub const MAX_IO_BYTES_MAX: u32 = 32 << 20;
/// What a request may be at most unless said otherwise.
pub const MAX_IO_BYTES_DEFAULT: u32 = 512 << 10;

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
    rotational: bool,
    chunk_bytes: Option<u32>,
    virt_boundary_bytes: Option<u32>,
    discard: DiscardLimits,
    dma_alignment_bytes: Option<u32>,
    segments: Option<SegmentLimits>,
    integrity: Option<IntegrityOptions>,
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
            rotational: false,
            chunk_bytes: None,
            virt_boundary_bytes: None,
            discard: DiscardLimits::default(),
            dma_alignment_bytes: None,
            segments: None,
            integrity: None,
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

    /// The smallest I/O without a penalty, the physical block or more; the physical block unless given.
    #[must_use]
    pub fn io_min_bytes(mut self, bytes: u32) -> Self {
        self.io_min_bytes = Some(bytes);
        self
    }

    /// The best size for streams, the physical block or more; the physical block unless given.
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

    /// Seeks cost, although the target does not say so.
    #[must_use]
    pub fn rotational(mut self, rotational: bool) -> Self {
        self.rotational = rotational;
        self
    }

    /// No request crosses a multiple of this: stripes, erase blocks. A multiple of the logical block.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: u32) -> Self {
        self.chunk_bytes = Some(bytes);
        self
    }

    /// The pages of a request have no gaps below this power of two, from 512 bytes to a page.
    #[must_use]
    pub fn virt_boundary_bytes(mut self, bytes: u32) -> Self {
        self.virt_boundary_bytes = Some(bytes);
        self
    }

    /// Limits of discard and write-zeroes below what the target takes.
    #[must_use]
    pub fn discard(mut self, limits: DiscardLimits) -> Self {
        self.discard = limits;
        self
    }

    /// Applications' buffers must be aligned to this power of two, at most a page. Available since Linux 6.15.
    #[must_use]
    pub fn dma_alignment_bytes(mut self, bytes: u32) -> Self {
        self.dma_alignment_bytes = Some(bytes);
        self
    }

    /// Limits of a request's segments in memory. Available since Linux 6.15.
    #[must_use]
    pub fn segments(mut self, limits: SegmentLimits) -> Self {
        self.segments = Some(limits);
        self
    }

    /// Metadata with each interval of data, for a device with
    /// [`Features::INTEGRITY`](crate::uapi::Features::INTEGRITY). A server asks its target for it
    /// ([`Target::integrity`](crate::target::Target::integrity)). Available since Linux 7.0.
    #[must_use]
    pub fn integrity(mut self, options: IntegrityOptions) -> Self {
        self.integrity = Some(options);
        self
    }

    /// The target's zones, if it has any ([`Target::zoned`](crate::target::Target::zoned)). The device needs
    /// [`Features::ZONED`](crate::uapi::Features::ZONED).
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
        let basic = self.basic()?;
        let mut params = Params::new(basic);
        if let Some(discard) = self.discard_group(&basic)? {
            params = params.with_discard(discard);
        }
        if let Some(bytes) = self.dma_alignment_bytes {
            params = params.with_dma_align(segment::dma_align(bytes, self.page_bytes)?);
        }
        if let Some(limits) = self.segments {
            params = params.with_segment(limits.group()?);
        }
        if let Some(options) = self.integrity {
            params = params.with_integrity(integrity::group(options, self.logical_block_bytes)?);
        }
        if let Some(geometry) = self.zoned {
            let (size, page) = (self.size_bytes, self.page_bytes);
            let (zoned, chunk) = zoned::build(geometry, size, self.logical_block_bytes, page)?;
            params.basic.chunk_sectors = chunk;
            params = params.with_zoned(zoned);
        }
        Ok(params)
    }
}

/// Checks that a device with these features takes the groups of `params`.
pub(crate) fn check_features(params: &Params, features: Features) -> Result<(), ParamsError> {
    for (group, feature) in
        [(ParamTypes::INTEGRITY, Features::INTEGRITY), (ParamTypes::ZONED, Features::ZONED)]
    {
        if params.types.contains(group) && !features.contains(feature) {
            return Err(ParamsError::NeedsFeature { group, feature });
        }
    }
    Ok(())
}

/// Whether the metadata of a device with these parameters is what `options` say.
pub(crate) fn is_group_of(params: &Params, options: IntegrityOptions) -> bool {
    let logical_bytes = 1_u32.checked_shl(params.basic.logical_bs_shift.into()).unwrap_or(0);
    integrity::group(options, logical_bytes).is_ok_and(|group| group == params.integrity)
}

#[cfg(test)]
mod tests;
