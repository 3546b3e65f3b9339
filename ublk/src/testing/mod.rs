//! A disk without a kernel, to unit-test a target: no root, no driver, no device, and everything between
//! the target and the driver is the real thing.
//!
//! [`Disk`] is an in-memory double of the ublk driver. What is read from it and written to it becomes the
//! same descriptors and moves through the same buffers as on a machine that has the driver, and is served
//! by the same [`Worker`](crate::queue::Worker) on the calling thread: bounds are checked, panics become
//! EIO, bytes are moved in every [`DataMode`](crate::server::DataMode), tasks sleep and are woken. Before
//! the target there is the block layer, which splits what is too long and turns down what it would never
//! send ([`Refused`]); behind it are the target's own files.
//!
//! # Test your target
//!
//! ```
//! use std::{io, sync::RwLock};
//! use ublk::{target::Target, testing::Disk};
//!
//! struct Ramdisk(RwLock<Vec<u8>>);
//!
//! impl Target for Ramdisk {
//!     fn size_bytes(&self) -> u64 {
//!         self.0.read().unwrap().len() as u64
//!     }
//!     fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
//!         let at = offset_bytes as usize;
//!         buffer.copy_from_slice(&self.0.read().unwrap()[at..at + buffer.len()]);
//!         Ok(())
//!     }
//!     fn write(&self, offset_bytes: u64, data: &[u8], _fua: bool) -> io::Result<()> {
//!         let at = offset_bytes as usize;
//!         // A bug: a write of nothing but zeroes is one that we thought we could skip.
//!         if data.iter().any(|byte| *byte != 0) {
//!             self.0.write().unwrap()[at..at + data.len()].copy_from_slice(data);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = Disk::new(Ramdisk(RwLock::new(vec![0; 1 << 20])))?;
//! disk.write(4096, &[1; 4096])?;
//! disk.write(4096, &[0; 512])?;
//! let mut back = [0xff; 512];
//! disk.read(4096, &mut back)?;
//! assert_ne!(back, [0; 512], "found the bug");
//! # Ok(())
//! # }
//! ```
//!
//! Several requests at once, and the answers in the order in which they came:
//!
//! ```
//! use ublk::target::RamTarget;
//! use ublk::testing::{Disk, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = Disk::new(RamTarget::new(1 << 20)?)?;
//! let answers = disk.submit(&[
//!     Request::write(0, vec![7; 512]),
//!     Request::read(0, 512),
//!     Request::discard(4096, 8192),
//! ])?;
//! assert_eq!(answers.iter().map(|answer| answer.request).collect::<Vec<_>>(), [0, 1, 2]);
//! assert_eq!(*answers[1].result.as_ref().unwrap(), [7; 512]);
//! # Ok(())
//! # }
//! ```
//!
//! A target fails as it would on a real machine, and lives on:
//!
//! ```
//! # use std::io;
//! # use ublk::{target::Target, testing::Disk};
//! struct Panics;
//!
//! impl Target for Panics {
//!     fn size_bytes(&self) -> u64 {
//!         1 << 20
//!     }
//!     fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
//!         buffer.fill(if offset_bytes == 0 { panic!("a bug") } else { 1 });
//!         Ok(())
//!     }
//!     fn write(&self, _: u64, _: &[u8], _: bool) -> io::Result<()> {
//!         Err(io::ErrorKind::StorageFull.into())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = Disk::new(Panics)?;
//! let errno = |result: io::Result<()>| result.unwrap_err().raw_os_error();
//! assert_eq!(errno(disk.read(0, &mut [0; 512])), Some(libc::EIO));
//! assert_eq!(errno(disk.write(0, &[1; 512])), Some(libc::ENOSPC));
//! // Nothing of this target says that it can discard, so no kernel would ever ask it to.
//! assert!(disk.discard(0, 4096).unwrap_err().to_string().contains("Capabilities::discard"));
//! disk.read(512, &mut [0; 512])?;
//! assert_eq!(disk.counters().panics, 1);
//! # Ok(())
//! # }
//! ```
//!
//! What a double cannot show: how long anything takes, the order in which real files complete, and what a
//! particular kernel does wrong. Several queues are several threads that use one `Disk` at the same time.

mod disk;
#[cfg(test)]
mod hint_tests;
mod outcome;
mod refusal;
mod request;
mod serving;
#[cfg(test)]
mod tests;
mod zones;

pub use disk::Disk;
pub use refusal::Refused;
pub use request::{Answer, Request};
