//! What ADD_DEV does to a flag word, step by step in the driver's own order.
//!
//! Not used by any device: it is the oracle of the planner's tests, and a scenario compares it with real drivers over
//! random words. It is written from the driver's description and not from [`RULES`](super::RULES), so that one
//! mistake does not hide in both.

use super::is_io_desc_size;
use crate::uapi::Features;

/// The driver and the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// What GET_FEATURES answers.
    pub features: Features,
    /// Whether CONFIG_BLK_DEV_ZONED is set.
    pub zoned: bool,
    /// Whether the caller has CAP_SYS_ADMIN.
    pub privileged: bool,
}

/// The fields of ADD_DEV's argument that flags depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The flag word.
    pub flags: Features,
    /// Tags per queue, in range.
    pub queue_depth: u16,
    /// Bytes per descriptor.
    pub io_desc_size_bytes: u16,
}

/// The device's flag word.
///
/// # Errors
/// The positive errno ADD_DEV answers.
pub fn add_dev(driver: Driver, request: Request) -> Result<Features, i32> {
    let Driver { features: known, zoned, privileged } = driver;
    let mut flags = request.flags;
    // A check is there from the release on that brought its flag.
    let has = |flag| known.contains(flag);
    let since_7_0 = has(Features::BATCH_IO);
    let asks = |flags: Features, flag| flags.contains(flag);

    if privileged {
        flags = flags - Features::UNPRIVILEGED_DEV;
    } else if !asks(flags, Features::UNPRIVILEGED_DEV) {
        return Err(libc::EPERM);
    }
    if has(Features::USER_RECOVERY_FAIL_IO) {
        let all = Features::USER_RECOVERY
            | Features::USER_RECOVERY_REISSUE
            | Features::USER_RECOVERY_FAIL_IO;
        let legal = [
            Features::empty(),
            Features::USER_RECOVERY,
            Features::USER_RECOVERY | Features::USER_RECOVERY_REISSUE,
            Features::USER_RECOVERY | Features::USER_RECOVERY_FAIL_IO,
        ];
        if !legal.contains(&(flags & all)) {
            return Err(libc::EINVAL);
        }
    }
    let recovers = asks(flags, Features::USER_RECOVERY);
    if has(Features::QUIESCE) && asks(flags, Features::QUIESCE) && !recovers {
        return Err(libc::EINVAL);
    }
    if asks(flags, Features::UNPRIVILEGED_DEV) {
        flags = flags - (Features::USER_RECOVERY | Features::USER_RECOVERY_REISSUE);
        let refused = Features::USER_COPY | Features::SUPPORT_ZERO_COPY | Features::AUTO_BUF_REG;
        if flags.intersects(refused & known) {
            return Err(libc::EINVAL);
        }
    }
    // Before unknown flags are dropped, so also where the configuration has no integrity.
    let integrity = asks(flags, Features::INTEGRITY);
    if since_7_0 && integrity && !asks(flags, Features::USER_COPY) {
        return Err(libc::EINVAL);
    }
    if has(Features::IO_DESC_SIZE)
        && asks(flags, Features::IO_DESC_SIZE)
        && !is_io_desc_size(request.io_desc_size_bytes)
    {
        return Err(libc::EINVAL);
    }

    flags = flags & known;
    for flag in [
        Features::URING_CMD_COMP_IN_TASK,
        Features::CMD_IOCTL_ENCODE,
        Features::PER_IO_DAEMON,
        Features::BUF_REG_OFF_DAEMON,
        Features::SAFE_STOP_DEV,
    ] {
        flags |= flag & known;
    }
    if asks(flags, Features::BATCH_IO) {
        flags = flags - Features::PER_IO_DAEMON;
    }
    let no_get_data = Features::USER_COPY
        | Features::SUPPORT_ZERO_COPY
        | Features::AUTO_BUF_REG
        | Features::BATCH_IO;
    if flags.intersects(no_get_data) {
        flags = flags - Features::NEED_GET_DATA;
    }
    let moves = Features::USER_COPY | Features::SUPPORT_ZERO_COPY;
    if asks(flags, Features::ZONED) && !(zoned && flags.intersects(moves)) {
        return Err(libc::EINVAL);
    }
    if asks(flags, Features::BATCH_IO) && request.queue_depth < 2 {
        return Err(libc::EINVAL);
    }
    Ok(flags)
}
