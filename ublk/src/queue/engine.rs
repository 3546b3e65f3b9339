//! The queue itself: it drives the tags' state machines with what the port brings.

use std::collections::VecDeque;
use std::sync::Arc;

use super::latency::Recorder;
use super::{Completion, Descriptor, KernelPort, Port, QueueCounters, QueueError, Request};
use crate::tag::{Arrival, Command, Tag, TagError, TagState};

/// One queue of a device, on the thread that serves it.
#[derive(Debug)]
pub struct Queue<P: Port = KernelPort> {
    pub(super) port: P,
    pub(super) id: u16,
    pub(super) counters: Arc<QueueCounters>,
    tags: Box<[Tag]>,
    /// Requests that arrived and were not yet given out. Never longer than there are tags.
    arrived: VecDeque<u16>,
    /// Tags that the kernel has not ended.
    alive: usize,
    /// Tags that are the server's now.
    owned: u64,
    killed: bool,
    /// Only where latencies are wanted.
    latency: Option<Recorder>,
    /// What went wrong where no error could be returned: while a request was dropped.
    failed: Option<QueueError>,
}

impl<P: Port> Queue<P> {
    /// A queue over that port, with nothing fetched.
    pub fn with_port(port: P, id: u16, depth: u16, counters: Arc<QueueCounters>) -> Self {
        let latency = counters.latency().map(|_| Recorder::new(depth));
        Self {
            port,
            id,
            counters,
            tags: vec![Tag::new(); usize::from(depth)].into_boxed_slice(),
            arrived: VecDeque::with_capacity(usize::from(depth)),
            alive: usize::from(depth),
            owned: 0,
            killed: false,
            latency,
            failed: None,
        }
    }

    /// The queue's number in its device.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// How many tags it has.
    pub fn depth(&self) -> u16 {
        self.tags.len() as u16
    }

    /// Fetches every tag that was not fetched yet, and submits.
    ///
    /// # Errors
    /// [`QueueError::Tag`] when the kernel refuses one, [`QueueError::Ring`].
    pub fn fetch_all(&mut self) -> Result<(), QueueError> {
        for tag in 0..self.depth() {
            if self.tags[usize::from(tag)].state() == TagState::New {
                self.push_fetch(tag)?;
            }
        }
        self.submit()
    }

    /// Fetches one tag, and submits. A device starts only when all its tags are fetched.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all); [`QueueError::Tag`] for a tag that is not new, or not there.
    pub fn fetch(&mut self, tag: u16) -> Result<(), QueueError> {
        self.push_fetch(tag)?;
        self.submit()
    }

    fn push_fetch(&mut self, tag: u16) -> Result<(), QueueError> {
        let queue = self.id;
        let Some(machine) = self.tags.get_mut(usize::from(tag)) else {
            let source = TagError::Forbidden { state: TagState::Aborted, wanted: "fetch" };
            return Err(QueueError::Tag { queue, tag, source });
        };
        let command = machine.arm().map_err(|source| QueueError::Tag { queue, tag, source })?;
        self.push(tag, command)
    }

    /// Submits without waiting, so that a refusal is seen now and not with the first request.
    fn submit(&mut self) -> Result<(), QueueError> {
        self.enter(0)?;
        self.drain()
    }

    /// The next request, waiting for one; none once the kernel has ended every tag.
    ///
    /// # Errors
    /// [`QueueError::Killed`] after the kill switch was cut; [`QueueError::Tag`] and
    /// [`QueueError::Ring`] when the queue cannot go on. Then drop it: that ends its commands.
    pub fn next_request(&mut self) -> Result<Option<Request<'_, P>>, QueueError> {
        loop {
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if self.killed {
                return Err(QueueError::Killed { queue: self.id });
            }
            if let Some(tag) = self.arrived.pop_front() {
                let Some(descriptor) = Descriptor::from_wire(&self.port.descriptor(tag)) else {
                    self.counters.refused();
                    self.commit(tag, -libc::EOPNOTSUPP)?;
                    continue;
                };
                let fits = usize::try_from(descriptor.data_len_bytes())
                    .is_ok_and(|len_bytes| self.port.buffer(tag, len_bytes).is_some());
                if !fits {
                    // More than the parameters allow a request to have.
                    self.answered(tag, &descriptor, -libc::EIO);
                    self.commit(tag, -libc::EIO)?;
                    continue;
                }
                return Ok(Some(Request::new(self, tag, descriptor)));
            }
            if self.alive == 0 {
                return Ok(None);
            }
            self.enter(1)?;
            self.drain()?;
        }
    }

    /// Counts an answer, which is committed next.
    pub(super) fn answered(&mut self, tag: u16, descriptor: &Descriptor, result: i32) {
        self.counters.answered(descriptor, result);
        if let Some(latency) = &mut self.latency {
            latency.answered(tag, descriptor.op.into());
        }
    }

    /// Gives a result to the kernel. The command leaves with the next wait.
    pub(super) fn commit(&mut self, tag: u16, result: i32) -> Result<(), QueueError> {
        let queue = self.id;
        let command = self.tags[usize::from(tag)]
            .commit(result)
            .map_err(|source| QueueError::Tag { queue, tag, source })?;
        self.owned -= 1;
        self.push(tag, command)
    }

    /// Keeps an error for the next call that can return one. The first is the cause.
    pub(super) fn fail(&mut self, error: QueueError) {
        self.failed.get_or_insert(error);
    }

    fn push(&mut self, tag: u16, command: Command) -> Result<(), QueueError> {
        let queue = self.id;
        self.port.push(tag, command).map_err(|source| QueueError::Ring { queue, source })
    }

    fn enter(&mut self, want: u32) -> Result<(), QueueError> {
        let queue = self.id;
        if let Some(latency) = self.latency.as_mut().filter(|latency| latency.has_leaving())
            && let Some(histogram) = self.counters.latency()
        {
            latency.batch_leaves(latency.now_ns(), histogram);
        }
        let entered = self.port.submit_and_wait(want);
        self.counters.set_enters(self.port.enters());
        entered.map_err(|source| QueueError::Ring { queue, source })
    }

    /// Takes in every completion that is there.
    fn drain(&mut self) -> Result<(), QueueError> {
        let queue = self.id;
        if let Some(latency) = &mut self.latency {
            latency.batch_arrived(latency.now_ns());
        }
        while let Some(completion) = self.port.next_completion() {
            let (tag, result) = match completion {
                Completion::Watch => {
                    self.killed = true;
                    continue;
                }
                Completion::Tag { tag, result } => (tag, result),
            };
            let Some(machine) = self.tags.get_mut(usize::from(tag)) else {
                let source = TagError::Unexpected { state: TagState::Aborted, result };
                return Err(QueueError::Tag { queue, tag, source });
            };
            match machine.complete(result) {
                Ok(Arrival::Request) => {
                    self.arrived.push_back(tag);
                    if let Some(latency) = &mut self.latency {
                        latency.arrived(tag);
                    }
                    self.owned += 1;
                }
                Ok(Arrival::Aborted) => self.alive -= 1,
                Err(source) => return Err(QueueError::Tag { queue, tag, source }),
            }
        }
        self.counters.owned_now(self.owned);
        Ok(())
    }
}
