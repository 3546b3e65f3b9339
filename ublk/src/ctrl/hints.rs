//! What to do when a command fails, by command and errno.
//!
//! The causes come from reading the driver (7.3, differences to 6.12 included); where several share one errno,
//! the text names them in order of likelihood. `ETIME` stands for a deadline of ours that passed.

use libc::{
    E2BIG, EACCES, EBUSY, EEXIST, EFAULT, EINTR, EINVAL, ENODEV, ENOENT, ENOMEM, ENOSPC,
    EOPNOTSUPP, EPERM, ETIME,
};

use crate::uapi::CtrlOp::{self, *};

/// Hints for one command; a command's own come before those for all.
const BY_COMMAND: &[(CtrlOp, i32, &str)] = &[
    (
        AddDev,
        EINVAL,
        "check queues and depth (1 to 4096; depth 2 or more with BATCH_IO), the recovery flags (REISSUE and FAIL_IO need USER_RECOVERY and exclude each other; QUIESCE needs it too), and ZONED or INTEGRITY, which need USER_COPY",
    ),
    (
        AddDev,
        EEXIST,
        "the id is taken, perhaps by a deleted device that is still open: use another",
    ),
    (AddDev, EPERM, "without CAP_SYS_ADMIN a device must ask for UNPRIVILEGED_DEV"),
    (AddDev, EACCES, "too many unprivileged devices: raise ublk_drv's parameter ublks_max"),
    (AddDev, ENOSPC, "every device id is taken: delete some devices"),
    (AddDev, ENOMEM, "the kernel is short of memory: use fewer queues or a smaller depth"),
    (
        AddDev,
        ETIME,
        "another ADD_DEV or DEL_DEV holds the driver's lock: look for a stuck deletion",
    ),
    (DelDev, EINTR, "the deletion was accepted and goes on without a waiter"),
    (
        DelDev,
        ETIME,
        "somebody still has /dev/ublkcN or /dev/ublkbN open, or I/O is in flight: close them, or kill the server",
    ),
    (DelDevAsync, EINVAL, "unprivileged devices cannot be deleted this way: use DEL_DEV"),
    (
        StartDev,
        EINVAL,
        "send SET_PARAMS with the basic group first, and the pid (not a thread's id) of the process that opened /dev/ublkcN",
    ),
    (StartDev, EEXIST, "the device runs already, or somebody still has its old /dev/ublkbN open"),
    (
        StartDev,
        EBUSY,
        "the device was stopped while its server held /dev/ublkcN: close that and open it anew",
    ),
    (StartDev, ENODEV, "there is no such device, or its zones could not be read from the server"),
    (
        StartDev,
        EINTR,
        "the thread that sent the command went away: keep it until START_DEV is done",
    ),
    (
        StartDev,
        ETIME,
        "it waits until every tag of every queue was fetched; on kernels before 7.0 also until the partition scan was served",
    ),
    (
        StopDev,
        ETIME,
        "it waits for I/O in flight: let the server finish its requests, or kill the server",
    ),
    (TryStopDev, EBUSY, "somebody has /dev/ublkbN open: unmount it, or use STOP_DEV"),
    (TryStopDev, ENODEV, "there is no such device, or it has no disk"),
    (
        SetParams,
        EINVAL,
        "a limit is out of range: logical block 512 to a page and not above the physical, max_sectors from a page to max_io_buf_bytes, one discard segment and a granularity with discard, zoned parameters exactly on zoned devices",
    ),
    (
        SetParams,
        EACCES,
        "parameters are fixed once the device was started: stop it, and close its /dev/ublkbN, first",
    ),
    (GetQueueAffinity, EINVAL, "the queue does not exist, or there are more than 8192 CPUs"),
    (StartUserRecovery, EINVAL, "the device was added without USER_RECOVERY"),
    (
        StartUserRecovery,
        EBUSY,
        "the old server still holds /dev/ublkcN, or the device is neither QUIESCED nor FAIL_IO: wait and try again",
    ),
    (
        EndUserRecovery,
        EINVAL,
        "send the pid (not a thread's id) of the process that opened /dev/ublkcN, for a device added with USER_RECOVERY",
    ),
    (EndUserRecovery, EBUSY, "the device is neither QUIESCED nor FAIL_IO: it needs no recovery"),
    (EndUserRecovery, ETIME, "it waits until every tag of every queue was fetched"),
    (UpdateSize, ENODEV, "there is no such device, or it has no disk: start it first"),
    (
        QuiesceDev,
        EOPNOTSUPP,
        "the device was added without QUIESCE, or the kernel is older than 6.16",
    ),
    (QuiesceDev, ENODEV, "there is no such device, or it has no disk: start it first"),
    (QuiesceDev, EBUSY, "requests stayed with the server for longer than the timeout"),
    (RegBuf, EOPNOTSUPP, "the device was added without SHMEM_ZC, or the kernel is older than 7.1"),
    (RegBuf, E2BIG, "shared memory is limited to 4 GiB per buffer"),
    (RegBuf, ETIME, "it waits for I/O in flight: let the server finish its requests"),
    (
        UnregBuf,
        EOPNOTSUPP,
        "the device was added without SHMEM_ZC, or the kernel is older than 7.1",
    ),
    (UnregBuf, ENOENT, "no buffer has that index"),
    (UnregBuf, ETIME, "it waits for I/O in flight: let the server finish its requests"),
    (GetFeatures, ENODEV, "the kernel is older than 6.5 and cannot tell its features"),
];

/// Hints for every command.
const BY_ERRNO: &[(i32, &str)] = &[
    (ENODEV, "there is no such device"),
    (EPERM, "the device belongs to root: use CAP_SYS_ADMIN"),
    (
        EACCES,
        "the device belongs to another user: its /dev/ublkcN must be readable and writable for you",
    ),
    (EOPNOTSUPP, "this kernel does not know the command: see GET_FEATURES"),
    (
        EINVAL,
        "the driver refused an argument; a device of an unprivileged owner also needs its path in the command",
    ),
    (EINTR, "the thread that sent the command was killed or went away"),
    (EFAULT, "this is a bug in the ublk crate: the command's buffer was not accessible"),
    (ENOENT, "the device's node is missing: its path could not be checked"),
    (ENOMEM, "the kernel is short of memory"),
    (ETIME, "the driver is busy with the device: look for a stuck START_DEV, STOP_DEV or DEL_DEV"),
];

/// The advice for a failure, if there is any.
pub(super) fn hint(command: CtrlOp, errno: i32) -> Option<&'static str> {
    let own = BY_COMMAND.iter().find(|(op, number, _)| (*op, *number) == (command, errno));
    let common = || BY_ERRNO.iter().find(|(number, _)| *number == errno);
    own.map(|(_, _, text)| *text).or_else(|| common().map(|(_, text)| *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_hides_another() {
        for (at, (op, errno, _)) in BY_COMMAND.iter().enumerate() {
            let first = BY_COMMAND.iter().position(|(o, e, _)| (o, e) == (op, errno));
            assert_eq!(first, Some(at), "{op} {errno} stands twice");
        }
    }

    #[test]
    fn a_commands_own_hint_comes_first() {
        assert!(hint(StartDev, EBUSY).is_some_and(|text| text.contains("/dev/ublkcN")));
        assert_eq!(hint(GetParams, ENODEV), Some("there is no such device"));
        assert_eq!(hint(GetParams, libc::EXDEV), None);
    }

    #[test]
    fn every_command_has_advice_for_a_deadline() {
        for &op in CtrlOp::ALL {
            assert!(hint(op, ETIME).is_some(), "{op}");
        }
    }
}
