//! What it takes to serve a queue, or a share of one, as a value that can be sent to the thread that will.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::linger::Linger;
use super::port::LaneDescriptors;
use super::worker::Lane;
use super::{KernelPort, KillSwitch, MetadataShape, QueueCounters, QueueError, Worker, pin_to};
use crate::device::CharDevice;
use crate::sys::common::CommonTags;
use crate::sys::desc::DescArea;
use crate::sys::lane::{LaneSpec, TagSet, Transfer};
use crate::sys::shared::SharedMemory;
use crate::sys::worker_ring::WorkerRing;
use crate::uapi::Features;

/// The right to serve one queue of a device, or some of its tags.
///
/// It keeps the character device open; a device cannot be deleted as long as one is left.
#[derive(Debug)]
pub struct QueueTicket {
    pub(crate) queue: u16,
    pub(crate) depth: u16,
    pub(crate) tags: TagSet,
    /// Those it fetches: all of them, unless several tickets stand for all of a queue's tags.
    pub(crate) fetches: TagSet,
    pub(crate) common: Option<Arc<CommonTags>>,
    /// Register each request's pages at another index than the one before it.
    pub(crate) rotate: bool,
    pub(crate) io_desc_size: u16,
    pub(crate) buffer_len_bytes: u32,
    /// What its requests' metadata is like; none for a device without.
    pub(crate) metadata: Option<MetadataShape>,
    /// The features in effect: they decide how bytes move.
    pub(crate) features: Features,
    pub(crate) affinity: Vec<u32>,
    /// Those CPUs were asked for, and are no advice.
    pub(crate) pinned: bool,
    pub(crate) char_device: Arc<CharDevice>,
    pub(crate) counters: Arc<QueueCounters>,
    pub(crate) kill_switch: Arc<KillSwitch>,
    pub(crate) files: Arc<Vec<Arc<File>>>,
    pub(crate) shared: Arc<Vec<(u16, SharedMemory)>>,
}

/// How bytes move on a device with those features.
pub(crate) fn transfer(features: Features) -> Transfer {
    let has = |feature| features.contains(feature);
    let user_copy = has(Features::USER_COPY);
    let auto = has(Features::AUTO_BUF_REG);
    let manual = has(Features::SUPPORT_ZERO_COPY);
    if auto || manual {
        // What could not be registered automatically can be by hand only with the other feature.
        Transfer::Registered { auto, fallback: auto && manual, user_copy }
    } else if user_copy {
        Transfer::UserCopy
    } else {
        Transfer::Copy
    }
}

impl QueueTicket {
    /// The queue it is for.
    pub fn queue_id(&self) -> u16 {
        self.queue
    }

    /// The tags it is for.
    pub fn tags(&self) -> TagSet {
        self.tags
    }

    /// How the bytes of its requests move.
    pub fn transfer(&self) -> Transfer {
        transfer(self.features)
    }

    /// What the metadata of its requests is like; none for a device without. Available since Linux 7.0.
    pub fn metadata(&self) -> Option<MetadataShape> {
        self.metadata
    }

    /// The metadata of the largest request.
    fn metadata_len_bytes(&self) -> u32 {
        let of_largest = |shape: MetadataShape| shape.len_bytes(self.buffer_len_bytes.into());
        u32::try_from(self.metadata.map_or(0, of_largest)).unwrap_or(u32::MAX)
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
        self.pinned = false;
        self
    }

    /// Binds the thread that will open the ticket to these CPUs instead of the queue's own. With several tickets it may
    /// run on the CPUs of all. Opening it fails where the process may run on none of them.
    #[must_use]
    pub fn pinned_to(mut self, cpus: &[u32]) -> Self {
        self.affinity = cpus.to_vec();
        self.pinned = true;
        self
    }

    /// Registers each request's pages at another index than the one before it, where the kernel registers them for a
    /// batch: it has to take out the old ones first, which is a test of the driver and nothing else.
    #[must_use]
    pub fn rotating(mut self) -> Self {
        let rotates = Features::AUTO_BUF_REG | Features::BATCH_IO;
        self.rotate = self.features.contains(rotates);
        self
    }

    /// The files its target names, for transfers by the ring.
    #[must_use]
    pub fn with_files(mut self, files: Vec<Arc<File>>) -> Self {
        self.files = Arc::new(files);
        self
    }

    /// Splits it into shares, for as many threads; fewer where there are fewer tags. Each share counts for
    /// itself. The tags are dealt out in turn: the block layer hands out neighbours one after another. With
    /// BATCH_IO a share is one of the threads to which the kernel delivers whatever tag comes next, except
    /// with AUTO_BUF_REG, whose pages are registered with one ring. Available since Linux 6.16, with BATCH_IO
    /// since 7.0.
    ///
    /// # Errors
    /// The ticket itself, where the device does not let several threads serve a queue.
    pub fn split(self, shares: u16) -> Result<Vec<Self>, Self> {
        let shares = shares.clamp(1, self.fetches.count.max(1));
        if shares == 1 {
            return Ok(vec![self]);
        }
        let has = |feature| self.features.contains(feature);
        let batch = has(Features::BATCH_IO);
        let allowed =
            if batch { !has(Features::AUTO_BUF_REG) } else { has(Features::PER_IO_DAEMON) };
        if !allowed {
            return Err(self);
        }
        let common = match &self.common {
            Some(common) => Some(Arc::clone(common)),
            None => batch.then(|| Arc::new(CommonTags::new(self.depth))),
        };
        let share = |index| Self {
            tags: if batch { self.tags } else { self.tags.share(index, shares) },
            fetches: self.fetches.share(index, shares),
            common: common.clone(),
            affinity: self.affinity.clone(),
            char_device: Arc::clone(&self.char_device),
            counters: if index == 0 { Arc::clone(&self.counters) } else { self.more_counters() },
            kill_switch: Arc::clone(&self.kill_switch),
            files: Arc::clone(&self.files),
            shared: Arc::clone(&self.shared),
            ..self
        };
        Ok((0..shares).map(share).collect())
    }

    /// New counters of the same kind.
    fn more_counters(&self) -> Arc<QueueCounters> {
        let latency = self.counters.latency().is_some();
        Arc::new(if latency { QueueCounters::with_latency() } else { QueueCounters::default() })
    }

    /// Makes a worker for this ticket alone, on the calling thread; see [`Worker::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(self) -> Result<Worker, QueueError> {
        Worker::open(vec![self])
    }
}

impl Worker {
    /// Makes the worker for these tickets on the calling thread, which is pinned to the CPUs of their
    /// queues. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`QueueError::Setup`] with what could not be made.
    pub fn open(tickets: Vec<QueueTicket>) -> Result<Self, QueueError> {
        let queue = tickets.first().map_or(0, |ticket| ticket.queue);
        let setup = |what: &'static str| move |source| QueueError::Setup { queue, what, source };
        let mut cpus: Vec<u32> =
            tickets.iter().flat_map(|ticket| ticket.affinity.iter().copied()).collect();
        // A thread for a queue that may run anywhere may run anywhere.
        if !cpus.is_empty() && tickets.iter().all(|ticket| !ticket.affinity.is_empty()) {
            cpus.sort_unstable();
            cpus.dedup();
            let pinned = pin_to(&cpus);
            // A cpuset may forbid a queue's CPUs. The queue is slower elsewhere, and no less right.
            if tickets.iter().any(|ticket| ticket.pinned) {
                pinned.map_err(setup("bind the thread to the CPUs that were asked for"))?;
            }
        }
        let specs: Vec<LaneSpec<'_>> = tickets
            .iter()
            .map(|ticket| LaneSpec {
                char_device: ticket.char_device.fd(),
                queue: ticket.queue,
                depth: ticket.depth,
                tags: ticket.tags,
                common: ticket.common.clone().map(|common| (common, ticket.fetches)),
                rotate: ticket.rotate,
                buffer_len_bytes: ticket.buffer_len_bytes,
                metadata_len_bytes: ticket.metadata_len_bytes(),
                transfer: ticket.transfer(),
                batch: ticket.features.contains(Features::BATCH_IO),
                zoned: ticket.features.contains(Features::ZONED),
                files: ticket.files.iter().map(|file| file.as_fd()).collect(),
                shared: Arc::clone(&ticket.shared),
            })
            .collect();
        let mut ring = WorkerRing::new(&specs).map_err(setup("set up the io_uring"))?;
        drop(specs);
        let mut switches: Vec<&Arc<KillSwitch>> = Vec::new();
        for ticket in &tickets {
            if !switches.iter().any(|switch| Arc::ptr_eq(switch, &ticket.kill_switch)) {
                switches.push(&ticket.kill_switch);
                // Submitted at once, for the ticket's end may close the switch's descriptor.
                ring.watch(ticket.kill_switch.watched()).map_err(setup("watch the kill switch"))?;
            }
        }
        ring.submit_and_wait(0).map_err(setup("enter the io_uring"))?;
        let (mut descriptors, mut lanes, mut lane_of) = (Vec::new(), Vec::new(), Vec::new());
        for (number, ticket) in tickets.into_iter().enumerate() {
            let first_slot = lane_of.len() as u32;
            lane_of.resize(lane_of.len() + usize::from(ticket.tags.count), number as u16);
            let char_device = ticket.char_device.fd();
            let area = DescArea::map(char_device, ticket.queue, ticket.depth, ticket.io_desc_size)
                .map_err(setup("map the descriptors"))?;
            let (tags, metadata) = (ticket.tags, ticket.metadata);
            descriptors.push(LaneDescriptors { area, tags, first_slot, metadata });
            lanes.push(Lane {
                queue: ticket.queue,
                tags: ticket.tags,
                fetches: ticket.fetches,
                first_slot,
                transfer: transfer(ticket.features),
                counters: ticket.counters,
                ignores_data: false,
                extents: false,
            });
        }
        let lane_of = lane_of.into_boxed_slice();
        let port = KernelPort { ring, lanes: descriptors, lane_of, linger: Linger::default() };
        Ok(Self::with_port(port, lanes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_mode_follows_from_the_features_in_effect() {
        let registered =
            |auto, fallback, user_copy| Transfer::Registered { auto, fallback, user_copy };
        for (features, expected) in [
            (Features::empty(), Transfer::Copy),
            (Features::NEED_GET_DATA | Features::BATCH_IO, Transfer::Copy),
            (Features::USER_COPY, Transfer::UserCopy),
            (Features::SUPPORT_ZERO_COPY, registered(false, false, false)),
            (Features::AUTO_BUF_REG, registered(true, false, false)),
            (Features::AUTO_BUF_REG | Features::SUPPORT_ZERO_COPY, registered(true, true, false)),
            (Features::SUPPORT_ZERO_COPY | Features::USER_COPY, registered(false, false, true)),
        ] {
            assert_eq!(transfer(features), expected, "{features}");
        }
    }
}
