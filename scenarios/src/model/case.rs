//! One case: a sequence is done on the kernel from an empty world to an empty world.

use std::time::Duration;

use reports::event::FailureKind;
use serde::{Deserialize, Serialize};

use super::lab::{Lab, Trouble};
use super::step::{Step, numbered};
use super::world::World;
use crate::context::Stop;

/// How long the end of a case is watched for answers that should not come.
const QUIET: Duration = Duration::from_millis(4);

/// Where model and kernel parted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Steps that were done; the last one is where it showed.
    pub steps: Vec<Step>,
    /// Steps of the clean-up that followed, where it showed only there.
    pub cleanup: Vec<Step>,
    /// What the model says.
    pub expected: String,
    /// What the kernel did.
    pub observed: String,
}

impl Difference {
    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = numbered(&self.steps);
        if !self.cleanup.is_empty() {
            text.push_str("     then, cleaning up:\n");
            text.push_str(&numbered(&self.cleanup));
        }
        format!("{text}expected: {}\nobserved: {}\n", self.expected, self.observed)
    }
}

/// Runs `steps`, leaving out those that `world` forbids when it comes to them. A difference is swept away.
pub(super) fn run(
    lab: &mut Lab,
    world: &World,
    steps: &[Step],
) -> Result<Option<Difference>, Stop> {
    run_telling(lab, world, steps, &mut |_| {})
}

/// The same; before each step `tell` is told its number, from 1, among those that are done.
pub(super) fn run_telling(
    lab: &mut Lab,
    world: &World,
    steps: &[Step],
    tell: &mut dyn FnMut(usize),
) -> Result<Option<Difference>, Stop> {
    let mut state = world.clone();
    let mut done = Vec::new();
    let mut cleanup = Vec::new();
    let result = all(lab, &mut state, steps, tell, &mut done, &mut cleanup);
    let (expected, observed) = match result {
        Ok(()) => return Ok(None),
        // A server that does not reply is the kernel's doing as a rule.
        Err(Trouble::Broken(stop)) => ("the test goes on".into(), stop.to_string()),
        Err(Trouble::Differs { expected, observed }) => (expected, observed),
    };
    let difference = Difference { steps: done, cleanup, expected, observed };
    // Where not even that works nothing can be made shorter; what was found first is told all the same.
    lab.sweep(world).map_err(|stop| {
        let Difference { steps, expected, observed, .. } = &difference;
        let what = format!("after {} steps: expected {expected}, observed {observed}", steps.len());
        Stop::fail(FailureKind::Leak, format!("{what}; then: {stop}"))
    })?;
    Ok(Some(difference))
}

fn all(
    lab: &mut Lab,
    world: &mut World,
    steps: &[Step],
    tell: &mut dyn FnMut(usize),
    done: &mut Vec<Step>,
    cleanup: &mut Vec<Step>,
) -> Result<(), Trouble> {
    for step in steps {
        if world.forbids(step).is_none() {
            done.push(*step);
            tell(done.len());
            lab.step(world, step)?;
        }
    }
    lab.watch(world, QUIET)?;
    clean(lab, world, cleanup)
}

/// Takes everything down, step by step, as the model says it goes.
pub(super) fn clean(lab: &mut Lab, world: &mut World, done: &mut Vec<Step>) -> Result<(), Trouble> {
    // Whatever a step was to show, it has.
    world.bold = false;
    // Twice: with many commands held back the first time round only makes room.
    for _ in 0..2 {
        delete_all(lab, world, done)?;
        lab.interrupt(world)?;
    }
    match world.devices.iter().position(Option::is_some) {
        None => lab.nothing_is_pending(),
        Some(dev) => Err(Trouble::Differs {
            expected: "no device is left".into(),
            observed: format!("the model keeps device {dev}: {:?}", world.devices[dev]),
        }),
    }
}

fn delete_all(lab: &mut Lab, world: &mut World, done: &mut Vec<Step>) -> Result<(), Trouble> {
    let devices = u8::try_from(world.devices.len()).unwrap_or(u8::MAX);
    for dev in 0..devices {
        let opener = world.device(dev).and_then(|device| device.opener);
        let closing = Step::CloseChar { dev };
        let leave = match opener {
            Some(server) if world.forbids(&closing).is_some() => Step::KillServer { server },
            _ => closing,
        };
        let close = |client| Step::CloseBlock { dev, client };
        let order = [Step::Answer { dev }, leave, Step::Del { dev }, close(0), close(1)];
        for step in order {
            if world.device(dev).is_some() && world.forbids(&step).is_none() {
                done.push(step);
                lab.step(world, &step)?;
            }
        }
    }
    Ok(())
}
