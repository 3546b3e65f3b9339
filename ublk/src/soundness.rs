//! What must not compile: programs that would lose a tag, keep a buffer that the kernel writes, or carry a
//! queue to another thread. Each is one wrong line away from the program that comes first and compiles;
//! nightly also checks that it fails for the reason given.
//!
//! Doctests and not `trybuild`: no compiler's words are kept here to be updated with each release, and
//! Miri's toolchain, which is nightly anyway, runs them. Which types may travel is in
//! `tests/threads.rs`.
//!
//! # Right
//!
//! ```no_run
//! use ublk::queue::{AsyncRequest, QueueError, QueueTicket};
//!
//! fn serve(ticket: QueueTicket) -> Result<(), QueueError> {
//!     // The ticket may travel, and the worker is made where it will stay.
//!     std::thread::spawn(move || one(ticket)).join().unwrap()
//! }
//!
//! fn one(ticket: QueueTicket) -> Result<(), QueueError> {
//!     let mut worker = ticket.open()?;
//!     worker.fetch_all()?;
//!     if let Some(mut request) = worker.next_request()? {
//!         let bytes = request.buffer();
//!         bytes.fill(1);
//!         request.complete(512)?;
//!     }
//!     worker.next_request()?;
//!     Ok(())
//! }
//!
//! fn look(request: &AsyncRequest) -> std::io::Result<u8> {
//!     request.with_bytes(|bytes| bytes[0])
//! }
//! ```
//!
//! # A request's bytes after its end
//!
//! ```compile_fail,E0505
//! # use ublk::queue::{QueueError, QueueTicket};
//! fn one(ticket: QueueTicket) -> Result<(), QueueError> {
//!     let mut worker = ticket.open()?;
//!     worker.fetch_all()?;
//!     if let Some(mut request) = worker.next_request()? {
//!         let bytes = request.buffer();
//!         request.complete(512)?;
//!         bytes.fill(1);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # A request that outlives its worker
//!
//! ```compile_fail,E0515
//! # use ublk::queue::{QueueError, QueueTicket, Request};
//! fn one(ticket: QueueTicket) -> Result<Option<Request<'static>>, QueueError> {
//!     let mut worker = ticket.open()?;
//!     worker.fetch_all()?;
//!     worker.next_request()
//! }
//! ```
//!
//! # The next request before the last one is answered
//!
//! ```compile_fail,E0499
//! # use ublk::queue::{QueueError, Worker};
//! fn two(worker: &mut Worker) -> Result<(), QueueError> {
//!     let first = worker.next_request()?;
//!     let second = worker.next_request()?;
//!     drop((first, second));
//!     Ok(())
//! }
//! ```
//!
//! # Two answers to one request
//!
//! ```compile_fail,E0382
//! # use ublk::queue::{QueueError, Request};
//! fn twice(request: Request<'_>) -> Result<(), QueueError> {
//!     request.complete(512)?;
//!     request.complete(512)
//! }
//! ```
//!
//! # Two workers for one ticket
//!
//! ```compile_fail,E0599
//! # use ublk::queue::{QueueError, QueueTicket};
//! fn both(ticket: QueueTicket) -> Result<(), QueueError> {
//!     let (first, second) = (ticket.clone().open()?, ticket.open()?);
//!     drop((first, second));
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail,E0382
//! # use ublk::queue::{QueueError, QueueTicket};
//! fn both(ticket: QueueTicket) -> Result<(), QueueError> {
//!     let shares = ticket.split(2);
//!     let whole = ticket.open()?;
//!     drop((shares, whole));
//!     Ok(())
//! }
//! ```
//!
//! # A worker on another thread than its tags
//!
//! ```compile_fail,E0277
//! # use ublk::queue::Worker;
//! fn travel(mut worker: Worker) {
//!     std::thread::spawn(move || worker.fetch_all());
//! }
//! ```
//!
//! # A task's bytes, kept or shared
//!
//! ```compile_fail,E0521
//! # use ublk::queue::AsyncRequest;
//! fn keep(request: &AsyncRequest) -> Option<&mut [u8]> {
//!     let mut kept = None;
//!     request.with_bytes(|bytes| kept = Some(bytes)).ok()?;
//!     kept
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use ublk::queue::AsyncRequest;
//! fn share(request: &AsyncRequest) {
//!     std::thread::scope(|scope| {
//!         scope.spawn(|| request.with_bytes(|bytes| bytes.fill(1)));
//!     });
//! }
//! ```
//!
//! # A target that only one thread may touch
//!
//! ```compile_fail,E0277
//! # use std::{cell::RefCell, io};
//! # use ublk::target::Target;
//! struct Ramdisk(RefCell<Vec<u8>>);
//!
//! impl Target for Ramdisk {
//!     fn size_bytes(&self) -> u64 {
//!         0
//!     }
//!     fn read(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
//!         Ok(())
//!     }
//!     fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
//!         Ok(())
//!     }
//! }
//! ```
