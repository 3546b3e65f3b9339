//! What it takes to serve a queue, as a value that can be sent to the thread that will.

use std::sync::Arc;

use super::{KernelPort, KillSwitch, Queue, QueueCounters, QueueError, pin_to};
use crate::device::CharDevice;
use crate::sys::buffers::TagBuffers;
use crate::sys::desc::DescArea;
use crate::sys::queue_ring::QueueRing;

/// The right to serve one queue of a device.
///
/// It keeps the character device open; a device cannot be deleted as long as one is left.
#[derive(Debug)]
pub struct QueueTicket {
    pub(crate) queue: u16,
    pub(crate) depth: u16,
    pub(crate) io_desc_size: u16,
    pub(crate) buffer_len_bytes: u32,
    pub(crate) affinity: Vec<u32>,
    pub(crate) char_device: Arc<CharDevice>,
    pub(crate) counters: Arc<QueueCounters>,
    pub(crate) kill_switch: Arc<KillSwitch>,
}

impl QueueTicket {
    /// The queue it is for.
    pub fn queue_id(&self) -> u16 {
        self.queue
    }

    /// The CPUs whose requests this queue gets; empty where the kernel did not say.
    pub fn affinity(&self) -> &[u32] {
        &self.affinity
    }

    /// The counters the queue will count in.
    pub fn counters(&self) -> Arc<QueueCounters> {
        Arc::clone(&self.counters)
    }

    /// Makes the queue know how long its requests take, at two looks at the clock for each batch. The
    /// counters are new ones: ask for them afterwards.
    #[must_use]
    pub fn with_latency(mut self) -> Self {
        self.counters = Arc::new(QueueCounters::with_latency());
        self
    }

    /// Leaves the thread that will open the ticket free to run anywhere.
    #[must_use]
    pub fn unpinned(mut self) -> Self {
        self.affinity.clear();
        self
    }

    /// Makes the queue, on the calling thread, which is pinned to the queue's CPUs. Nothing is fetched
    /// yet.
    ///
    /// # Errors
    /// [`QueueError::Setup`] with what could not be made.
    pub fn open(self) -> Result<Queue, QueueError> {
        let queue = self.queue;
        let setup = |what: &'static str| move |source| QueueError::Setup { queue, what, source };
        if !self.affinity.is_empty() {
            // A cpuset may forbid those CPUs. The queue is slower elsewhere, and no less right.
            let _ = pin_to(&self.affinity);
        }
        let char_device = self.char_device.fd();
        let descriptors = DescArea::map(char_device, queue, self.depth, self.io_desc_size)
            .map_err(setup("map the descriptors"))?;
        let buffers =
            TagBuffers::map(self.depth, self.buffer_len_bytes).map_err(setup("map the buffers"))?;
        let mut ring =
            QueueRing::new(queue, buffers, char_device).map_err(setup("set up the io_uring"))?;
        // The watch is submitted at once, for the ticket's end may close the switch's descriptor.
        ring.watch(self.kill_switch.watched()).map_err(setup("watch the kill switch"))?;
        ring.submit_and_wait(0).map_err(setup("enter the io_uring"))?;
        let port = KernelPort { ring, descriptors };
        Ok(Queue::with_port(port, queue, self.depth, self.counters))
    }
}
