//! The data plane: one queue of a device, on one thread.
//!
//! A [`QueueTicket`] travels to the thread that shall serve the queue; there it becomes a [`Queue`],
//! which never leaves it: the kernel binds each tag to the task that fetched it. A queue yields
//! [`Request`]s. Each must be completed, and is completed with EIO when it is dropped instead, so that
//! neither an early return nor a panic loses a tag.
//!
//! ```no_run
//! # fn serve(ticket: ublk::queue::QueueTicket) -> Result<(), ublk::queue::QueueError> {
//! use ublk::target::Op;
//!
//! let mut queue = ticket.open()?;
//! queue.fetch_all()?;
//! while let Some(mut request) = queue.next_request()? {
//!     if request.op() == Op::Read {
//!         request.buffer().fill(0);
//!     }
//!     let len_bytes = request.len_bytes();
//!     request.complete(len_bytes)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A queue cannot leave its thread:
//!
//! ```compile_fail
//! fn must_be_send<T: Send>() {}
//! must_be_send::<ublk::queue::Queue>();
//! ```
//!
//! The loop costs one `io_uring_enter` per batch of requests, and no allocation, lock or timer.

mod affinity;
mod counters;
mod descriptor;
mod engine;
mod error;
mod execute;
mod histogram;
mod kill;
mod latency;
mod port;
mod request;
mod serve;
mod ticket;

#[cfg(test)]
mod double;
#[cfg(test)]
mod tests;

pub use affinity::pin_to;
pub use counters::{CounterSnapshot, QueueCounters};
pub use descriptor::Descriptor;
pub use engine::Queue;
pub use error::QueueError;
pub use execute::execute;
pub use histogram::{Bucket, DurationsSnapshot, LatencyHistogram, LatencySnapshot, OpClass};
pub use kill::KillSwitch;
pub use port::{KernelPort, Port};
pub use request::Request;
pub use ticket::QueueTicket;

pub use crate::sys::queue_ring::Completion;
