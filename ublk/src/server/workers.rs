//! The threads of a server: one per queue, or as many as were asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::door::Door;
use super::shared::{QueueFailure, Shared};
use crate::queue::{QueueTicket, Worker};

/// The running threads. Dropping it leaves them running.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each hand of tickets. One that cannot be started counts as a queue that failed.
    pub(super) fn spawn(
        hands: Vec<Vec<QueueTicket>>,
        door: &Arc<dyn Door>,
        shared: &Arc<Shared>,
    ) -> Self {
        shared.expect_queues(hands.len());
        let mut threads = Vec::with_capacity(hands.len());
        for (index, tickets) in hands.into_iter().enumerate() {
            let queue = tickets.first().map_or(0, QueueTicket::queue_id);
            let (door, at_thread) = (Arc::clone(door), Arc::clone(shared));
            let name = format!("ublk-queue-{queue}");
            let spawned = Builder::new().name(name).spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    run(index, tickets, door.as_ref(), &at_thread)
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
    tickets: Vec<QueueTicket>,
    door: &dyn Door,
    shared: &Shared,
) -> Result<(), QueueFailure> {
    let files = door.target().files();
    let with_files = |ticket: QueueTicket| ticket.with_files(files.clone());
    let mut worker = Worker::open(tickets.into_iter().map(with_files).collect())?;
    worker.fetch_all()?;
    shared.armed(index);
    Ok(door.serve(&mut worker)?)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
