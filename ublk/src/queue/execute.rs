//! What a request means to a target: one call, with the bounds checked before it and the result put into
//! the kernel's terms after it.

mod metadata;
mod zones;

use std::io;

use super::{Answer, Descriptor};
use crate::target::{Op, Target, errno_of};

/// Does what a descriptor asks for and says what to commit. A range outside of `size_bytes`, or one that
/// `buffer` does not match, is EIO and never reaches the target.
pub fn execute<T: Target + ?Sized>(
    target: &T,
    descriptor: &Descriptor,
    size_bytes: u64,
    buffer: &mut [u8],
) -> Answer {
    execute_with_metadata(target, descriptor, size_bytes, buffer, &mut [])
}

/// The same, with the request's metadata; empty for a request without. Metadata that the target's
/// [`IntegrityTarget`](crate::target::IntegrityTarget) would not understand is EIO too; a target without that door
/// gets no request with metadata, for it would lose it: EOPNOTSUPP. Available since Linux 7.0.
pub fn execute_with_metadata<T: Target + ?Sized>(
    target: &T,
    descriptor: &Descriptor,
    size_bytes: u64,
    buffer: &mut [u8],
    metadata: &mut [u8],
) -> Answer {
    let len = descriptor.len_bytes();
    let Some(offset) = descriptor.offset_bytes() else { return (-libc::EIO).into() };
    if descriptor.op != Op::Flush && offset.checked_add(len).is_none_or(|end| end > size_bytes) {
        return (-libc::EIO).into();
    }
    if buffer.len() as u64 != descriptor.data_len_bytes() {
        return (-libc::EIO).into();
    }
    let done: io::Result<()> = match descriptor.op {
        Op::Read | Op::Write if descriptor.has_metadata => {
            metadata::execute(target, descriptor, offset, buffer, metadata)
        }
        Op::Read => target.read_hinted(offset, buffer, descriptor.hints),
        Op::Write => target.write_hinted(offset, buffer, descriptor.fua, descriptor.hints),
        Op::Flush => target.flush(),
        Op::Discard => target.discard(offset, len),
        Op::WriteZeroes => target.write_zeroes(offset, len, !descriptor.no_unmap),
        Op::WriteSame => return (-libc::EOPNOTSUPP).into(),
        Op::ZoneAppend if descriptor.has_metadata => return (-libc::EOPNOTSUPP).into(),
        _ => match target.zoned() {
            Some(zoned) => return zones::execute(zoned, descriptor, size_bytes, buffer),
            None => return (-libc::EOPNOTSUPP).into(),
        },
    };
    match done {
        Ok(()) if descriptor.op == Op::Flush => 0.into(),
        Ok(()) => i32::try_from(len).unwrap_or(i32::MAX).into(),
        Err(error) => (-errno_of(&error)).into(),
    }
}
