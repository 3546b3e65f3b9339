//! Metadata beside the data: its size, and the checksum tuple within it.

use super::ParamsError;
use crate::target::{Checksum, IntegrityOptions};
use crate::uapi::{IntegrityFlags, ParamIntegrity};

/// The group for a device with that logical block.
pub(super) fn group(
    options: IntegrityOptions,
    logical_bytes: u32,
) -> Result<ParamIntegrity, ParamsError> {
    let broken =
        |name, value: u32, rule| Err(ParamsError::Limit { name, value: value.into(), rule });
    if options.metadata_bytes == 0 {
        return broken("metadata", 0, "bytes are none: leave the group out");
    }
    if options.reference_tag && options.checksum == Checksum::None {
        return broken("reference tag", 1, "needs a checksum");
    }
    let tuple_end =
        u32::from(options.tuple_offset_bytes) + u32::from(options.checksum.tuple_bytes());
    if tuple_end > u32::from(options.metadata_bytes) {
        return broken("end of the checksum tuple", tuple_end, "is beyond the metadata");
    }
    let interval = options.interval_bytes.unwrap_or(logical_bytes);
    if !interval.is_power_of_two() || !(512..=logical_bytes).contains(&interval) {
        let rule = "bytes must be a power of two from 512 to the logical block";
        return broken("integrity interval", interval, rule);
    }
    let mut flags = IntegrityFlags::empty();
    if options.storage_checks {
        flags |= IntegrityFlags::CAP_INTEGRITY;
    }
    if options.reference_tag {
        flags |= IntegrityFlags::CAP_REFTAG;
    }
    Ok(ParamIntegrity {
        flags,
        max_integrity_segments: options.max_segments,
        interval_exp: interval.trailing_zeros() as u8,
        metadata_size: options.metadata_bytes,
        pi_offset: options.tuple_offset_bytes,
        csum_type: options.checksum.code(),
        tag_size: options.tag_bytes,
        pad: [0; 5],
    })
}
