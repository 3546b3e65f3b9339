//! A device's life in types: created, configured, starting, live, stopped.
//!
//! ```text
//!   Device::add -> Created -set_params-> Configured -begin_start-> Starting -wait-> Live
//!                                             |                                       |
//!                                        open_queues                                stop
//!                                             |                                       v
//!                                       QueueTicket per queue            Stopped -delete-> gone
//! ```
//!
//! START_DEV completes when every tag is fetched, and is only submitted by `begin_start`: tickets may be
//! opened and their tags fetched before it, after it, or on other threads meanwhile. All three orders
//! are legal, and all three can be written down.
//!
//! A device with a [`Recovery`] outlives its server, and another one may take it over: `handover.rs` has that part.
//!
//! Whatever is dropped on the way is cleaned up within a bound: stopped, closed and deleted. Only
//! [`Device::detach`] leaves a device behind, and a device that changes hands stays.

mod char_device;
mod core;
mod error;
mod handover;
mod left;
mod lifecycle;
mod recovery;

pub use char_device::CharDevice;
pub use error::{DeviceError, Step};
pub use handover::{Quiesced, Recoverable, quiesce, quiesce_and_wait};
pub use left::{Left, find_left};
pub use lifecycle::{
    Configured, Created, Device, DeviceSpec, Live, StartProgress, Starting, Stopped,
};
pub use recovery::Recovery;

pub use crate::sys::shared::{
    SHARED_MEMORY_LEN_BYTES_MAX, SharedMemory, SharedMemoryError, SharedSpan,
};
