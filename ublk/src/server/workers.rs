//! The threads of a server, one per queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::shared::{QueueFailure, Shared};
use crate::queue::QueueTicket;
use crate::target::Target;

/// The running threads. Dropping it leaves them running.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread per ticket. One that cannot be started counts as a queue that failed.
    pub(super) fn spawn(
        tickets: Vec<QueueTicket>,
        target: &Arc<dyn Target>,
        shared: &Arc<Shared>,
    ) -> Self {
        shared.expect_queues(tickets.len());
        let mut threads = Vec::with_capacity(tickets.len());
        for (index, ticket) in tickets.into_iter().enumerate() {
            let queue = ticket.queue_id();
            let (target, at_thread) = (Arc::clone(target), Arc::clone(shared));
            let name = format!("ublk-queue-{queue}");
            let spawned = Builder::new().name(name).spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    run(index, ticket, target.as_ref(), &at_thread)
                }));
                let failure = match ended {
                    Ok(done) => done.err(),
                    Err(panic) => {
                        Some(QueueFailure::Panicked { queue, message: panic_text(panic.as_ref()) })
                    }
                };
                // Only now, with the ring closed: the device can be deleted when all have ended.
                at_thread.ended(index, failure);
            });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    shared.ended(index, Some(QueueFailure::Spawn { queue, source }));
                }
            }
        }
        Self { shared: Arc::clone(shared), threads }
    }

    /// Waits for all threads. Those that do not end in time, because a target's method does not return,
    /// are given by their queues and left behind.
    pub(super) fn join(self, timeout: Duration) -> Result<(), Vec<u16>> {
        if !self.shared.wait_all_ended(timeout) {
            return Err(self.shared.running());
        }
        for thread in self.threads {
            // It has said that it ended, and a panic was caught.
            let _ = thread.join();
        }
        Ok(())
    }
}

fn run(
    index: usize,
    ticket: QueueTicket,
    target: &dyn Target,
    shared: &Shared,
) -> Result<(), QueueFailure> {
    let mut worker = ticket.with_files(target.files()).open()?;
    worker.fetch_all()?;
    shared.armed(index);
    Ok(worker.serve(target)?)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
