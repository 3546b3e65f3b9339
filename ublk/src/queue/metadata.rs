//! The way of a request's metadata, which is not the way of its bytes: whatever the data mode, it goes through the
//! character device, to and from a place beside the tag's buffer. Apart from the worker's loop, because hardly any
//! device has metadata, and the others must not pay for it.

use super::{Answer, Descriptor, Port, QueueError, Worker};
use crate::uapi::{ParamTypes, Params};

/// How much metadata belongs to how much data. Available since Linux 7.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataShape {
    /// Bytes of data each piece of metadata is for; a power of two, not 0.
    pub interval_bytes: u32,
    /// Bytes of such a piece.
    pub metadata_bytes: u8,
}

impl MetadataShape {
    /// What a device with these parameters has; none without metadata.
    pub fn of(params: &Params) -> Option<Self> {
        let group = params.types.contains(ParamTypes::INTEGRITY).then_some(params.integrity)?;
        let interval_bytes = 1_u32.checked_shl(group.interval_exp.into())?;
        Some(Self { interval_bytes, metadata_bytes: group.metadata_size })
    }

    /// The metadata of that much data, in bytes; of whole intervals, for there is nothing else.
    pub fn len_bytes(self, data_len_bytes: u64) -> u64 {
        data_len_bytes / u64::from(self.interval_bytes) * u64::from(self.metadata_bytes)
    }
}

impl<P: Port> Worker<P> {
    /// The length of a request's metadata; 0 without.
    pub(super) fn metadata_len_bytes(&self, slot: u32, descriptor: &Descriptor) -> usize {
        if !descriptor.has_metadata {
            return 0;
        }
        let shape = self.port.metadata_shape(slot);
        shape.map_or(0, |shape| shape.len_bytes(descriptor.data_len_bytes()) as usize)
    }

    /// Sees that a request's metadata is in its place where it brings some, and that there is room for what it wants.
    /// False where it was answered with an error instead.
    pub(super) fn bring_metadata(
        &mut self,
        slot: u32,
        descriptor: &Descriptor,
    ) -> Result<bool, QueueError> {
        if !descriptor.has_metadata || self.lane(slot).ignores_data {
            return Ok(true);
        }
        let len_bytes = self.metadata_len_bytes(slot, descriptor);
        // A request with metadata that is none, or more than the parameters allow, breaks a promise of the kernel's.
        let there = len_bytes > 0 && self.port.buffers(slot, 0, len_bytes).is_some();
        let errno = match descriptor.brings_data() {
            _ if !there => libc::EIO,
            false => return Ok(true),
            true => match self.port.metadata_copy(slot, len_bytes, false) {
                Ok(()) => return Ok(true),
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            },
        };
        self.settle(slot, descriptor, Answer::error(errno))?;
        Ok(false)
    }

    /// Moves the metadata of what was read into the request, as much as belongs to the answer's bytes.
    pub(super) fn return_metadata(
        &mut self,
        slot: u32,
        descriptor: &Descriptor,
        answer: Answer,
    ) -> Answer {
        let wanted = descriptor.has_metadata && descriptor.wants_data();
        if !wanted || answer.result <= 0 || self.lane(slot).ignores_data {
            return answer;
        }
        let done_bytes = (answer.result as u64).min(descriptor.data_len_bytes());
        let shape = self.port.metadata_shape(slot);
        let len_bytes = shape.map_or(0, |shape| shape.len_bytes(done_bytes) as usize);
        match self.port.metadata_copy(slot, len_bytes, true) {
            Ok(()) => answer,
            Err(error) => Answer::error(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{IntegrityOptions, ParamsBuilder};
    use crate::target::Capabilities;

    #[test]
    fn the_shape_is_what_the_parameters_say() {
        let plain = ParamsBuilder::new(1 << 20, Capabilities::default()).logical_block_bytes(4096);
        assert_eq!(MetadataShape::of(&plain.build().unwrap()), None);
        let options = IntegrityOptions { metadata_bytes: 255, ..IntegrityOptions::default() };
        let params = plain.integrity(options).build().unwrap();
        let shape = MetadataShape::of(&params).unwrap();
        assert_eq!(shape, MetadataShape { interval_bytes: 4096, metadata_bytes: 255 });
        assert_eq!((shape.len_bytes(0), shape.len_bytes(4095)), (0, 0));
        assert_eq!(shape.len_bytes(32 << 20), 8192 * 255);
    }
}
