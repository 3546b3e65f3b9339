//! The data plane: what one thread serves.
//!
//! A [`QueueTicket`] travels to the thread that shall serve the queue; there it becomes a [`Worker`],
//! which never leaves it: the kernel binds each tag to the task that fetched it. Several tickets, of one
//! device or of many, make one worker ([`Worker::open`]); one ticket can be split into shares for
//! several ([`QueueTicket::split`]). A worker yields [`Request`]s. Each must be completed, and is completed with EIO when it is dropped instead, so that
//! neither an early return nor a panic loses a tag.
//!
//! ```no_run
//! # fn serve(ticket: ublk::queue::QueueTicket) -> Result<(), ublk::queue::QueueError> {
//! use ublk::target::Op;
//!
//! let mut worker = ticket.open()?;
//! worker.fetch_all()?;
//! while let Some(mut request) = worker.next_request()? {
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
//! A worker cannot leave its thread, nor a request's bytes their request; what must not compile is kept in
//! `soundness.rs`.
//!
//! The loop costs one `io_uring_enter` per batch of requests, and no allocation, lock or timer.

mod affinity;
mod answer;
mod counters;
mod descriptor;
pub(crate) mod double;
mod error;
mod execute;
mod histogram;
mod kill;
mod latency;
mod linger;
mod metadata;
mod port;
mod request;
mod serve;
mod task;
mod ticket;
mod worker;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod metadata_tests;
#[cfg(test)]
mod mode_tests;
#[cfg(test)]
mod tests;

pub use affinity::pin_to;
pub use answer::Answer;
pub use counters::{CounterSnapshot, QueueCounters};
pub use descriptor::Descriptor;
pub use error::QueueError;
pub use execute::{execute, execute_with_metadata};
pub use histogram::{Bucket, DurationsSnapshot, LatencyHistogram, LatencySnapshot, OpClass};
pub use kill::KillSwitch;
pub use metadata::MetadataShape;
pub use port::{KernelPort, Port};
pub use request::Request;
pub use task::AsyncRequest;
pub use ticket::QueueTicket;
pub(crate) use ticket::transfer;
pub use worker::Worker;

pub use crate::sys::lane::{TagSet, Transfer};
pub use crate::sys::worker_ring::Completion;
