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
//! Whatever is dropped on the way is cleaned up within a bound: stopped, closed and deleted. Only
//! [`Device::detach`] leaves a device behind.

mod char_device;
mod core;
mod error;
mod lifecycle;

pub use char_device::CharDevice;
pub use error::{DeviceError, Step};
pub use lifecycle::{
    Configured, Created, Device, DeviceSpec, Live, StartProgress, Starting, Stopped,
};
