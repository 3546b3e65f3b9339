//! From a request to a target and back, through either door: at once, or as a task while the ring moves
//! its bytes. What panics becomes an answer too.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::task::{Outcome, Tasks, serve_by_extents};
use super::worker::Event;
use super::{
    Answer, AsyncRequest, Descriptor, Port, QueueError, Request, Worker, execute_with_metadata,
};
use crate::target::{AsyncTarget, CommitDecision, Finished, Op, Target, errno_of};

impl<P: Port> Worker<P> {
    /// Serves until the kernel has ended every tag.
    ///
    /// # Errors
    /// [`QueueError::NoBytes`] for a target that no data mode of its device can serve; else as
    /// [`next_request`](Worker::next_request). A target's errors and panics are answers, not errors.
    pub fn serve<T: Target + ?Sized>(&mut self, target: &T) -> Result<(), QueueError> {
        let targets = vec![target; self.lanes.len()];
        self.serve_each(&targets)
    }

    /// Serves several devices: each ticket's queue with the target at its place.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    ///
    /// # Panics
    /// When there are fewer targets than tickets.
    pub fn serve_each<T: Target + ?Sized>(&mut self, targets: &[&T]) -> Result<(), QueueError> {
        assert!(targets.len() >= self.lanes.len(), "each ticket needs a target");
        let mut by_extents = vec![false; self.lanes.len()];
        for (lane, target) in targets.iter().enumerate().take(self.lanes.len()) {
            let capabilities = target.capabilities();
            self.set_capabilities(lane, &capabilities);
            by_extents[lane] = capabilities.extents && !capabilities.ignores_data;
            if !by_extents[lane] && !self.lanes[lane].has_bytes() {
                return Err(QueueError::NoBytes { queue: self.lanes[lane].queue });
            }
        }
        if !by_extents.contains(&true) {
            while let Some(request) = self.next_request()? {
                let target = targets[request.ticket()];
                serve_one(request, target)?;
            }
            return Ok(());
        }
        let as_task = |lane: usize, descriptor: &Descriptor| {
            // Metadata has no extents.
            by_extents[lane]
                && !descriptor.has_metadata
                && matches!(descriptor.op, Op::Read | Op::Write)
        };
        self.serve_tasks(
            |lane, request| extents_outcome(targets[lane], request),
            as_task,
            |request| {
                let target = targets[request.ticket()];
                serve_one(request, target)
            },
        )
    }

    /// Serves an async target until the kernel has ended every tag.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_async<T: AsyncTarget + ?Sized>(&mut self, target: &T) -> Result<(), QueueError> {
        let capabilities = target.capabilities();
        for lane in 0..self.lanes.len() {
            self.set_capabilities(lane, &capabilities);
        }
        self.serve_tasks(
            |_, request| async_outcome(target, request),
            |_, _| true,
            // Every request is a task.
            |request| request.complete(-libc::EIO),
        )
    }

    /// The loop with tasks: what `as_task` picks becomes one, the rest is served at once.
    fn serve_tasks<F: Future<Output = Outcome>>(
        &mut self,
        make: impl Fn(usize, AsyncRequest) -> F,
        as_task: impl Fn(usize, &Descriptor) -> bool,
        at_once: impl Fn(Request<'_, P>) -> Result<(), QueueError>,
    ) -> Result<(), QueueError> {
        let mut tasks = Tasks::new(self)?;
        while let Some(event) = self.next_event()? {
            let slot = match event {
                Event::Operation { slot, index, result } => {
                    tasks.operation_done(self, slot, index, result)?;
                    continue;
                }
                Event::Wake => {
                    tasks.woken(self)?;
                    continue;
                }
                Event::Request { slot } => slot,
            };
            let Some(descriptor) = self.begin(slot)? else { continue };
            let lane = self.lane_number(slot);
            let is_task = as_task(lane, &descriptor);
            let stays = is_task && self.lanes[lane].leaves_bytes(&descriptor);
            let brought = if stays {
                self.bring_metadata(slot, &descriptor)?
            } else {
                self.bring_data(slot, &descriptor)?
            };
            if !brought {
                continue;
            }
            if is_task {
                tasks.begin(self, slot, descriptor, |request| make(lane, request))?;
            } else {
                at_once(Request::new(self, slot, descriptor))?;
            }
        }
        Ok(())
    }
}

async fn extents_outcome<T: Target + ?Sized>(target: &T, request: AsyncRequest) -> Outcome {
    let answer = serve_by_extents(target, &request).await;
    let (queue, tag) = (request.queue_id(), request.tag());
    let finished = finished(queue, tag, &request.descriptor(), answer.result);
    Outcome { answer, decision: target.before_commit(&finished) }
}

fn finished(queue: u16, tag: u16, descriptor: &Descriptor, result: i32) -> Finished {
    Finished {
        queue,
        tag,
        op: descriptor.op,
        offset_bytes: descriptor.offset_bytes().unwrap_or(u64::MAX),
        len_bytes: descriptor.len_bytes(),
        hints: descriptor.hints,
        result,
    }
}

async fn async_outcome<T: AsyncTarget + ?Sized>(target: &T, request: AsyncRequest) -> Outcome {
    let descriptor = request.descriptor();
    let len = descriptor.len_bytes();
    let in_bounds = match descriptor.offset_bytes() {
        _ if descriptor.op == Op::Flush => true,
        None => false,
        Some(offset) => offset.checked_add(len).is_some_and(|end| end <= target.size_bytes()),
    };
    let loses_metadata = descriptor.has_metadata
        && target.integrity().is_none()
        && !target.capabilities().ignores_data;
    let done: io::Result<()> = match in_bounds {
        true if loses_metadata => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        true => target.handle(&request).await,
        false => Err(io::Error::from_raw_os_error(libc::EIO)),
    };
    Outcome::of(match done {
        Ok(()) if descriptor.op == Op::Flush => Answer::from(0),
        Ok(()) => Answer::from(i32::try_from(len).unwrap_or(i32::MAX)),
        Err(error) => Answer::error(errno_of(&error)),
    })
}

fn serve_one<P: Port, T: Target + ?Sized>(
    mut request: Request<'_, P>,
    target: &T,
) -> Result<(), QueueError> {
    let descriptor = request.descriptor();
    let (queue, tag) = (request.queue_id(), request.tag());
    let (buffer, metadata) = request.buffers();
    // A target that panicked may have broken its own invariants, as with any lock it held: that is its
    // business. Nothing of ours is half changed, for it has only the bytes.
    let decided = catch_unwind(AssertUnwindSafe(|| {
        let size_bytes = target.size_bytes();
        let answer = execute_with_metadata(target, &descriptor, size_bytes, buffer, metadata);
        (answer, target.before_commit(&finished(queue, tag, &descriptor, answer.result)))
    }));
    match decided {
        Ok((answer, CommitDecision::Commit(result))) => {
            request.complete_with(Answer { result, ..answer })
        }
        Ok((answer, CommitDecision::CommitAfterNext(result))) => {
            request.complete_after_next(Answer { result, ..answer })
        }
        Ok((_, CommitDecision::Never)) => {
            request.withhold();
            Ok(())
        }
        Err(panic) => {
            request.note_panic();
            // The payload's own drop may panic too, and must not take the queue with it.
            std::mem::forget(panic);
            request.complete(-libc::EIO)
        }
    }
}
