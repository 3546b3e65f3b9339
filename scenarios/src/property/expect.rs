//! What a client sees of the result that a server commits: read from the driver, and from what the block layer makes of it.
//!
//! A result below 0 fails the request with a status, and only some errnos have one of their own. A result that counts bytes
//! ends a request that has all its bytes by then, and sends what is left of any other to the server again; which operations
//! in which mode are counted is the kernel's age.

use super::client::Action;
use super::mode::Mode;
use crate::kernel::KernelRelease;
use nix::libc;

/// A request as it is delivered again: its first sector and its sectors.
pub(super) type Again = (u64, u32);

/// What is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The errno, if it fails.
    pub(super) error: Option<i32>,
    /// What is left of it, each time it is sent again.
    pub(super) again: Vec<Again>,
}

/// Errnos that have a status of their own in the block layer, and so get through; everything else is EIO.
const WITH_A_STATUS: &[i32] = &[
    libc::EOPNOTSUPP,
    libc::ETIMEDOUT,
    libc::ENOSPC,
    libc::ENOLINK,
    libc::EREMOTEIO,
    libc::EBADE,
    libc::ENODATA,
    libc::EILSEQ,
    libc::ENOMEM,
    libc::EBUSY,
    libc::EAGAIN,
    libc::ENODEV,
    libc::EREMCHG,
    libc::ETOOMANYREFS,
    libc::EOVERFLOW,
    libc::ETIME,
    libc::EINVAL,
];

/// The errno that a failed request ends with.
pub(super) fn passed_on(result: i32) -> i32 {
    let errno = result.checked_neg().unwrap_or(i32::MAX);
    if WITH_A_STATUS.contains(&errno) { errno } else { libc::EIO }
}

/// Whether the kernel takes the result of this for a number of bytes.
pub(super) fn counts_bytes(kernel: KernelRelease, mode: Mode, action: Action) -> bool {
    match action {
        Action::Read if mode.driver_copies() => true,
        Action::Read | Action::Write | Action::FuaWrite => {
            !kernel.at_least(COUNTS_LESS.0, COUNTS_LESS.1)
        }
        _ => false,
    }
}

/// From here on a result is a number of bytes only where the driver has to copy that many.
const COUNTS_LESS: (u32, u32) = (7, 3);

/// What the client of a request of `sectors` at `start` sees, when the server commits `result` once and the truth from
/// then on; of less than a sector it says EIO, or a WRITE of no sectors would come again for ever.
pub(super) fn expected(
    kernel: KernelRelease,
    mode: Mode,
    action: Action,
    (start, sectors): Again,
    result: i32,
) -> Expected {
    let mut again = Vec::new();
    let (mut start, mut left) = (start, i64::from(sectors) * 512);
    let mut result = result;
    loop {
        let nothing_read = result == 0 && action == Action::Read;
        let result_is = if nothing_read { -libc::EIO } else { result };
        if result_is < 0 {
            let error = seen_by_caller(action, passed_on(result_is));
            return Expected { error, again };
        }
        if !counts_bytes(kernel, mode, action) {
            return Expected { error: None, again };
        }
        let moved = i64::from(result_is).min(left);
        // The sector of what is left counts whole sectors, its bytes count bytes.
        start += u64::try_from(moved / 512).unwrap_or(0);
        left -= moved;
        if left == 0 {
            return Expected { error: None, again };
        }
        let rest = u32::try_from(left / 512).unwrap_or(0);
        again.push((start, rest));
        result = match rest {
            0 => -libc::EIO,
            _ => i32::try_from(u64::from(rest) * 512).unwrap_or(i32::MAX),
        };
    }
}

/// What the system call makes of it.
fn seen_by_caller(action: Action, errno: i32) -> Option<i32> {
    match (action, errno) {
        // No cache to flush is no failure, and what cannot be discarded is kept.
        (Action::Flush | Action::Discard, libc::EOPNOTSUPP) => None,
        // Then zeroes are written.
        (Action::ZeroKeep, libc::EOPNOTSUPP) => None,
        _ => Some(errno),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NEW: &str = "7.3.4";
    const OLD: &str = "6.12.107";

    #[rstest]
    #[case::whole(NEW, Action::Read, 8192, None, &[])]
    #[case::too_much(NEW, Action::Read, i32::MAX, None, &[])]
    #[case::nothing(NEW, Action::Read, 0, Some(libc::EIO), &[])]
    #[case::half(NEW, Action::Read, 4096, None, &[(108, 8)])]
    #[case::within_a_sector(NEW, Action::Read, 100, Some(libc::EIO), &[(100, 15), (115, 0)])]
    #[case::half_written(NEW, Action::Write, 4096, None, &[])]
    #[case::half_written_of_old(OLD, Action::Write, 4096, None, &[(108, 8)])]
    #[case::within_a_sector_of_old(
        OLD,
        Action::Write,
        1,
        Some(libc::EIO),
        &[(100, 15), (115, 0)]
    )]
    #[case::nothing_written_of_old(OLD, Action::Write, 0, None, &[(100, 16)])]
    #[case::of_no_bytes(OLD, Action::Flush, 7, None, &[])]
    #[case::with_a_status(NEW, Action::Write, -libc::ENOSPC, Some(libc::ENOSPC), &[])]
    #[case::without(NEW, Action::Write, -libc::EPERM, Some(libc::EIO), &[])]
    #[case::least(NEW, Action::Read, i32::MIN, Some(libc::EIO), &[])]
    #[case::kept(NEW, Action::Flush, -libc::EOPNOTSUPP, None, &[])]
    fn results(
        #[case] kernel: &str,
        #[case] action: Action,
        #[case] result: i32,
        #[case] error: Option<i32>,
        #[case] again: &[Again],
    ) {
        let kernel = KernelRelease::parse(kernel).unwrap();
        let seen = expected(kernel, Mode::COPY, action, (100, 16), result);
        assert_eq!(seen, Expected { error, again: again.to_vec() });
    }

    #[test]
    fn a_short_read_is_whole_where_the_driver_copies_nothing() {
        let kernel = KernelRelease::parse(NEW).unwrap();
        let seen = expected(kernel, Mode::USER_COPY, Action::Read, (100, 16), 512);
        assert_eq!(seen, Expected { error: None, again: Vec::new() });
    }
}
