//! Several control commands at once, and which of the model's ways it was.

use std::time::{Duration, Instant};

use ublk::ctrl::Pending;

use super::compare::Closely;
use super::steps::result_of;
use super::{LOOK_AGAIN, Lab, Trouble, differs};
use crate::context::Stop;
use crate::model::concurrent::{self, Way};
use crate::model::step::Step;
use crate::model::world::World;

/// How long a command is watched before it counts as held back.
const HELD_BACK: Duration = Duration::from_millis(15);

impl Lab {
    /// Sends all these control commands before any is answered, and finds out which of `ways` it was. The world after it.
    pub(in super::super) fn at_once(
        &mut self,
        steps: &[Step],
        ways: &[Way],
    ) -> Result<World, Trouble> {
        let mut pending = Vec::new();
        for step in steps {
            self.steps += 1;
            if let Step::Start { server, .. } | Step::EndRecovery { server, .. } = *step {
                self.server(server)?;
            }
            let command = self.control_command(step);
            let command = command.ok_or_else(|| Stop::error("not a control command"))?;
            pending.push(Some(self.control.submit(command).map_err(Stop::error)?));
        }
        let told: Vec<String> = ways.iter().map(concurrent::results).collect();
        let expected = told.join("; or ");
        let mut results = vec![None; steps.len()];
        let begin = Instant::now();
        loop {
            // One that is not answered may be held back, or not have begun: a worker may be late.
            let mut look = LOOK_AGAIN;
            while self.collect(&mut pending, &mut results, look)? || look == LOOK_AGAIN {
                look = HELD_BACK;
            }
            // The results may be those of several ways; then what can be seen of the device decides.
            for way in ways.iter().filter(|way| concurrent::explains(way, &results)) {
                if self.difference(&way.world, Closely::All)?.is_none() {
                    self.hold_back(way, &mut pending);
                    return Ok(way.world.clone());
                }
            }
            if begin.elapsed() >= self.patience {
                let observed = concurrent::came(&results);
                return Err(differs(
                    expected,
                    format_args!("{observed}, and the device fits none"),
                ));
            }
        }
    }

    /// Takes in what was answered; whether anything was, within about `wait` each.
    fn collect(
        &mut self,
        pending: &mut [Option<Pending>],
        results: &mut [Option<i32>],
        wait: Duration,
    ) -> Result<bool, Stop> {
        let mut came = false;
        for (place, result) in pending.iter_mut().zip(results) {
            let Some(waits) = place else { continue };
            *result = result_of(self.control.wait(waits, wait))?;
            if result.is_some() {
                (*place, came) = (None, true);
            }
        }
        Ok(came)
    }

    fn hold_back(&mut self, way: &Way, pending: &mut [Option<Pending>]) {
        for (slot, pending) in way.slots.iter().zip(pending) {
            if let (Some(slot), Some(pending)) = (slot, pending.take()) {
                self.pending.insert(*slot, pending);
            }
        }
    }
}
