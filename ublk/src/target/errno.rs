//! Which errno an application sees when a target fails.

use std::io;

/// The errno of an error, positive.
///
/// An error that came from the system keeps its errno; a few kinds that Rust code makes itself have an
/// obvious one; all else is EIO. The kernel passes only some through to the application and turns the
/// others into EIO again.
pub fn errno_of(error: &io::Error) -> i32 {
    if let Some(errno) = error.raw_os_error()
        && errno > 0
    {
        return errno;
    }
    match error.kind() {
        io::ErrorKind::Unsupported => libc::EOPNOTSUPP,
        io::ErrorKind::TimedOut => libc::ETIMEDOUT,
        io::ErrorKind::OutOfMemory => libc::ENOMEM,
        io::ErrorKind::StorageFull => libc::ENOSPC,
        io::ErrorKind::InvalidInput => libc::EINVAL,
        _ => libc::EIO,
    }
}

/// The error of an operation a target has not got.
pub(super) fn unsupported() -> io::Error {
    io::Error::from_raw_os_error(libc::EOPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_keep_their_errno_and_others_become_eio() {
        assert_eq!(errno_of(&io::Error::from_raw_os_error(libc::ENOSPC)), libc::ENOSPC);
        assert_eq!(errno_of(&unsupported()), libc::EOPNOTSUPP);
        assert_eq!(errno_of(&io::Error::other("checksum")), libc::EIO);
        assert_eq!(errno_of(&io::Error::from(io::ErrorKind::UnexpectedEof)), libc::EIO);
    }

    #[test]
    fn an_errno_is_never_zero_or_negative() {
        // Either would read as success once it is negated.
        assert_eq!(errno_of(&io::Error::from_raw_os_error(0)), libc::EIO);
        assert_eq!(errno_of(&io::Error::from_raw_os_error(-5)), libc::EIO);
    }
}
