//! What the driver and the block layer make of a committed result before the application sees it.

use std::io;

use super::{Answer, Request};
use crate::queue::double::Answered;
use crate::target::Op;
use crate::uapi::SECTOR_BYTES;

/// The errno that an application sees for one that was committed: the block layer has a status for some
/// of them, and for all others only "I/O error".
fn seen_errno(errno: i32) -> i32 {
    match errno {
        libc::EOPNOTSUPP
        | libc::ETIMEDOUT
        | libc::ENOSPC
        | libc::ENOLINK
        | libc::EREMOTEIO
        | libc::EBADE
        | libc::ENODATA
        | libc::EILSEQ
        | libc::ENOMEM
        | libc::EBUSY
        | libc::EAGAIN
        | libc::ENODEV
        | libc::ETOOMANYREFS
        | libc::EOVERFLOW
        | libc::ETIME
        | libc::EINVAL => errno,
        _ => libc::EIO,
    }
}

/// A read of which only a part was done, in a mode in which the driver copies: it sends the rest again.
pub(super) struct Rest {
    pub(super) done_bytes: usize,
}

/// The request's end, or what is left of it.
pub(super) fn of(request: &Request, answered: Answered, copied: bool) -> Result<Answer, Rest> {
    let Answered { number, result, append_sector, mut data, .. } = answered;
    let answer = |result| Answer { request: number, result, appended_at_bytes: None };
    let failed = |errno| Ok(answer(Err(io::Error::from_raw_os_error(seen_errno(errno)))));
    let Ok(done) = usize::try_from(result) else {
        return failed(result.saturating_neg());
    };
    match request.op {
        Op::Read if done == 0 => failed(libc::EIO),
        Op::Read if copied && done < data.len() => {
            // Less than a sector brings a request no further.
            let done_bytes = done - done % SECTOR_BYTES as usize;
            if done_bytes == 0 { failed(libc::EIO) } else { Err(Rest { done_bytes }) }
        }
        Op::Read | Op::ReportZones => Ok(answer(Ok(data))),
        op => {
            data.clear();
            let at = (op == Op::ZoneAppend).then(|| append_sector.saturating_mul(SECTOR_BYTES));
            Ok(Answer { appended_at_bytes: at, ..answer(Ok(data)) })
        }
    }
}
