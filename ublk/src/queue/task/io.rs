//! What a task and the executor tell each other about one slot: operations the task wants, results the
//! kernel gave. Cells and no lock, for both are on one thread; a turn number, so that whatever a task
//! kept of an earlier request finds the door shut.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::sys::gate::SharedBuffer;
use crate::sys::worker_ring::Operation;
use crate::target::Extents;

/// Operations that one request can have under way at once.
pub(super) const OPERATIONS_MAX: usize = 8;

/// One of a slot's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    /// The task wants it.
    Wanted(Operation),
    /// The kernel has it.
    Started,
    /// The kernel has it, and nobody waits for it any more.
    Abandoned,
    Done(i32),
}

/// The meeting place of one slot.
pub(super) struct TaskIo {
    pub(super) buffer: SharedBuffer,
    operations: [Cell<State>; OPERATIONS_MAX],
    /// Which request this is; even while there is none.
    turn: Cell<u64>,
    /// How many the kernel has.
    started: Cell<u8>,
    /// The request's pages were registered by hand and have to be taken out before it is committed.
    pub(super) registered: Cell<bool>,
    /// Memory for extents, kept from request to request.
    extents: Cell<Extents>,
}

impl std::fmt::Debug for TaskIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskIo")
            .field("turn", &self.turn.get())
            .field("started", &self.started.get())
            .finish_non_exhaustive()
    }
}

impl TaskIo {
    pub(super) fn new(buffer: SharedBuffer) -> Self {
        Self {
            buffer,
            operations: Default::default(),
            turn: Cell::new(0),
            started: Cell::new(0),
            registered: Cell::new(false),
            extents: Cell::new(Extents::new()),
        }
    }

    /// A new request has the slot.
    pub(super) fn begin(&self) -> u64 {
        self.turn.set(self.turn.get() + 1);
        self.turn.get()
    }

    /// It has none any more.
    pub(super) fn end(&self) {
        self.turn.set(self.turn.get() + 1);
        for operation in &self.operations {
            operation.set(State::Free);
        }
    }

    pub(super) fn is_turn(&self, turn: u64) -> bool {
        self.turn.get() == turn
    }

    /// Whether the kernel has an operation.
    pub(super) fn is_busy(&self) -> bool {
        self.started.get() > 0
    }

    /// Takes out what the task wants done next.
    pub(super) fn next_wanted(&self) -> Option<(u8, Operation)> {
        for (index, cell) in self.operations.iter().enumerate() {
            if let State::Wanted(operation) = cell.get() {
                cell.set(State::Started);
                self.started.set(self.started.get() + 1);
                return Some((index as u8, operation));
            }
        }
        None
    }

    /// The kernel is done with an operation, or never had it.
    pub(super) fn done(&self, index: u8, result: i32) {
        let Some(cell) = self.operations.get(usize::from(index)) else { return };
        match cell.get() {
            State::Started => cell.set(State::Done(result)),
            State::Abandoned => cell.set(State::Free),
            State::Free | State::Wanted(_) | State::Done(_) => return,
        }
        self.started.set(self.started.get().saturating_sub(1));
    }

    /// Takes the memory for extents; it is given back with [`keep_extents`](Self::keep_extents).
    pub(super) fn take_extents(&self) -> Extents {
        self.extents.take()
    }

    pub(super) fn keep_extents(&self, mut extents: Extents) {
        extents.clear();
        self.extents.set(extents);
    }
}

/// An operation of a request, from the wish to the result. Dropped before its end, the operation goes on
/// and its result is forgotten; the request is answered when it is over.
#[derive(Debug)]
pub(super) struct Running {
    io: Rc<TaskIo>,
    turn: u64,
    operation: Operation,
    /// Where it is, once there was room for it.
    index: Option<u8>,
}

impl Running {
    pub(super) fn new(io: Rc<TaskIo>, turn: u64, operation: Operation) -> Self {
        let mut running = Self { io, turn, operation, index: None };
        running.enlist();
        running
    }

    fn enlist(&mut self) {
        if self.index.is_some() || !self.io.is_turn(self.turn) {
            return;
        }
        let free = self.io.operations.iter().position(|cell| cell.get() == State::Free);
        if let Some(index) = free {
            self.io.operations[index].set(State::Wanted(self.operation));
            self.index = Some(index as u8);
        }
    }
}

impl Future for Running {
    type Output = io::Result<i32>;

    /// No waker is kept: a task is polled again whenever one of its operations is done.
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.enlist();
        if !self.io.is_turn(self.turn) {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECANCELED)));
        }
        let Some(index) = self.index else { return Poll::Pending };
        let cell = &self.io.operations[usize::from(index)];
        let State::Done(result) = cell.get() else { return Poll::Pending };
        cell.set(State::Free);
        self.index = None;
        Poll::Ready(if result < 0 {
            Err(io::Error::from_raw_os_error(-result))
        } else {
            Ok(result)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(index) = self.index else { return };
        if !self.io.is_turn(self.turn) {
            return;
        }
        let cell = &self.io.operations[usize::from(index)];
        cell.set(match cell.get() {
            State::Started => State::Abandoned,
            _ => State::Free,
        });
    }
}
