//! The other door for target authors: one method that may wait without holding up its thread, for
//! storage behind a network, another process, or files that the ring itself can read and write.

use std::fs::File;
use std::future::Future;
use std::io;
use std::sync::Arc;

use super::{Capabilities, IntegrityOptions};
use crate::queue::AsyncRequest;

/// The bytes behind a block device, served by futures.
///
/// Each request is a task on the thread of its queue, so its future need not be `Send`; any number of
/// them is under way at once. The ring carries out what the request's own methods ask for; anything
/// else may be awaited too, for a task can be woken from any thread.
///
/// ```
/// use std::{fs::File, io, sync::Arc};
/// use ublk::{queue::AsyncRequest, target::{AsyncTarget, Op}};
///
/// struct Mirror([Arc<File>; 2], u64);
///
/// impl AsyncTarget for Mirror {
///     fn size_bytes(&self) -> u64 {
///         self.1
///     }
///     fn files(&self) -> Vec<Arc<File>> {
///         self.0.to_vec()
///     }
///     async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
///         let (at, len) = (request.offset_bytes(), request.len_bytes() as u32);
///         let moved = match request.op() {
///             Op::Read => request.read_file(0, at, 0, len).await?,
///             Op::Write => {
///                 let first = request.write_file(0, at, 0, len, false).await?;
///                 first.min(request.write_file(1, at, 0, len, false).await?)
///             }
///             _ => return Err(io::ErrorKind::Unsupported.into()),
///         };
///         if moved == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
///     }
/// }
/// ```
pub trait AsyncTarget: Send + Sync {
    /// Size of the device in bytes, as [`Target::size_bytes`](super::Target::size_bytes).
    fn size_bytes(&self) -> u64;

    /// What it can do beyond reading and writing.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// The files that the request's methods name by their index. Asked once by each thread that serves.
    fn files(&self) -> Vec<Arc<File>> {
        Vec::new()
    }

    /// What its metadata is, where it keeps some: requests that have metadata then show it by
    /// [`with_metadata`](AsyncRequest::with_metadata). Available since Linux 7.0.
    fn integrity(&self) -> Option<IntegrityOptions> {
        None
    }

    /// Does all of what the request asks for, or fails. Its range is inside of the device.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn handle(&self, request: &AsyncRequest) -> impl Future<Output = io::Result<()>>;
}
