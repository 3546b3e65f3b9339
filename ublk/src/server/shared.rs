//! What the threads of a server tell each other: which queues are armed, which have ended and why, and
//! whether somebody wants the server to stop.

use std::sync::{Arc, PoisonError};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};

use thiserror::Error;

use crate::queue::QueueError;

/// Why a queue's thread ended before its device did.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueFailure {
    /// The queue could not go on.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The thread panicked outside of the target: a bug of this crate.
    #[error("the thread of queue {queue} panicked, which is a bug: {message}")]
    Panicked {
        /// The queue.
        queue: u16,
        /// What the panic said.
        message: String,
    },
    /// There is no thread for the queue.
    #[error("cannot start a thread for queue {queue}: {source}")]
    Spawn {
        /// The queue.
        queue: u16,
        /// Why not.
        source: std::io::Error,
    },
}

impl QueueFailure {
    /// Whether it is the consequence of a kill switch.
    pub(super) fn is_kill(&self) -> bool {
        matches!(self, Self::Queue(QueueError::Killed { .. }))
    }
}

/// Where a queue's thread is.
#[derive(Debug)]
enum QueueState {
    Starting,
    Armed,
    /// Ended, its ring closed. A failure is taken out once by whoever reports it.
    Ended(Option<QueueFailure>),
}

#[derive(Debug, Default)]
struct State {
    stop_requested: bool,
    queues: Vec<QueueState>,
    /// Stays, when the failure itself has been taken.
    any_failed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What a start waits for.
#[derive(Debug)]
pub(super) enum Startup {
    AllArmed,
    Failed(QueueFailure),
    StopRequested,
    /// A queue ended without a failure: the device was stopped by someone else.
    Ended,
}

/// Why [`Server::wait`](super::Server::wait) returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wake {
    /// A [`StopHandle`] asked for it.
    StopRequested,
    /// Every queue has ended, for somebody else stopped or deleted the device.
    DeviceStopped,
    /// Every queue has ended, for somebody else quiesced the device: leave it to the next server by
    /// [`Server::detach`](super::Server::detach).
    DeviceQuiesced,
    /// A queue failed; its requests wait until the server is stopped.
    QueueFailed,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expect_queues(&self, count: usize) {
        self.lock().queues = (0..count).map(|_| QueueState::Starting).collect();
    }

    pub(super) fn armed(&self, index: usize) {
        if let Some(queue) = self.lock().queues.get_mut(index) {
            *queue = QueueState::Armed;
        }
        self.changed.notify_all();
    }

    pub(super) fn ended(&self, index: usize, failure: Option<QueueFailure>) {
        let mut state = self.lock();
        state.any_failed |= failure.is_some();
        if let Some(queue) = state.queues.get_mut(index) {
            *queue = QueueState::Ended(failure);
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn request_stop(&self) {
        self.lock().stop_requested = true;
        self.changed.notify_all();
    }

    /// Looks until there is an answer, or the timeout is over; for ever without one.
    fn wait_for<T>(
        &self,
        timeout: Option<Duration>,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Until all queues are armed, or one never will be.
    pub(super) fn wait_startup(&self, timeout: Duration) -> Option<Startup> {
        self.wait_for(Some(timeout), |state| {
            if let Some(trouble) = state.trouble() {
                return Some(trouble);
            }
            let armed = state.queues.iter().all(|queue| matches!(queue, QueueState::Armed));
            armed.then_some(Startup::AllArmed)
        })
    }

    /// Whether the start has become pointless by now.
    pub(super) fn startup_trouble(&self) -> Option<Startup> {
        self.lock().trouble()
    }

    /// Until all queues have ended.
    pub(super) fn wait_all_ended(&self, timeout: Duration) -> bool {
        self.wait_for(Some(timeout), |state| state.all_ended().then_some(())).is_some()
    }

    /// The queues that have not ended.
    pub(super) fn running(&self) -> Vec<u16> {
        let state = self.lock();
        let running = |(index, queue): (usize, &QueueState)| {
            (!matches!(queue, QueueState::Ended(_))).then_some(index as u16)
        };
        state.queues.iter().enumerate().filter_map(running).collect()
    }

    /// How many queues have not fetched all their tags.
    pub(super) fn not_armed(&self) -> usize {
        let state = self.lock();
        state.queues.iter().filter(|queue| matches!(queue, QueueState::Starting)).count()
    }

    /// Takes out every failure that was not yet reported.
    pub(super) fn take_failures(&self) -> Vec<QueueFailure> {
        let take = |queue: &mut QueueState| match queue {
            QueueState::Ended(failure) => failure.take(),
            _ => None,
        };
        self.lock().queues.iter_mut().filter_map(take).collect()
    }

    /// Until the server has a reason to stop.
    pub(super) fn wait_wake(&self, timeout: Option<Duration>) -> Option<Wake> {
        self.wait_for(timeout, |state| {
            if state.any_failed {
                Some(Wake::QueueFailed)
            } else if state.stop_requested {
                Some(Wake::StopRequested)
            } else {
                state.all_ended().then_some(Wake::DeviceStopped)
            }
        })
    }
}

impl State {
    fn all_ended(&self) -> bool {
        self.queues.iter().all(|queue| matches!(queue, QueueState::Ended(_)))
    }

    fn trouble(&mut self) -> Option<Startup> {
        for queue in &mut self.queues {
            if let QueueState::Ended(failure) = queue {
                return Some(failure.take().map_or(Startup::Ended, Startup::Failed));
            }
        }
        self.stop_requested.then_some(Startup::StopRequested)
    }
}

/// Asks a server to stop, from any thread; works before it has started, too.
#[derive(Clone, Debug)]
pub struct StopHandle(pub(super) Arc<Shared>);

impl StopHandle {
    /// Ends [`Server::wait`](super::Server::wait), or a start that is under way.
    pub fn request_stop(&self) {
        self.0.request_stop();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    fn killed(queue: u16) -> QueueFailure {
        QueueFailure::Queue(QueueError::Killed { queue })
    }

    #[test]
    fn a_start_waits_for_the_last_queue_and_no_longer() {
        let shared = Shared::default();
        shared.expect_queues(2);
        shared.armed(1);
        assert!(shared.wait_startup(SHORT).is_none());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(SHORT);
                shared.armed(0);
            });
            assert!(matches!(shared.wait_startup(LONG), Some(Startup::AllArmed)));
        });
    }

    #[test]
    fn a_queue_that_fails_ends_the_start_with_its_reason() {
        let shared = Shared::default();
        shared.expect_queues(2);
        shared.armed(0);
        shared.ended(1, Some(killed(1)));
        match shared.wait_startup(LONG) {
            Some(Startup::Failed(failure)) => {
                assert_eq!(failure.to_string(), "queue 1 was ended by force");
            }
            other => panic!("{other:?}"),
        }
        // Taken once; the fact stays.
        assert!(shared.take_failures().is_empty());
        assert_eq!(shared.wait_wake(Some(LONG)), Some(Wake::QueueFailed));
        assert_eq!(shared.running(), [0]);
    }

    #[test]
    fn a_stop_is_not_lost_when_it_comes_before_the_wait() {
        let shared = Arc::new(Shared::default());
        shared.expect_queues(1);
        assert_eq!(shared.wait_wake(Some(SHORT)), None);
        StopHandle(Arc::clone(&shared)).request_stop();
        assert!(matches!(shared.wait_startup(LONG), Some(Startup::StopRequested)));
        assert_eq!(shared.wait_wake(None), Some(Wake::StopRequested));
    }

    #[test]
    fn a_device_that_someone_else_stopped_wakes_the_server() {
        let shared = Shared::default();
        shared.expect_queues(2);
        shared.ended(0, None);
        assert_eq!(shared.wait_wake(Some(SHORT)), None);
        assert!(!shared.wait_all_ended(SHORT));
        shared.ended(1, None);
        assert_eq!(shared.wait_wake(Some(LONG)), Some(Wake::DeviceStopped));
        assert!(shared.wait_all_ended(LONG));
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p ublk --lib loom_tests`
///
/// In loom's time no timeout is ever over: a wait that misses its word hangs, and loom calls that a
/// deadlock.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(1000);

    fn shared(queues: usize) -> Arc<Shared> {
        let shared = Arc::new(Shared::default());
        shared.expect_queues(queues);
        shared
    }

    #[test]
    fn a_start_hears_of_the_last_queue() {
        loom::model(|| {
            let shared = shared(2);
            let queues: Vec<_> = (0..2)
                .map(|index| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.armed(index))
                })
                .collect();
            assert!(matches!(shared.wait_startup(LONG), Some(Startup::AllArmed)));
            queues.into_iter().for_each(|queue| queue.join().unwrap());
        });
    }

    /// Somebody stops the server while a queue fails: one of both is told, and the failure is not lost.
    #[test]
    fn a_start_that_ends_badly_says_why() {
        loom::model(|| {
            let shared = shared(1);
            let queue = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.armed(0);
                    shared.ended(0, Some(QueueError::Killed { queue: 0 }.into()));
                })
            };
            let stop = StopHandle(Arc::clone(&shared));
            let stopper = thread::spawn(move || stop.request_stop());
            let told = shared.wait_startup(LONG);
            queue.join().unwrap();
            stopper.join().unwrap();
            let kept = shared.take_failures().len();
            match told {
                Some(Startup::Failed(_)) => assert_eq!(kept, 0),
                Some(Startup::AllArmed | Startup::StopRequested) => assert_eq!(kept, 1),
                other => panic!("{other:?}"),
            }
            assert_eq!(shared.wait_wake(None), Some(Wake::QueueFailed));
        });
    }

    #[test]
    fn a_server_hears_of_a_stop_and_of_its_queues_end() {
        loom::model(|| {
            let shared = shared(1);
            let stop = StopHandle(Arc::clone(&shared));
            let stopper = thread::spawn(move || stop.request_stop());
            let queue = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.ended(0, None))
            };
            let wake = shared.wait_wake(None);
            assert!(matches!(wake, Some(Wake::StopRequested | Wake::DeviceStopped)), "{wake:?}");
            assert!(shared.wait_all_ended(LONG));
            assert!(shared.running().is_empty());
            stopper.join().unwrap();
            queue.join().unwrap();
        });
    }
}
