//! The whole of a ublk server in one value: a target, a device, a thread per queue, and a window.
//!
//! ```no_run
//! use std::time::Duration;
//! use ublk::{server::Server, target::RamTarget};
//!
//! let server = Server::builder(RamTarget::new(64 << 20)?).queues(2).start()?;
//! println!("{}", server.block_device_path().display());
//! server.wait(None);
//! let report = server.stop(Duration::from_secs(10))?;
//! println!("{} reads", report.total().reads);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every way out is bounded. A start whose queue fails says why and leaves nothing behind; a stop that
//! the target holds up is carried through by force after its timeout.

mod affinity;
mod attempt;
mod builder;
mod detach;
mod door;
mod launch;
mod live;
mod mode;
mod prometheus;
mod requests;
mod resize;
mod shared;
mod socket;
mod start_error;
mod status;
mod takeover;
mod workers;

pub use affinity::Affinity;
pub use attempt::StartupOrder;
pub use builder::ServerBuilder;
pub use detach::{DetachError, DetachReport};
pub use live::{Server, StopError, StopReport};
pub use mode::DataMode;

pub use crate::sys::shared::{SharedMemory, SharedMemoryError};
pub use prometheus::prometheus;
pub use requests::{Request, ask, request_path};
pub use resize::ResizeError;
pub use shared::{QueueFailure, StopHandle, Wake};
pub use socket::{SOCKET_DIR, read_status, socket_path};
pub use start_error::StartError;
pub use status::{DeviceStatus, ParamsStatus, Status};
pub use takeover::{Takeover, TargetMismatch};
