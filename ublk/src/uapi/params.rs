//! Parameters of a device: groups of limits that SET_PARAMS overlays on what the driver has stored.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Smallest `max_segment_size` and smallest segment boundary. Available since Linux 6.15.
pub const MIN_SEGMENT_SIZE_BYTES: u32 = 4096;

flag_set! {
    /// Attributes of the disk, `UBLK_ATTR_*`.
    pub struct Attrs: u32 {
        /// Refuses writes. Available since Linux 6.0.
        const READ_ONLY = 1 << 0;
        /// A rotating disk, to the I/O scheduler. Available since Linux 6.0.
        const ROTATIONAL = 1 << 1;
        /// Completed writes may be lost until a flush. Available since Linux 6.0.
        const VOLATILE_CACHE = 1 << 2;
        /// Serves FUA writes; without effect unless `VOLATILE_CACHE` is set. Available since Linux 6.0.
        const FUA = 1 << 3;
    }
}

flag_set! {
    /// Which groups of [`Params`] are meant, `UBLK_PARAM_TYPE_*`.
    pub struct ParamTypes: u32 {
        /// [`ParamBasic`], mandatory. Available since Linux 6.0.
        const BASIC = 1 << 0;
        /// [`ParamDiscard`]. Available since Linux 6.0.
        const DISCARD = 1 << 1;
        /// [`ParamDevt`], refused by SET_PARAMS. Available since Linux 6.3.
        const DEVT = 1 << 2;
        /// [`ParamZoned`]. Available since Linux 6.6.
        const ZONED = 1 << 3;
        /// [`ParamDmaAlign`]. Available since Linux 6.15.
        const DMA_ALIGN = 1 << 4;
        /// [`ParamSegment`]. Available since Linux 6.15.
        const SEGMENT = 1 << 5;
        /// [`ParamIntegrity`]. Available since Linux 7.0.
        const INTEGRITY = 1 << 6;
    }
}

flag_set! {
    /// Flags of [`ParamIntegrity`], `LBMD_PI_CAP_*` of `linux/fs.h`.
    pub struct IntegrityFlags: u32 {
        /// The device checks integrity. Available since Linux 7.0.
        const CAP_INTEGRITY = 1 << 0;
        /// The device checks the reference tag. Available since Linux 7.0.
        const CAP_REFTAG = 1 << 1;
    }
}

/// Block sizes, largest I/O, capacity, attributes. Available since Linux 6.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ParamBasic {
    /// Attributes.
    pub attrs: Attrs,
    /// Logical block size as a power of two: 9 up to the page shift.
    pub logical_bs_shift: u8,
    /// Physical block size as a power of two, not below the logical one.
    pub physical_bs_shift: u8,
    /// Optimal I/O size as a power of two.
    pub io_opt_shift: u8,
    /// Minimum I/O size as a power of two.
    pub io_min_shift: u8,
    /// Largest request in sectors: at least a page, at most `max_io_buf_bytes`.
    pub max_sectors: u32,
    /// Requests do not cross multiples of this many sectors; zone size of a zoned device.
    pub chunk_sectors: u32,
    /// Capacity in sectors.
    pub dev_sectors: u64,
    /// Segments do not cross this address mask.
    pub virt_boundary_mask: u64,
}

layout!(ParamBasic: 32 {
    attrs @ 0, logical_bs_shift @ 4, physical_bs_shift @ 5, io_opt_shift @ 6, io_min_shift @ 7,
    max_sectors @ 8, chunk_sectors @ 12, dev_sectors @ 16, virt_boundary_mask @ 24,
});

/// Limits of DISCARD and WRITE_ZEROES. Available since Linux 6.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ParamDiscard {
    /// Bytes from the start of the device to the first discardable unit.
    pub discard_alignment: u32,
    /// Bytes of a discardable unit; not zero.
    pub discard_granularity: u32,
    /// Largest DISCARD in sectors; 0 for none.
    pub max_discard_sectors: u32,
    /// Largest WRITE_ZEROES in sectors; 0 for none.
    pub max_write_zeroes_sectors: u32,
    /// Ranges per DISCARD: 1 when there is DISCARD.
    pub max_discard_segments: u16,
    /// Not looked at.
    pub reserved0: u16,
}

layout!(ParamDiscard: 20 {
    discard_alignment @ 0, discard_granularity @ 4, max_discard_sectors @ 8,
    max_write_zeroes_sectors @ 12, max_discard_segments @ 16, reserved0 @ 18,
});

/// Device numbers, filled by GET_PARAMS. Available since Linux 6.3.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ParamDevt {
    /// Major of `/dev/ublkcN`.
    pub char_major: u32,
    /// Minor of `/dev/ublkcN`.
    pub char_minor: u32,
    /// Major of `/dev/ublkbN`, 0 when there is no disk.
    pub disk_major: u32,
    /// Minor of `/dev/ublkbN`, 0 when there is no disk.
    pub disk_minor: u32,
}

layout!(ParamDevt: 16 { char_major @ 0, char_minor @ 4, disk_major @ 8, disk_minor @ 12 });

/// Limits of a zoned device. Available since Linux 6.6.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ParamZoned {
    /// Zones open at once; 0 for no limit.
    pub max_open_zones: u32,
    /// Zones active at once; 0 for no limit.
    pub max_active_zones: u32,
    /// Largest zone append in sectors; not zero.
    pub max_zone_append_sectors: u32,
    /// Not looked at.
    pub reserved: [u8; 20],
}

layout!(ParamZoned: 32 {
    max_open_zones @ 0, max_active_zones @ 4, max_zone_append_sectors @ 8, reserved @ 12,
});

/// Alignment of request buffers in memory. Available since Linux 6.15.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ParamDmaAlign {
    /// Alignment as a mask: a power of two less one, below a page.
    pub alignment: u32,
    /// Not looked at.
    pub pad: [u8; 4],
}

layout!(ParamDmaAlign: 8 { alignment @ 0, pad @ 4 });

/// Limits of a request's segments. Available since Linux 6.15.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ParamSegment {
    /// A segment does not cross this mask: a power of two less one, at least 4095.
    pub seg_boundary_mask: u64,
    /// Largest segment in bytes, at least [`MIN_SEGMENT_SIZE_BYTES`].
    pub max_segment_size: u32,
    /// Segments per request.
    pub max_segments: u16,
    /// Not looked at.
    pub pad: [u8; 2],
}

layout!(ParamSegment: 16 {
    seg_boundary_mask @ 0, max_segment_size @ 8, max_segments @ 12, pad @ 14,
});

/// Integrity metadata; needs [`Features::INTEGRITY`](super::Features::INTEGRITY).
/// Available since Linux 7.0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct ParamIntegrity {
    /// Capabilities.
    pub flags: IntegrityFlags,
    /// Segments of metadata per request; 0 for no limit.
    pub max_integrity_segments: u16,
    /// Protected interval as a power of two: 9 up to the logical block shift.
    pub interval_exp: u8,
    /// Bytes of metadata per interval; not zero.
    pub metadata_size: u8,
    /// Offset of the protection tuple within the metadata, in bytes.
    pub pi_offset: u8,
    /// `LBMD_PI_CSUM_*` of `linux/fs.h`: 0 none, 1 IP, 2 CRC16-T10DIF, 4 CRC64-NVME.
    pub csum_type: u8,
    /// Bytes of application tag.
    pub tag_size: u8,
    /// Not looked at.
    pub pad: [u8; 5],
}

layout!(ParamIntegrity: 16 {
    flags @ 0, max_integrity_segments @ 4, interval_exp @ 6, metadata_size @ 7, pi_offset @ 8,
    csum_type @ 9, tag_size @ 10, pad @ 11,
});

/// `struct ublk_params`. Available since Linux 6.0.
///
/// Kernels differ in how much of it they know (112 bytes in 6.12, 152 in 7.3); each takes the front it knows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Params {
    /// Bytes of this struct that are meant. After GET_PARAMS: what the last SET_PARAMS stored, 0 before any.
    pub len: u32,
    /// Groups that are meant.
    pub types: ParamTypes,
    /// Block sizes, capacity, attributes.
    pub basic: ParamBasic,
    /// Limits of DISCARD and WRITE_ZEROES.
    pub discard: ParamDiscard,
    /// Device numbers.
    pub devt: ParamDevt,
    /// Limits of a zoned device.
    pub zoned: ParamZoned,
    /// Alignment of buffers.
    pub dma: ParamDmaAlign,
    /// What the C compiler leaves between `dma` and `seg`.
    pub padding: [u8; 4],
    /// Limits of segments.
    pub seg: ParamSegment,
    /// Integrity metadata.
    pub integrity: ParamIntegrity,
}

layout!(Params: 152 {
    len @ 0, types @ 4, basic @ 8, discard @ 40, devt @ 60, zoned @ 76, dma @ 108, padding @ 116,
    seg @ 120, integrity @ 136,
});

impl Params {
    /// Parameters with the mandatory group, and `len` and `types` to match.
    #[must_use]
    pub fn new(basic: ParamBasic) -> Self {
        Self { len: size_of::<Self>() as u32, types: ParamTypes::BASIC, basic, ..Self::default() }
    }

    /// Adds the discard group.
    #[must_use]
    pub fn with_discard(mut self, discard: ParamDiscard) -> Self {
        self.types |= ParamTypes::DISCARD;
        self.discard = discard;
        self
    }

    /// Adds the zoned group.
    #[must_use]
    pub fn with_zoned(mut self, zoned: ParamZoned) -> Self {
        self.types |= ParamTypes::ZONED;
        self.zoned = zoned;
        self
    }

    /// Adds the DMA alignment group.
    #[must_use]
    pub fn with_dma_align(mut self, dma: ParamDmaAlign) -> Self {
        self.types |= ParamTypes::DMA_ALIGN;
        self.dma = dma;
        self
    }

    /// Adds the segment group.
    #[must_use]
    pub fn with_segment(mut self, seg: ParamSegment) -> Self {
        self.types |= ParamTypes::SEGMENT;
        self.seg = seg;
        self
    }

    /// Adds the integrity group.
    #[must_use]
    pub fn with_integrity(mut self, integrity: ParamIntegrity) -> Self {
        self.types |= ParamTypes::INTEGRITY;
        self.integrity = integrity;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_added_is_announced() {
        let params = Params::new(ParamBasic::default())
            .with_discard(ParamDiscard::default())
            .with_segment(ParamSegment::default());
        assert_eq!(params.types.to_string(), "BASIC|DISCARD|SEGMENT");
        assert_eq!(params.len, 152);
    }
}
