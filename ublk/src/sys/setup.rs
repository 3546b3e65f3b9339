//! The set-up flags of a ring by number, for rings whose flags are to be any that the kernel knows: the io-uring crate has a
//! builder's method for those that make sense to a server, and no names for the rest.
//!
//! Numbers: `include/uapi/linux/io_uring.h`.

/// `IORING_SETUP_IOPOLL`. Available since Linux 5.1.
pub const IOPOLL: u32 = 1 << 0;
/// `IORING_SETUP_SQPOLL`. Available since Linux 5.1.
pub const SQPOLL: u32 = 1 << 1;
/// `IORING_SETUP_ATTACH_WQ`. Available since Linux 5.6.
pub const ATTACH_WQ: u32 = 1 << 5;
/// `IORING_SETUP_R_DISABLED`. Available since Linux 5.10.
pub const R_DISABLED: u32 = 1 << 6;
/// `IORING_SETUP_SUBMIT_ALL`. Available since Linux 5.18.
pub const SUBMIT_ALL: u32 = 1 << 7;
/// `IORING_SETUP_COOP_TASKRUN`. Available since Linux 5.19.
pub const COOP_TASKRUN: u32 = 1 << 8;
/// `IORING_SETUP_TASKRUN_FLAG`. Available since Linux 5.19.
pub const TASKRUN_FLAG: u32 = 1 << 9;
/// `IORING_SETUP_SQE128`. Available since Linux 5.19.
pub const SQE128: u32 = 1 << 10;
/// `IORING_SETUP_CQE32`. Available since Linux 5.19.
pub const CQE32: u32 = 1 << 11;
/// `IORING_SETUP_SINGLE_ISSUER`. Available since Linux 6.0.
pub const SINGLE_ISSUER: u32 = 1 << 12;
/// `IORING_SETUP_DEFER_TASKRUN`. Available since Linux 6.1.
pub const DEFER_TASKRUN: u32 = 1 << 13;
/// `IORING_SETUP_NO_MMAP`. Available since Linux 6.5.
pub const NO_MMAP: u32 = 1 << 14;
/// `IORING_SETUP_REGISTERED_FD_ONLY`. Available since Linux 6.5.
pub const REGISTERED_FD_ONLY: u32 = 1 << 15;
/// `IORING_SETUP_NO_SQARRAY`. Available since Linux 6.6.
pub const NO_SQARRAY: u32 = 1 << 16;
/// `IORING_SETUP_HYBRID_IOPOLL`. Available since Linux 6.13.
pub const HYBRID_IOPOLL: u32 = 1 << 17;
/// `IORING_SETUP_CQE_MIXED`. Available since Linux 6.18.
pub const CQE_MIXED: u32 = 1 << 18;
/// `IORING_SETUP_SQE_MIXED`. Available since Linux 6.19.
pub const SQE_MIXED: u32 = 1 << 19;
/// `IORING_SETUP_SQ_REWIND`. Available since Linux 7.0.
pub const SQ_REWIND: u32 = 1 << 20;
