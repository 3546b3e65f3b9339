//! Metadata beside the data, as options: what of it is asked for is one choice, and the rest follows from that.

use clap::{Args, ValueEnum};
use ublk::params::{Checksum, IntegrityOptions};

use crate::size;

/// Opaque metadata is that long unless told otherwise.
const OPAQUE_BYTES: u8 = 8;

#[derive(Debug, Args)]
pub(crate) struct IntegrityArgs {
    /// Keep metadata with each block, and have the kernel check it by that checksum; since Linux 7.0.
    #[arg(long, value_name = "CHECKSUM", value_enum)]
    integrity: Option<ChecksumArg>,
    /// Bytes of metadata for each interval, 1 to 255; the checksum's tuple unless given, 8 without a checksum.
    #[arg(long, value_name = "BYTES", requires = "integrity",
          value_parser = clap::value_parser!(u8).range(1..))]
    metadata_size: Option<u8>,
    /// Data that a piece of metadata is for, a power of two; the logical block unless given.
    #[arg(long, value_name = "SIZE", requires = "integrity", value_parser = size::parse_u32)]
    integrity_interval: Option<u32>,
    /// Where in the metadata the checksum's tuple begins; at its end unless given.
    #[arg(long, value_name = "BYTES", requires = "integrity")]
    pi_offset: Option<u8>,
    /// Have the kernel check, too, that blocks are the ones that were asked for.
    #[arg(long, requires = "integrity")]
    reference_tag: bool,
    /// Bytes of the tuple that are the application's own.
    #[arg(long, value_name = "BYTES", requires = "integrity", default_value_t = 0)]
    tag_size: u8,
    /// Say that the storage checks metadata as well.
    #[arg(long, requires = "integrity")]
    storage_checks: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChecksumArg {
    /// None: the metadata is the application's.
    None,
    /// The Internet checksum.
    Ip,
    /// The CRC-16 of T10 DIF.
    Crc16,
    /// The CRC-64 of NVMe.
    Crc64,
}

impl From<ChecksumArg> for Checksum {
    fn from(arg: ChecksumArg) -> Self {
        match arg {
            ChecksumArg::None => Self::None,
            ChecksumArg::Ip => Self::Ip,
            ChecksumArg::Crc16 => Self::Crc16T10Dif,
            ChecksumArg::Crc64 => Self::Crc64Nvme,
        }
    }
}

impl IntegrityArgs {
    /// What was asked for, on a device with that logical block; none where nothing was.
    pub(crate) fn options(&self, block_bytes: Option<u32>) -> Option<IntegrityOptions> {
        let checksum = Checksum::from(self.integrity?);
        let tuple_bytes = checksum.tuple_bytes();
        let least = if tuple_bytes == 0 { OPAQUE_BYTES } else { tuple_bytes };
        let metadata_bytes =
            self.metadata_size.unwrap_or(least.saturating_add(self.pi_offset.unwrap_or(0)));
        let at_end = metadata_bytes.saturating_sub(tuple_bytes);
        Some(IntegrityOptions {
            metadata_bytes,
            interval_bytes: self.integrity_interval.or(block_bytes),
            checksum,
            tuple_offset_bytes: match checksum {
                Checksum::None => self.pi_offset.unwrap_or(0),
                _ => self.pi_offset.unwrap_or(at_end),
            },
            tag_bytes: self.tag_size,
            storage_checks: self.storage_checks,
            reference_tag: self.reference_tag,
            max_segments: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: IntegrityArgs,
    }

    fn options(line: &str) -> Option<IntegrityOptions> {
        let words = std::iter::once("ublk").chain(line.split_whitespace());
        Line::parse_from(words).args.options(Some(4096))
    }

    #[test]
    fn the_rest_follows_from_the_checksum() {
        assert_eq!(options(""), None);
        let plain = options("--integrity crc16").unwrap();
        assert_eq!((plain.metadata_bytes, plain.tuple_offset_bytes), (8, 0));
        assert_eq!((plain.interval_bytes, plain.checksum), (Some(4096), Checksum::Crc16T10Dif));
        let long = options("--integrity crc64 --metadata-size 64 --reference-tag").unwrap();
        assert_eq!((long.metadata_bytes, long.tuple_offset_bytes), (64, 48));
        assert!(long.reference_tag && !long.storage_checks);
        let shifted = options("--integrity ip --pi-offset 8 --integrity-interval 512").unwrap();
        assert_eq!((shifted.metadata_bytes, shifted.tuple_offset_bytes), (16, 8));
        assert_eq!(shifted.interval_bytes, Some(512));
        let opaque = options("--integrity none").unwrap();
        assert_eq!((opaque.metadata_bytes, opaque.tuple_offset_bytes), (8, 0));
    }

    #[test]
    fn its_options_mean_nothing_without_it() {
        for line in ["--metadata-size 8", "--reference-tag", "--pi-offset 8", "--storage-checks"] {
            let words = std::iter::once("ublk").chain(line.split_whitespace());
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
        assert!(
            Line::try_parse_from(["ublk", "--integrity", "crc16", "--metadata-size", "0"]).is_err()
        );
    }
}
