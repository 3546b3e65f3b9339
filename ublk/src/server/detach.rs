//! A server that goes and leaves its device: how programs are upgraded under a mounted disk.
//!
//! Quiesced first, where the kernel can, so that every request the server has is answered and new ones wait for
//! its successor. QUIESCE_DEV aborts the tags that are idle at that moment; one that is answered afterwards is armed
//! again. So it is repeated until every queue has ended.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::live::{JOIN_TIMEOUT, Server};
use super::shared::{QueueFailure, Shared};
use crate::device::{Device, Live};
use crate::queue::CounterSnapshot;
use crate::uapi::Features;

/// How long tags are given to become idle before the next QUIESCE_DEV.
const QUIESCE_INTERVAL: Duration = Duration::from_millis(10);

/// How a server left its device.
#[derive(Debug)]
#[non_exhaustive]
pub struct DetachReport {
    /// The device, for whoever takes it over.
    pub id: u32,
    /// Whether every request was answered before. If not, those the server had fail or go to the next server, as the
    /// device's recovery says.
    pub quiesced: bool,
    /// The final counters, per queue.
    pub counters: Vec<CounterSnapshot>,
    /// Queues that had failed before.
    pub failures: Vec<QueueFailure>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a server did not leave its device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DetachError {
    /// The device has no recovery: its disk would go. The server serves on.
    #[error("device {id} was added without recovery and would lose its disk: stop it instead")]
    NotRecoverable {
        /// The device.
        id: u32,
        /// The server, which was not touched.
        server: Box<Server>,
    },
    /// The kernel cannot quiesce a device (before 6.16). To end queues under a live process is no way out there: 6.12
    /// waits for ever for requests that nobody has. The server serves on; [`Server::abandon`] it and end the process.
    #[error("device {id} cannot be quiesced on this kernel: end the process, the device stays")]
    CannotQuiesce {
        /// The device.
        id: u32,
        /// The server, which was not touched.
        server: Box<Server>,
    },
    /// A method of the target does not return, so the device stays open until the process ends.
    #[error(
        "the target does not return on queues {queues:?}; end this process, the device is free then"
    )]
    QueuesStuck {
        /// The queues.
        queues: Vec<u16>,
    },
}

impl Server {
    /// Ends the threads and leaves the device to the next server, which takes it over by
    /// [`ServerBuilder::recover`](super::ServerBuilder::recover).
    ///
    /// Requests in flight are answered first, for up to `timeout`; after that the queues are ended with what they
    /// have. Available since Linux 6.16.
    ///
    /// # Errors
    /// [`DetachError`].
    pub fn detach(mut self, timeout: Duration) -> Result<DetachReport, DetachError> {
        let started = Instant::now();
        let (id, flags) = (self.info().dev_id, self.info().flags);
        if !flags.contains(Features::USER_RECOVERY) {
            return Err(DetachError::NotRecoverable { id, server: Box::new(self) });
        }
        let ended = self.shared.wait_all_ended(Duration::ZERO);
        if !ended && !flags.contains(Features::QUIESCE) {
            return Err(DetachError::CannotQuiesce { id, server: Box::new(self) });
        }
        self.sockets = None;
        let mut quiesced = true;
        if let Some((device, workers)) = self.parts.take() {
            let kill_switch = device.kill_switch();
            let left = Leaving { shared: &self.shared, deadline: started + timeout };
            quiesced = left.end_queues(device);
            kill_switch.cut();
            if let Err(queues) = workers.join(JOIN_TIMEOUT) {
                return Err(DetachError::QueuesStuck { queues });
            }
        }
        let failures = self.shared.take_failures();
        let failures = failures.into_iter().filter(|failure| quiesced || !failure.is_kill());
        Ok(DetachReport {
            id,
            quiesced,
            failures: failures.collect(),
            counters: self.counters(),
            elapsed: started.elapsed(),
        })
    }
}

impl Server {
    /// Closes the sockets and lets go of the device: the threads serve it until the process ends, and then it is as its
    /// recovery says. What the server had is lost or sent again, as after a crash.
    pub fn abandon(mut self) -> u32 {
        self.sockets = None;
        // Neither stopped nor ended by a drop.
        std::mem::forget(self.parts.take());
        self.info().dev_id
    }
}

struct Leaving<'a> {
    shared: &'a Shared,
    deadline: Instant,
}

impl Leaving<'_> {
    /// Ends the queues gently as far as that goes, and closes the device. Tells whether each ended by itself.
    fn end_queues(&self, device: Device<Live>) -> bool {
        if self.shared.wait_all_ended(Duration::ZERO) {
            device.leave();
            return true;
        }
        let mut device = match device.quiesce(self.left()) {
            Ok(device) => device,
            Err((device, _)) => {
                device.leave();
                return false;
            }
        };
        while !self.shared.wait_all_ended(QUIESCE_INTERVAL.min(self.left())) {
            if self.left().is_zero() || device.quiesce_again(self.left()).is_err() {
                device.leave();
                return false;
            }
        }
        device.leave();
        true
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
