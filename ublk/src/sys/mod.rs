//! The only place with `unsafe`: mappings, rings and the bytes that cross to the kernel.
//!
//! The rule of the house: what a safe function of this crate hands to the kernel as a place to write is memory
//! that Rust never takes back while the kernel may still write to it, and that no reference points into.
//! A wrong *command* is allowed, and the conformance suite sends many; a wrong *address* is not expressible.

pub mod addr;
pub mod arena;
mod batch;
pub(crate) mod buffers;
pub mod char_mapping;
pub(crate) mod common;
pub(crate) mod ctrl_ring;
pub mod desc;
pub mod elements;
pub mod forked;
pub(crate) mod gate;
pub mod harmless;
pub(crate) mod lane;
pub(crate) mod memory;
pub mod metadata_attr;
pub(crate) mod provided;
pub(crate) mod raw_ring;
mod ring_calls;
mod sender;
pub mod setup;
pub mod shared;
mod shared_words;
pub(crate) mod sqe;
mod sqe64;
mod user_data;
pub mod wild_ring;
pub(crate) mod worker_ring;

use std::io;

/// Bytes of a page on this machine.
#[must_use]
pub fn page_size_bytes() -> usize {
    // SAFETY: sysconf reads no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // POSIX makes this one always known; the fallback only keeps the function total.
    usize::try_from(size).unwrap_or(4096)
}

/// Runs a system call again as long as a signal interrupts it.
pub(crate) fn retry_eintr<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
