//! The worker itself: it drives the tags' state machines with what the port brings.

use std::collections::VecDeque;
use std::sync::Arc;

use super::latency::Recorder;
use super::{Answer, Completion, Descriptor, KernelPort, Port, QueueCounters, QueueError, Request};
use crate::sys::lane::{TagSet, Transfer};
use crate::tag::{Arrival, Command, Tag, TagError, TagState};
use crate::target::Capabilities;
use crate::uapi::ShmemAddr;

/// One queue, or a share of one, as its worker knows it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: u16,
    pub(super) tags: TagSet,
    /// Those of them that this worker fetches: where several share all of a queue's tags, its part.
    pub(super) fetches: TagSet,
    pub(super) first_slot: u32,
    pub(super) transfer: Transfer,
    pub(super) counters: Arc<QueueCounters>,
    /// The target neither looks at bytes nor fills them, so none need be moved.
    pub(super) ignores_data: bool,
    /// The target says where its bytes are, so that they need not pass through a buffer.
    pub(super) extents: bool,
}

impl Lane {
    /// Whether bytes must be moved through the character device for a request to be served.
    pub(super) fn moves_bytes(&self) -> bool {
        let by_user_copy = match self.transfer {
            Transfer::Copy => false,
            Transfer::UserCopy => true,
            Transfer::Registered { user_copy, .. } => user_copy,
        };
        by_user_copy && !self.ignores_data
    }

    /// Whether a request's pages are registered with the ring.
    pub(super) fn is_registered(&self) -> bool {
        matches!(self.transfer, Transfer::Registered { .. })
    }

    /// Whether the bytes of a task's request stay where they are: in its own pages, or in shared memory.
    pub(super) fn leaves_bytes(&self, descriptor: &Descriptor) -> bool {
        self.is_registered() || (self.extents && descriptor.shared.is_some())
    }

    /// Where bytes have to be copied between shared memory and the tag's buffer, because the kernel does not: in the
    /// modes in which it copies nothing it gives the request's own pages away all the same.
    fn copies_shared(&self, descriptor: &Descriptor) -> Option<ShmemAddr> {
        descriptor.shared.filter(|_| self.transfer == Transfer::Copy && !self.ignores_data)
    }

    /// Whether the server can get at a request's bytes at all, or need not.
    pub(super) fn has_bytes(&self) -> bool {
        self.ignores_data || !matches!(self.transfer, Transfer::Registered { user_copy: false, .. })
    }
}

#[derive(Debug)]
struct Slot {
    tag: Tag,
    lane: u16,
}

/// An answer that waits for another one to go first.
#[derive(Clone, Copy, Debug)]
struct HeldBack {
    slot: u32,
    descriptor: Descriptor,
    answer: Answer,
    /// The request's bytes are where they belong.
    moved: bool,
}

/// Something that happened to a worker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Request { slot: u32 },
    Operation { slot: u32, index: u8, result: i32 },
    Wake,
}

/// A thread's part in serving devices: the tags of one queue, of several, or a share of them.
#[derive(Debug)]
pub struct Worker<P: Port = KernelPort> {
    pub(super) port: P,
    pub(super) lanes: Box<[Lane]>,
    slots: Box<[Slot]>,
    /// What came while nobody asked for it. Empty but for the moment after fetching.
    early: VecDeque<Event>,
    /// Slots that the kernel has not ended.
    alive: usize,
    /// Slots that are the server's now.
    owned: u64,
    killed: bool,
    /// Only where latencies are wanted.
    latency: Option<Recorder>,
    /// An answer that goes out after the next one, or before a wait. Only fault injection makes one.
    held_back: Option<HeldBack>,
    /// What went wrong where no error could be returned: while a request was dropped.
    failed: Option<QueueError>,
}

impl<P: Port> Worker<P> {
    /// A worker over that port, with nothing fetched.
    pub(super) fn with_port(port: P, lanes: Vec<Lane>) -> Self {
        let of_lane = |(number, lane): (usize, &Lane)| {
            let lane_number = number as u16;
            (0..lane.tags.count).map(move |_| Slot { tag: Tag::new(), lane: lane_number })
        };
        let slots: Box<[Slot]> = lanes.iter().enumerate().flat_map(of_lane).collect();
        let wanted = lanes.iter().any(|lane| lane.counters.latency().is_some());
        Self {
            latency: wanted.then(|| Recorder::new(slots.len())),
            port,
            lanes: lanes.into_boxed_slice(),
            alive: slots.len(),
            early: VecDeque::new(),
            slots,
            owned: 0,
            killed: false,
            held_back: None,
            failed: None,
        }
    }

    /// How many tags it serves, of all its queues.
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The queues it serves, by their number, in the order of their tickets.
    pub fn queue_ids(&self) -> impl Iterator<Item = u16> {
        self.lanes.iter().map(|lane| lane.queue)
    }

    /// Fetches every tag that was not fetched yet, and submits. A device starts only when all its tags
    /// are fetched.
    ///
    /// # Errors
    /// [`QueueError::Tag`] when the kernel refuses one, [`QueueError::Ring`].
    pub fn fetch_all(&mut self) -> Result<(), QueueError> {
        for slot in 0..self.slots() {
            if self.slots[slot as usize].tag.state() == TagState::New {
                self.push_fetch(slot)?;
            }
        }
        self.submit()
    }

    /// Fetches one tag, by its slot, and submits.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all); [`QueueError::Tag`] for a tag that is not new.
    ///
    /// # Panics
    /// When there is no such slot.
    pub fn fetch(&mut self, slot: u32) -> Result<(), QueueError> {
        assert!(slot < self.slots(), "slot {slot} of a worker with {}", self.slots());
        self.push_fetch(slot)?;
        self.submit()
    }

    fn push_fetch(&mut self, slot: u32) -> Result<(), QueueError> {
        let armed = self.slots[slot as usize].tag.arm();
        let command = armed.map_err(|source| self.tag_error(slot, source))?;
        if self.lane(slot).fetches.index(self.tag_of(slot)).is_none() {
            // Another worker sees to it, and the kernel may deliver it here all the same.
            return Ok(());
        }
        self.push(slot, command)
    }

    /// Submits without waiting, so that a refusal is seen now and not with the first request.
    fn submit(&mut self) -> Result<(), QueueError> {
        self.enter(0)?;
        while let Some(event) = self.take_completion()? {
            self.early.push_back(event);
        }
        Ok(())
    }

    /// Tells what a lane's target can do; it decides whether bytes are moved for it.
    pub(super) fn set_capabilities(&mut self, lane: usize, capabilities: &Capabilities) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.ignores_data = capabilities.ignores_data;
            lane.extents = capabilities.extents && !capabilities.ignores_data;
        }
    }

    /// The next request, waiting for one; none once the kernel has ended every tag.
    ///
    /// # Errors
    /// [`QueueError::Killed`] after the kill switch was cut; [`QueueError::Tag`] and
    /// [`QueueError::Ring`] when the worker cannot go on. Then drop it: that ends its commands.
    pub fn next_request(&mut self) -> Result<Option<Request<'_, P>>, QueueError> {
        loop {
            match self.next_event()? {
                None => return Ok(None),
                // Nobody started an operation or armed a wake.
                Some(Event::Operation { .. } | Event::Wake) => {}
                Some(Event::Request { slot }) => {
                    if let Some(descriptor) = self.begin(slot)?
                        && self.bring_data(slot, &descriptor)?
                    {
                        return Ok(Some(Request::new(self, slot, descriptor)));
                    }
                }
            }
        }
    }

    /// The next thing that happens, waiting for it.
    pub(super) fn next_event(&mut self) -> Result<Option<Event>, QueueError> {
        loop {
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if self.killed {
                return Err(QueueError::Killed { queue: self.first_queue() });
            }
            if let Some(event) = self.early.pop_front() {
                return Ok(Some(event));
            }
            if let Some(event) = self.take_completion()? {
                return Ok(Some(event));
            }
            if self.killed {
                continue;
            }
            if self.alive == 0 {
                return Ok(None);
            }
            self.let_go()?;
            self.enter(1)?;
        }
    }

    /// Decodes a request. None where it was answered at once, because nothing here understands it.
    pub(super) fn begin(&mut self, slot: u32) -> Result<Option<Descriptor>, QueueError> {
        let Some(mut descriptor) = Descriptor::from_wire(&self.port.descriptor(slot)) else {
            self.lane(slot).counters.refused();
            self.commit(slot, Answer::error(libc::EOPNOTSUPP))?;
            return Ok(None);
        };
        if let Some(at) = descriptor.shared
            && !self.port.reaches_shared(slot, at, descriptor.data_len_bytes())
        {
            // Memory that somebody else has registered, or another server before this one.
            let lost = self.lane(slot).copies_shared(&descriptor).is_some();
            descriptor.shared = None;
            if lost {
                self.settle(slot, &descriptor, Answer::error(libc::EIO))?;
                return Ok(None);
            }
        }
        Ok(Some(descriptor))
    }

    /// Sees that a request's bytes are in its buffer where it brings any, and that the buffer has room
    /// for those it wants. False where it was answered with an error instead.
    pub(super) fn bring_data(
        &mut self,
        slot: u32,
        descriptor: &Descriptor,
    ) -> Result<bool, QueueError> {
        if descriptor.has_metadata && !self.bring_metadata(slot, descriptor)? {
            return Ok(false);
        }
        let data_len_bytes = descriptor.data_len_bytes();
        if data_len_bytes == 0 {
            return Ok(true);
        }
        let shared = self.lane(slot).copies_shared(descriptor);
        let errno = match usize::try_from(data_len_bytes) {
            // More than the parameters allow a request to have.
            Err(_) => libc::EIO,
            Ok(len_bytes) if self.port.buffer(slot, len_bytes).is_none() => libc::EIO,
            Ok(_) if !self.lane(slot).has_bytes() => libc::EOPNOTSUPP,
            Ok(len_bytes)
                if descriptor.brings_data()
                    && (shared.is_some() || self.lane(slot).moves_bytes()) =>
            {
                let copied = match shared {
                    Some(at) => self.port.shared_copy(slot, at, len_bytes, false),
                    None => self.port.user_copy(slot, len_bytes, false),
                };
                match copied {
                    Ok(()) => return Ok(true),
                    Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
                }
            }
            Ok(_) => return Ok(true),
        };
        self.answer(slot, descriptor, Answer::error(errno))?;
        Ok(false)
    }

    /// Answers a request: counts it, moves what was read into the request, commits.
    pub(super) fn answer(
        &mut self,
        slot: u32,
        descriptor: &Descriptor,
        mut answer: Answer,
    ) -> Result<(), QueueError> {
        let shared = self.lane(slot).copies_shared(descriptor);
        let moves = shared.is_some() || self.lane(slot).moves_bytes();
        if answer.result > 0 && descriptor.wants_data() && moves {
            // As much as the request has: a result that claims more is the kernel's to judge.
            let len_bytes = (answer.result as u64).min(descriptor.data_len_bytes()) as usize;
            let copied = match shared {
                Some(at) => self.port.shared_copy(slot, at, len_bytes, true),
                None => self.port.user_copy(slot, len_bytes, true),
            };
            if let Err(error) = copied {
                answer = Answer::error(error.raw_os_error().unwrap_or(libc::EIO));
            }
        }
        if descriptor.has_metadata {
            answer = self.return_metadata(slot, descriptor, answer);
        }
        self.settle(slot, descriptor, answer)
    }

    /// Answers a request whose bytes are where they belong.
    pub(super) fn settle(
        &mut self,
        slot: u32,
        descriptor: &Descriptor,
        answer: Answer,
    ) -> Result<(), QueueError> {
        self.lane(slot).counters.answered(descriptor, answer.result);
        if let Some(latency) = &mut self.latency {
            latency.answered(slot, descriptor.op.into());
        }
        self.commit(slot, answer)
    }

    /// The lane of a slot.
    pub(super) fn lane(&self, slot: u32) -> &Lane {
        &self.lanes[self.lane_number(slot)]
    }

    pub(super) fn lane_number(&self, slot: u32) -> usize {
        usize::from(self.slots[slot as usize].lane)
    }

    /// The tag of a slot.
    pub(super) fn tag_of(&self, slot: u32) -> u16 {
        let lane = self.lane(slot);
        lane.tags.tag((slot - lane.first_slot) as u16)
    }

    fn first_queue(&self) -> u16 {
        self.lanes.first().map_or(0, |lane| lane.queue)
    }

    /// Gives a result to the kernel. The command leaves with the next wait.
    pub(super) fn commit(&mut self, slot: u32, answer: Answer) -> Result<(), QueueError> {
        let committed = self.slots[slot as usize].tag.commit(answer.result, answer.append_sector);
        let command = committed.map_err(|source| self.tag_error(slot, source))?;
        self.owned -= 1;
        self.push(slot, command)?;
        if self.held_back.is_some() { self.let_go() } else { Ok(()) }
    }

    /// Keeps an answer until after the next one; `moved` says that the bytes are where they belong. An
    /// answer that is kept already has waited long enough.
    pub(super) fn hold_back(
        &mut self,
        slot: u32,
        descriptor: &Descriptor,
        answer: Answer,
        moved: bool,
    ) -> Result<(), QueueError> {
        self.let_go()?;
        self.held_back = Some(HeldBack { slot, descriptor: *descriptor, answer, moved });
        Ok(())
    }

    fn let_go(&mut self) -> Result<(), QueueError> {
        match self.held_back.take() {
            Some(HeldBack { slot, descriptor, answer, moved: true }) => {
                self.settle(slot, &descriptor, answer)
            }
            Some(HeldBack { slot, descriptor, answer, moved: false }) => {
                self.answer(slot, &descriptor, answer)
            }
            None => Ok(()),
        }
    }

    /// Keeps an error for the next call that can return one. The first is the cause.
    pub(super) fn fail(&mut self, error: QueueError) {
        self.failed.get_or_insert(error);
    }

    fn tag_error(&self, slot: u32, source: TagError) -> QueueError {
        QueueError::Tag { queue: self.lane(slot).queue, tag: self.tag_of(slot), source }
    }

    fn push(&mut self, slot: u32, command: Command) -> Result<(), QueueError> {
        self.port
            .push(slot, command)
            .map_err(|source| QueueError::Ring { queue: self.lane(slot).queue, source })
    }

    pub(super) fn ring_error(&self, source: std::io::Error) -> QueueError {
        QueueError::Ring { queue: self.first_queue(), source }
    }

    fn enter(&mut self, want: u32) -> Result<(), QueueError> {
        self.record_leaving();
        let entered = self.port.submit_and_wait(want);
        if let Some(latency) = &mut self.latency {
            latency.batch_arrived(latency.now_ns());
        }
        if let Some(lane) = self.lanes.first() {
            lane.counters.set_enters(self.port.enters());
            // What has come is the server's, whether it has looked or not.
            lane.counters.owned_now(self.owned + self.port.ready() as u64);
        }
        entered.map_err(|source| self.ring_error(source))
    }

    /// What was answered leaves with the next submission.
    fn record_leaving(&mut self) {
        let (lanes, slots) = (&self.lanes, &self.slots);
        if let Some(latency) = self.latency.as_mut().filter(|latency| latency.has_leaving()) {
            latency.batch_leaves(latency.now_ns(), |slot| {
                let lane = usize::from(slots.get(slot as usize)?.lane);
                lanes.get(lane)?.counters.latency()
            });
        }
    }

    /// Takes in completions until one is an event.
    fn take_completion(&mut self) -> Result<Option<Event>, QueueError> {
        while let Some(completion) = self.port.next_completion() {
            let (slot, result) = match completion {
                Completion::Slot { slot, result } => (slot, result),
                Completion::Operation { slot, index, result } => {
                    return Ok(Some(Event::Operation { slot, index, result }));
                }
                Completion::Wake => return Ok(Some(Event::Wake)),
                Completion::Watch => {
                    self.killed = true;
                    continue;
                }
            };
            let Some(machine) = self.slots.get_mut(slot as usize) else {
                let source = TagError::Unexpected { state: TagState::Aborted, result };
                return Err(QueueError::Tag { queue: self.first_queue(), tag: 0, source });
            };
            match machine.tag.complete(result) {
                Ok(Arrival::Request) => {
                    self.owned += 1;
                    if let Some(latency) = &mut self.latency {
                        latency.arrived(slot);
                    }
                    self.lane(slot).counters.owned_now(self.owned);
                    return Ok(Some(Event::Request { slot }));
                }
                Ok(Arrival::NeedsBuffer) => {
                    let command = machine.tag.get_data();
                    let command = command.map_err(|source| self.tag_error(slot, source))?;
                    self.push(slot, command)?;
                }
                Ok(Arrival::Aborted) => self.alive -= 1,
                Err(source) => return Err(self.tag_error(slot, source)),
            }
        }
        Ok(None)
    }
}
