//! The fourth door of a target: metadata beside the data. The kernel computes a checksum for what it writes and
//! compares it with what it reads back, so that a byte that changed anywhere in between is an error and not
//! somebody's data; or an application sends metadata of its own along. A target only has to keep it.

use std::io;

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

/// What the metadata of a device is. Available since Linux 7.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntegrityOptions {
    /// Bytes of metadata for each interval, 1 or more.
    pub metadata_bytes: u8,
    /// Bytes of data each piece of metadata is for: a power of two from 512 to the logical block, which it is unless
    /// given.
    pub interval_bytes: Option<u32>,
    /// The checksum.
    pub checksum: Checksum,
    /// Where in the metadata the checksum's tuple starts. What is before it is covered by the checksum too.
    pub tuple_offset_bytes: u8,
    /// Bytes of the application tag in the tuple.
    pub tag_bytes: u8,
    /// Whether the storage checks the metadata.
    pub storage_checks: bool,
    /// Whether the tuple's reference tag is the interval's number, and checked; needs a checksum.
    pub reference_tag: bool,
    /// Segments of metadata per request; 0 for no limit.
    pub max_segments: u16,
}

impl IntegrityOptions {
    /// The metadata of that much data, in bytes; of whole intervals, which are 512 bytes where they are not given.
    #[must_use]
    pub fn metadata_len_bytes(&self, data_len_bytes: u64) -> u64 {
        let interval_bytes = u64::from(self.interval_bytes.unwrap_or(512).max(1));
        data_len_bytes / interval_bytes * u64::from(self.metadata_bytes)
    }
}

/// What a target with metadata does beyond reading and writing.
///
/// Not every request has metadata: the kernel sends none where `read_verify` or `write_generate` was switched off
/// in sysfs and the metadata is nothing but the checksum. Such requests go to [`Target::read`](super::Target::read)
/// and [`Target::write`](super::Target::write), like those of any device. Whoever writes that way leaves data with
/// metadata that is not its own; a tuple of all ones is one that the kernel does not check.
///
/// `metadata` has [`metadata_bytes`](IntegrityOptions::metadata_bytes) for each interval of `data`, in their order.
/// Data and metadata of an interval belong together: a read that runs beside a write must not see one without the
/// other. The errno of a checksum that is wrong is EILSEQ.
///
/// A zone append with metadata is refused with EOPNOTSUPP. Available since Linux 7.0.
pub trait IntegrityTarget: Send + Sync {
    /// What the metadata is. Read when the device is configured, and where a server takes a device over.
    fn options(&self) -> IntegrityOptions;

    /// Fills all of `data`, from `offset_bytes`, and all of its `metadata`.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn read_with_metadata(
        &self,
        offset_bytes: u64,
        data: &mut [u8],
        metadata: &mut [u8],
    ) -> io::Result<()>;

    /// Stores all of `data` at `offset_bytes`, and all of its `metadata`; with `fua` both durably.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn write_with_metadata(
        &self,
        offset_bytes: u64,
        data: &[u8],
        metadata: &[u8],
        fua: bool,
    ) -> io::Result<()>;
}
