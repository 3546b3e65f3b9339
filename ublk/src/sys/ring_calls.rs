//! io_uring_enter(2) and io_uring_register(2) as a worker needs them: through the ring's registered
//! number where it has one, which the io-uring crate offers only in part.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::IoUring;

const IORING_ENTER_GETEVENTS: libc::c_uint = 1;
const IORING_ENTER_REGISTERED_RING: libc::c_uint = 16;
const IORING_REGISTER_RING_FDS: libc::c_uint = 20;
const IORING_UNREGISTER_RING_FDS: libc::c_uint = 21;

/// `struct io_uring_rsrc_update`, which the io-uring crate keeps to itself.
#[repr(C)]
struct RingFdUpdate {
    offset: u32,
    resv: u32,
    data: u64,
}

/// io_uring_enter(2). Always with GETEVENTS: with DEFER_TASKRUN nothing completes otherwise.
///
/// # Safety
/// The entries that are submitted keep their promises about memory.
pub(super) unsafe fn enter(
    ring: &IoUring,
    registered: Option<u32>,
    to_submit: libc::c_uint,
    want: u32,
) -> io::Result<usize> {
    let (fd, flag) = match registered {
        Some(index) => (index as libc::c_int, IORING_ENTER_REGISTERED_RING),
        None => (ring.as_raw_fd(), 0),
    };
    let no_mask = std::ptr::null::<libc::sigset_t>();
    // Variadic: each argument has to fill its register.
    let (fd, to_submit, want) =
        (libc::c_long::from(fd), libc::c_long::from(to_submit), libc::c_long::from(want));
    let flags = libc::c_long::from(IORING_ENTER_GETEVENTS | flag);
    // SAFETY: the ring is alive; for its entries the caller vouches. The kernel reads no argument beside these numbers.
    let submitted = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, fd, to_submit, want, flags, no_mask, 0_usize)
    };
    usize::try_from(submitted).map_err(|_| io::Error::last_os_error())
}

fn register(ring: &IoUring, operation: libc::c_uint, update: &mut RingFdUpdate) -> io::Result<()> {
    // SAFETY: `update` is what both operations take, one of it, and they keep no pointer to it.
    let done = unsafe {
        let update: *mut RingFdUpdate = update;
        let (fd, operation) = (libc::c_long::from(ring.as_raw_fd()), operation as libc::c_long);
        let one: libc::c_long = 1;
        libc::syscall(libc::SYS_io_uring_register, fd, operation, update, one)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The ring's index among the thread's registered rings; none where there is no room or no support, for
/// then the plain descriptor serves as well.
pub(super) fn register_ring_fd(ring: &IoUring) -> Option<u32> {
    let data = u64::try_from(ring.as_raw_fd()).ok()?;
    let mut update = RingFdUpdate { offset: u32::MAX, resv: 0, data };
    register(ring, IORING_REGISTER_RING_FDS, &mut update).ok()?;
    Some(update.offset)
}

/// Takes it out again: a registered ring lives until its thread ends, and with it the device's file.
pub(super) fn unregister_ring_fd(ring: &IoUring, offset: u32) {
    let mut update = RingFdUpdate { offset, resv: 0, data: 0 };
    let _ = register(ring, IORING_UNREGISTER_RING_FDS, &mut update);
}
