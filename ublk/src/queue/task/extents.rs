//! Moving a request to or from the places its target named: all of them at once, each to its last byte.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::io::{OPERATIONS_MAX, Running};
use super::request::AsyncRequest;
use crate::queue::Answer;
use crate::target::{Extent, Target, errno_of};

/// How often one extent may be interrupted or told to try again.
const RETRIES_MAX: u32 = 100;

/// Serves a read or a write of a target that says where its bytes are.
pub(in crate::queue) async fn serve_by_extents<T: Target + ?Sized>(
    target: &T,
    request: &AsyncRequest,
) -> Answer {
    let descriptor = request.descriptor();
    let (Some(offset_bytes), Ok(len_bytes)) =
        (descriptor.offset_bytes(), u32::try_from(descriptor.len_bytes()))
    else {
        return Answer::error(libc::EIO);
    };
    let in_bounds = offset_bytes
        .checked_add(u64::from(len_bytes))
        .is_some_and(|end| end <= target.size_bytes());
    if !in_bounds {
        return Answer::error(libc::EIO);
    }
    let mut extents = request.io.take_extents();
    let located = target.extents(descriptor.op, offset_bytes, len_bytes, &mut extents);
    let moved = match located {
        Ok(()) => move_extents(request, extents.as_slice()).await,
        Err(error) => Err(error),
    };
    request.io.keep_extents(extents);
    match moved {
        Ok(()) => Answer::from(i32::try_from(len_bytes).unwrap_or(i32::MAX)),
        Err(error) => Answer::error(errno_of(&error)),
    }
}

/// Moves all of a request, several extents at a time.
pub(super) async fn move_extents(request: &AsyncRequest, extents: &[Extent]) -> io::Result<()> {
    let total: u64 = extents.iter().map(|extent| u64::from(extent.len_bytes)).sum();
    if total != request.descriptor().data_len_bytes() {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    if extents.len() > 1 {
        request.register().await?;
    }
    let mut start_bytes = 0;
    for group in extents.chunks(OPERATIONS_MAX) {
        let mut parts: [Option<Part>; OPERATIONS_MAX] = Default::default();
        for (part, extent) in parts.iter_mut().zip(group) {
            *part = Some(Part::begin(request, *extent, start_bytes)?);
            start_bytes += extent.len_bytes;
        }
        poll_fn(|context| poll_parts(request, &mut parts, context)).await?;
    }
    Ok(())
}

/// An extent on its way to its last byte: a transfer may be cut short anywhere.
struct Part {
    running: Running,
    /// What is left of it.
    rest: Extent,
    start_bytes: u32,
    retries: u32,
}

impl Part {
    fn begin(request: &AsyncRequest, rest: Extent, start_bytes: u32) -> io::Result<Self> {
        let running = Self::transfer(request, rest, start_bytes)?;
        Ok(Self { running, rest, start_bytes, retries: 0 })
    }

    fn transfer(request: &AsyncRequest, rest: Extent, start_bytes: u32) -> io::Result<Running> {
        let descriptor = request.descriptor();
        let write = descriptor.brings_data();
        request.begin_transfer(write, rest, start_bytes, write && descriptor.fua)
    }

    /// Takes in a result. Whether that was the last.
    fn advance(&mut self, request: &AsyncRequest, moved: io::Result<i32>) -> io::Result<bool> {
        match moved {
            // The file ends where the target said that there are bytes.
            Ok(0) => return Err(io::Error::from_raw_os_error(libc::EIO)),
            Ok(moved) => {
                let moved = u32::try_from(moved).unwrap_or(0).min(self.rest.len_bytes);
                self.rest.offset_bytes += u64::from(moved);
                self.rest.len_bytes -= moved;
                self.start_bytes += moved;
                if self.rest.len_bytes == 0 {
                    return Ok(true);
                }
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN) if self.retries < RETRIES_MAX => self.retries += 1,
                _ => return Err(error),
            },
        }
        self.running = Self::transfer(request, self.rest, self.start_bytes)?;
        Ok(false)
    }
}

fn poll_parts(
    request: &AsyncRequest,
    parts: &mut [Option<Part>],
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let mut pending = false;
    for slot in parts {
        while let Some(part) = slot {
            match Pin::new(&mut part.running).poll(context) {
                Poll::Pending => {
                    pending = true;
                    break;
                }
                Poll::Ready(moved) => match part.advance(request, moved) {
                    Ok(true) => *slot = None,
                    Ok(false) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
        }
    }
    if pending { Poll::Pending } else { Poll::Ready(Ok(())) }
}
