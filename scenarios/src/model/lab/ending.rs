//! What is done with what cannot be ended step by step: commands that only their sender's death ends, and ruins.

use std::time::{Duration, Instant};

use ublk::ctrl::{Command, Control};

use super::compare::Closely;
use super::steps::result_of;
use super::{LOOK_AGAIN, Lab, Trouble, differs};
use crate::context::{During, Stop};
use crate::model::step::Step;
use crate::model::world::World;

impl Lab {
    /// A control command that the model has no opinion on: its result, or none in `patience`, and then it is left to itself.
    pub(in super::super) fn ask(
        &mut self,
        step: &Step,
        patience: Duration,
    ) -> Result<Option<i32>, Stop> {
        let command = self.control_command(step);
        let command =
            command.ok_or_else(|| Stop::error(format_args!("no control command: {step}")))?;
        let pending = self.control.submit(command).map_err(Stop::error)?;
        let result = result_of(self.control.wait(&pending, patience))?;
        if result.is_none() {
            self.control.abandon(pending);
        }
        Ok(result)
    }

    /// Ends what the model says can only be interrupted: commands that wait for a server that nobody can start.
    pub(in super::super) fn interrupt(&mut self, world: &mut World) -> Result<(), Trouble> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending.clear();
        self.control = Control::open().during("open the control device")?;
        world.interrupt();
        self.compare(world, Closely::All)
    }

    /// A case that is over has an answer to each of its commands. One that nobody came for would keep its place in the ring, and
    /// a long run would end when there are no places left, far from the case that has taken them.
    pub(in super::super) fn nothing_is_pending(&mut self) -> Result<(), Trouble> {
        let begin = Instant::now();
        loop {
            let left = self.control.occupied().during("count control commands")?;
            if left == 0 {
                return Ok(());
            }
            // One that was given up for being slow is answered yet.
            if begin.elapsed() >= self.patience {
                let expected = "every control command of the case was answered and collected";
                return Err(differs(expected, format_args!("{left} were not")));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Removes whatever is there, after a failure: nobody knows any more what it is.
    pub(in super::super) fn sweep(&mut self, world: &World) -> Result<(), Stop> {
        self.servers = world.alive.iter().map(|_| None).collect();
        self.pending.clear();
        self.control = Control::open().during("open the control device")?;
        let timeout = Duration::from_secs(3);
        let ids =
            (0..world.devices.len()).map(|dev| Self::id(u8::try_from(dev).unwrap_or(u8::MAX)));
        let ids: Vec<u32> = ids.collect();
        let mut deletions = Vec::new();
        for dev_id in &ids {
            deletions.push(self.control.submit(Command::DelDev { dev_id: *dev_id })?);
        }
        // Requests that no server answers fail as the disks go; then nothing holds the block devices.
        std::thread::sleep(Duration::from_millis(50));
        self.blocks = world.devices.iter().map(|_| Default::default()).collect();
        for deletion in deletions {
            let gone = result_of(self.control.wait(&deletion, timeout))?;
            if gone.is_none() {
                return Err(Stop::fail(
                    reports::event::FailureKind::Leak,
                    "a device cannot be deleted after its servers were killed",
                ));
            }
        }
        self.collect_reads(Duration::ZERO)?;
        self.read_results.clear();
        Ok(())
    }
}
