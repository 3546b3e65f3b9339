//! A start that is under way: threads that fetch and a START_DEV that waits for them, either of which may fail first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::door::Door;
use super::launch::Unstarted;
use super::shared::{Shared, Startup};
use super::start_error::StartError;
use super::workers::Workers;
use crate::device::{Device, Live, StartProgress, Starting};
use crate::queue::QueueTicket;

/// How long the start waits for the kernel at a time before it looks at its queues again. Only while
/// starting; a live server has no timer.
const START_SLICE: Duration = Duration::from_millis(20);
/// How long threads may take to end after a start failed.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// In which order tags are fetched and START_DEV is submitted. The kernel takes all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartupOrder {
    /// Fetch every tag, then start.
    #[default]
    FetchThenStart,
    /// Submit the start, then fetch; it completes with the last tag.
    StartThenFetch,
    /// Submit the start while the queues' threads fetch.
    Concurrent,
}

/// A start that is under way.
pub(super) struct Attempt<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) door: &'a Arc<dyn Door>,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    pub(super) threads: usize,
}

/// A start that failed, with the device where it is still there: it is dropped after its queues.
struct Aborted {
    starting: Option<Box<Device<Starting>>>,
    error: StartError,
}

impl Attempt<'_> {
    /// Starts the threads and the device, in that order or another; whatever fails, neither is left behind.
    pub(super) fn run(
        &self,
        device: Unstarted,
        hands: Vec<Vec<QueueTicket>>,
        order: StartupOrder,
    ) -> Result<(Device<Live>, Workers), StartError> {
        let spawn = |hands| Workers::spawn(hands, self.door, self.shared);
        let kill_switch = device.kill_switch();
        // Whatever fails from here on: queues first, for the device cannot go while they hold it.
        let abort = |workers: Workers, error: StartError| {
            kill_switch.cut();
            let _ = workers.join(ABORT_TIMEOUT);
            Err(error)
        };
        let (starting, workers) = match order {
            StartupOrder::StartThenFetch => {
                let starting = device.begin()?;
                (starting, spawn(hands))
            }
            StartupOrder::Concurrent => {
                let workers = spawn(hands);
                match device.begin() {
                    Ok(starting) => (starting, workers),
                    Err(error) => return abort(workers, error.into()),
                }
            }
            StartupOrder::FetchThenStart => {
                let workers = spawn(hands);
                let armed = self.shared.wait_startup(self.left());
                match self.check(armed) {
                    Ok(()) => {}
                    Err(error) => {
                        let aborted = abort(workers, error);
                        drop(device);
                        return aborted;
                    }
                }
                match device.begin() {
                    Ok(starting) => (starting, workers),
                    Err(error) => return abort(workers, error.into()),
                }
            }
        };
        match self.finish(starting) {
            Ok(live) => Ok((live, workers)),
            Err(Aborted { starting, error }) => {
                let aborted = abort(workers, error);
                drop(starting);
                aborted
            }
        }
    }

    /// Waits for START_DEV, with an eye on the queues: one that fails would keep it waiting for ever.
    fn finish(&self, mut starting: Device<Starting>) -> Result<Device<Live>, Aborted> {
        loop {
            starting = match starting.wait(START_SLICE.min(self.left())) {
                Ok(StartProgress::Live(live)) => return Ok(live),
                Ok(StartProgress::Pending(starting)) => starting,
                Err(error) => {
                    // A queue's failure is the cause, the kernel's refusal then its consequence.
                    let trouble = self.shared.startup_trouble();
                    let error = self.check(trouble).err().unwrap_or(error.into());
                    return Err(Aborted { starting: None, error });
                }
            };
            if let Some(trouble) = self.shared.startup_trouble()
                && let Err(error) = self.check(Some(trouble))
            {
                return Err(Aborted { starting: Some(Box::new(starting)), error });
            }
            if self.left().is_zero() {
                let starting = Some(Box::new(starting));
                return Err(Aborted { starting, error: self.timed_out() });
            }
        }
    }

    fn check(&self, startup: Option<Startup>) -> Result<(), StartError> {
        match startup {
            Some(Startup::AllArmed) => Ok(()),
            Some(Startup::Failed(failure)) => Err(StartError::Queue(failure)),
            Some(Startup::StopRequested) => Err(StartError::Interrupted),
            Some(Startup::Ended) => Err(StartError::StoppedMeanwhile),
            None => Err(self.timed_out()),
        }
    }

    fn timed_out(&self) -> StartError {
        let missing = self.shared.not_armed();
        StartError::TimedOut { timeout: self.timeout, missing, threads: self.threads }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
