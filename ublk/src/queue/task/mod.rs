//! Requests as tasks: each has a future that lives in a place made for its slot once, so that serving
//! allocates nothing; the worker polls it when one of its operations is done, or when somebody woke it.

mod bits;
mod extents;
mod inbox;
mod io;
mod request;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(super) use extents::serve_by_extents;
use inbox::{Inbox, SlotWaker};
use io::TaskIo;
pub use request::AsyncRequest;

use super::{Answer, Descriptor, Port, QueueError, Worker};
use crate::sys::gate::Holder;
use crate::target::CommitDecision;

/// What a task came to.
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) decision: CommitDecision,
}

/// One slot's place for its task.
struct Place<F> {
    io: Rc<TaskIo>,
    waker: Waker,
    future: Pin<Box<Option<F>>>,
    /// Whether there is one. Not asked of the future: a future may hold `&mut` to parts of itself, and a
    /// look at it from outside would be an alias of them. (Miri found it.)
    running: bool,
    /// The request, while there is one.
    descriptor: Option<Descriptor>,
    /// Decided, but the kernel still has an operation of it.
    outcome: Option<Outcome>,
}

/// The tasks of a worker.
pub(super) struct Tasks<F> {
    inbox: Arc<Inbox>,
    places: Box<[Place<F>]>,
}

impl<F: Future<Output = Outcome>> Tasks<F> {
    /// Places for all slots of a worker, and the bell watched.
    pub(super) fn new<P: Port>(worker: &mut Worker<P>) -> Result<Self, QueueError> {
        let setup = |source| QueueError::Setup { queue: 0, what: "make the tasks' inbox", source };
        let inbox = Inbox::new(worker.slots()).map_err(setup)?;
        let mut places = Vec::with_capacity(worker.slots() as usize);
        for slot in 0..worker.slots() {
            let Some(buffer) = worker.port.shared_buffer(slot) else {
                return Err(worker.ring_error(std::io::Error::from_raw_os_error(libc::EINVAL)));
            };
            let waker = SlotWaker { inbox: Arc::clone(&inbox), slot };
            places.push(Place {
                io: Rc::new(TaskIo::new(buffer)),
                waker: Waker::from(Arc::new(waker)),
                future: Box::pin(None),
                running: false,
                descriptor: None,
                outcome: None,
            });
        }
        let tasks = Self { inbox, places: places.into_boxed_slice() };
        tasks.watch(worker)?;
        Ok(tasks)
    }

    fn watch<P: Port>(&self, worker: &mut Worker<P>) -> Result<(), QueueError> {
        let armed = worker.port.arm_wake(self.inbox.bell());
        armed.map_err(|source| worker.ring_error(source))
    }

    /// Begins a request's task.
    pub(super) fn begin<P: Port>(
        &mut self,
        worker: &mut Worker<P>,
        slot: u32,
        descriptor: Descriptor,
        make: impl FnOnce(AsyncRequest) -> F,
    ) -> Result<(), QueueError> {
        if !worker.port.pass_to(slot, Holder::Task) {
            return worker.answer(slot, &descriptor, Answer::error(libc::EIO));
        }
        let metadata_len_bytes = worker.metadata_len_bytes(slot, &descriptor);
        let lane = worker.lane(slot);
        let stays = lane.leaves_bytes(&descriptor);
        let place = &mut self.places[slot as usize];
        let request = AsyncRequest {
            turn: place.io.begin(),
            io: Rc::clone(&place.io),
            descriptor,
            transfer: lane.transfer,
            has_bytes: lane.ignores_data || !stays,
            shared: descriptor.shared.filter(|_| stays),
            metadata_len_bytes,
            queue: lane.queue,
            tag: worker.tag_of(slot),
        };
        place.descriptor = Some(descriptor);
        place.outcome = None;
        // The target's own code may run, and panic, before there is a future.
        match catch_unwind(AssertUnwindSafe(|| make(request))) {
            Ok(future) => {
                place.future.as_mut().set(Some(future));
                place.running = true;
            }
            Err(panic) => {
                std::mem::forget(panic);
                worker.lane(slot).counters.panicked();
                place.outcome = Some(Outcome::of(Answer::error(libc::EIO)));
            }
        }
        self.poll(worker, slot)
    }

    /// An operation is done.
    pub(super) fn operation_done<P: Port>(
        &mut self,
        worker: &mut Worker<P>,
        slot: u32,
        index: u8,
        result: i32,
    ) -> Result<(), QueueError> {
        let Some(place) = self.places.get(slot as usize) else { return Ok(()) };
        place.io.done(index, result);
        self.poll(worker, slot)
    }

    /// Somebody rang.
    pub(super) fn woken<P: Port>(&mut self, worker: &mut Worker<P>) -> Result<(), QueueError> {
        let inbox = Arc::clone(&self.inbox);
        let mut result = Ok(());
        inbox.empty(|slot| {
            if result.is_ok() && (slot as usize) < self.places.len() {
                result = self.poll(worker, slot);
            }
        });
        result?;
        self.watch(worker)
    }

    /// Polls a task as long as that leads somewhere, and ends its request when it is over.
    fn poll<P: Port>(&mut self, worker: &mut Worker<P>, slot: u32) -> Result<(), QueueError> {
        let place = &mut self.places[slot as usize];
        loop {
            if place.outcome.is_none() && place.running {
                place.poll_once(worker, slot);
            }
            if !place.start_wanted(worker, slot) {
                break;
            }
        }
        if place.outcome.is_some() && !place.io.is_busy() {
            return place.finish(worker, slot);
        }
        Ok(())
    }
}

impl Outcome {
    pub(super) fn of(answer: Answer) -> Self {
        Self { answer, decision: CommitDecision::Commit(answer.result) }
    }
}

impl<F: Future<Output = Outcome>> Place<F> {
    /// A panic is an answer too, wherever in the target it happens.
    fn poll_once<P: Port>(&mut self, worker: &mut Worker<P>, slot: u32) {
        let mut context = Context::from_waker(&self.waker);
        let future = &mut self.future;
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Some(running) = future.as_mut().as_pin_mut() else { return Poll::Pending };
            running.poll(&mut context)
        }));
        let outcome = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(outcome)) => Some(outcome),
            Err(panic) => {
                std::mem::forget(panic);
                None
            }
        };
        self.running = false;
        let dropped = catch_unwind(AssertUnwindSafe(|| future.as_mut().set(None)));
        if let Err(panic) = dropped {
            std::mem::forget(panic);
        }
        self.outcome = Some(outcome.unwrap_or_else(|| {
            worker.lane(slot).counters.panicked();
            Outcome::of(Answer::error(libc::EIO))
        }));
    }

    /// Starts what the task wants. Whether one of it failed at once, so that the task can go on.
    fn start_wanted<P: Port>(&self, worker: &mut Worker<P>, slot: u32) -> bool {
        let mut go_on = false;
        while let Some((index, operation)) = self.io.next_wanted() {
            if let Err(error) = worker.port.start(slot, index, operation) {
                self.io.done(index, -error.raw_os_error().unwrap_or(libc::EIO));
                go_on = true;
            }
        }
        go_on && self.outcome.is_none()
    }

    fn finish<P: Port>(&mut self, worker: &mut Worker<P>, slot: u32) -> Result<(), QueueError> {
        let (Some(outcome), Some(descriptor)) = (self.outcome.take(), self.descriptor.take())
        else {
            return Ok(());
        };
        self.io.end();
        if self.io.registered.replace(false) {
            let unregistered = worker.port.unregister(slot);
            unregistered.map_err(|source| worker.ring_error(source))?;
        }
        if !worker.port.pass_to(slot, Holder::Queue) {
            let busy = std::io::Error::from_raw_os_error(libc::EBUSY);
            return Err(worker.ring_error(busy));
        }
        match outcome.decision {
            CommitDecision::Commit(result) => {
                let answer = Answer { result, ..outcome.answer };
                if worker.lane(slot).leaves_bytes(&descriptor) {
                    let answer = worker.return_metadata(slot, &descriptor, answer);
                    worker.settle(slot, &descriptor, answer)
                } else {
                    worker.answer(slot, &descriptor, answer)
                }
            }
            CommitDecision::CommitAfterNext(result) => {
                let answer = Answer { result, ..outcome.answer };
                let moved = worker.lane(slot).leaves_bytes(&descriptor);
                let answer = match moved {
                    true => worker.return_metadata(slot, &descriptor, answer),
                    false => answer,
                };
                worker.hold_back(slot, &descriptor, answer, moved)
            }
            CommitDecision::Never => {
                worker.lane(slot).counters.withheld();
                Ok(())
            }
        }
    }
}
