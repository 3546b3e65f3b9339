//! What a request means to a target: one call, with the bounds checked before it and the result put into
//! the kernel's terms after it.

use std::io;

use super::Descriptor;
use crate::target::{Op, Target, errno_of};

/// Does what a descriptor asks for and says what to commit: bytes, or a negative errno. A range outside
/// of `size_bytes` and of what the target has grown to, or one that `buffer` does not match, is EIO and never reaches the target.
pub fn execute<T: Target + ?Sized>(
    target: &T,
    descriptor: &Descriptor,
    size_bytes: u64,
    buffer: &mut [u8],
) -> i32 {
    let len = descriptor.len_bytes();
    let Some(offset) = descriptor.offset_bytes() else { return -libc::EIO };
    // What is behind the end may have been added since; asked for only then, for it costs a call.
    let is_behind = |end| end > size_bytes && end > target.size_bytes();
    if descriptor.op != Op::Flush && offset.checked_add(len).is_none_or(is_behind) {
        return -libc::EIO;
    }
    if buffer.len() as u64 != descriptor.data_len_bytes() {
        return -libc::EIO;
    }
    let done: io::Result<()> = match descriptor.op {
        Op::Read => target.read(offset, buffer),
        Op::Write => target.write(offset, buffer, descriptor.fua),
        Op::Flush => target.flush(),
        Op::Discard => target.discard(offset, len),
        Op::WriteZeroes => target.write_zeroes(offset, len, !descriptor.no_unmap),
        _ => return -libc::EOPNOTSUPP,
    };
    match done {
        Ok(()) if descriptor.op == Op::Flush => 0,
        Ok(()) => i32::try_from(len).unwrap_or(i32::MAX),
        Err(error) => -errno_of(&error),
    }
}
