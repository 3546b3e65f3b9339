//! How a request lies in memory: alignment of its buffers, and the size and number of its segments.

use super::ParamsError;
use crate::uapi::{MIN_SEGMENT_SIZE_BYTES, ParamDmaAlign, ParamSegment};

/// Limits of a request's segments. Available since Linux 6.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// No segment crosses a multiple of this power of two, 4096 or more, at most 2^63.
    pub boundary_bytes: u64,
    /// Largest segment, 4096 or more.
    pub max_segment_bytes: u32,
    /// Segments per request, 1 or more.
    pub max_segments: u16,
}

impl SegmentLimits {
    pub(super) fn group(self) -> Result<ParamSegment, ParamsError> {
        let Self { boundary_bytes, max_segment_bytes, max_segments } = self;
        let broken = |name, value, rule| Err(ParamsError::Limit { name, value, rule });
        if !boundary_bytes.is_power_of_two() || boundary_bytes < u64::from(MIN_SEGMENT_SIZE_BYTES) {
            let rule = "bytes must be a power of two of 4096 or more";
            return broken("segment boundary", boundary_bytes, rule);
        }
        if max_segment_bytes < MIN_SEGMENT_SIZE_BYTES {
            return broken(
                "largest segment",
                max_segment_bytes.into(),
                "bytes must be 4096 or more",
            );
        }
        if max_segments == 0 {
            // The driver does not look, and the block layer takes 0 for its own default.
            return broken("number of segments", 0, "must be 1 or more");
        }
        Ok(ParamSegment {
            seg_boundary_mask: boundary_bytes - 1,
            max_segment_size: max_segment_bytes,
            max_segments,
            pad: [0; 2],
        })
    }
}

/// The alignment group, which is a mask on the wire.
pub(super) fn dma_align(bytes: u32, page_bytes: u32) -> Result<ParamDmaAlign, ParamsError> {
    if !bytes.is_power_of_two() || bytes > page_bytes {
        let rule = "bytes must be a power of two, at most a page";
        return Err(ParamsError::Limit { name: "buffer alignment", value: bytes.into(), rule });
    }
    Ok(ParamDmaAlign { alignment: bytes - 1, pad: [0; 4] })
}
