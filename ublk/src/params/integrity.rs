//! Metadata beside the data: its size, and the checksum tuple within it.

use super::ParamsError;
use crate::uapi::{IntegrityFlags, ParamIntegrity};

/// The checksum of an interval's data, `LBMD_PI_CSUM_*`. Available since Linux 7.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Opaque metadata.
    #[default]
    None,
    /// Internet checksum, in a tuple of 8 bytes.
    Ip,
    /// CRC-16 of T10 DIF, in a tuple of 8 bytes.
    Crc16T10Dif,
    /// CRC-64 of NVMe, in a tuple of 16 bytes.
    Crc64Nvme,
}

impl Checksum {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Ip => 1,
            Self::Crc16T10Dif => 2,
            Self::Crc64Nvme => 4,
        }
    }

    /// Bytes of the protection tuple.
    #[must_use]
    pub const fn tuple_bytes(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Ip | Self::Crc16T10Dif => 8,
            Self::Crc64Nvme => 16,
        }
    }
}

/// The integrity group. Available since Linux 7.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntegrityOptions {
    /// Bytes of metadata for each interval, 1 or more.
    pub metadata_bytes: u8,
    /// Bytes of data each piece of metadata is for: a power of two from 512 to the logical block, which it is unless
    /// given.
    pub interval_bytes: Option<u32>,
    /// The checksum.
    pub checksum: Checksum,
    /// Where in the metadata the checksum's tuple starts.
    pub tuple_offset_bytes: u8,
    /// Bytes of the application tag in the tuple.
    pub tag_bytes: u8,
    /// Whether the storage checks the metadata.
    pub storage_checks: bool,
    /// Whether the tuple holds a reference tag; needs a checksum.
    pub reference_tag: bool,
    /// Segments of metadata per request; 0 for no limit.
    pub max_segments: u16,
}

impl IntegrityOptions {
    pub(super) fn group(self, logical_bytes: u32) -> Result<ParamIntegrity, ParamsError> {
        let broken =
            |name, value: u32, rule| Err(ParamsError::Limit { name, value: value.into(), rule });
        if self.metadata_bytes == 0 {
            return broken("metadata", 0, "bytes are none: leave the group out");
        }
        if self.reference_tag && self.checksum == Checksum::None {
            return broken("reference tag", 1, "needs a checksum");
        }
        let tuple_end = u32::from(self.tuple_offset_bytes) + u32::from(self.checksum.tuple_bytes());
        if tuple_end > u32::from(self.metadata_bytes) {
            return broken("end of the checksum tuple", tuple_end, "is beyond the metadata");
        }
        let interval = self.interval_bytes.unwrap_or(logical_bytes);
        if !interval.is_power_of_two() || !(512..=logical_bytes).contains(&interval) {
            let rule = "bytes must be a power of two from 512 to the logical block";
            return broken("integrity interval", interval, rule);
        }
        let mut flags = IntegrityFlags::empty();
        if self.storage_checks {
            flags |= IntegrityFlags::CAP_INTEGRITY;
        }
        if self.reference_tag {
            flags |= IntegrityFlags::CAP_REFTAG;
        }
        Ok(ParamIntegrity {
            flags,
            max_integrity_segments: self.max_segments,
            interval_exp: interval.trailing_zeros() as u8,
            metadata_size: self.metadata_bytes,
            pi_offset: self.tuple_offset_bytes,
            csum_type: self.checksum.code(),
            tag_size: self.tag_bytes,
            pad: [0; 5],
        })
    }
}
