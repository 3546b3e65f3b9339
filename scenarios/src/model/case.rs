//! One case: a sequence is done on the kernel from an empty world to an empty world.

use std::time::Duration;

use reports::event::FailureKind;
use serde::{Deserialize, Serialize};

use super::device::Device;
use super::lab::{Lab, Trouble};
use super::step::{Step, numbered};
use super::world::World;
use crate::context::{Context, Stop};

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

/// What is told of a case while it runs: a machine that is lost tells nothing afterwards.
#[derive(Debug)]
pub(super) enum Told<'a> {
    /// The step of that number, from 1, among those that are done, comes next.
    At(usize),
    /// Model and kernel differ; what is left will be swept away, as far as it can be.
    Differs(&'a Difference),
}

impl Told<'_> {
    pub(super) fn say(&self, context: &mut Context) {
        match self {
            Self::At(number) => context.step(format_args!("at {number}")),
            Self::Differs(Difference { expected, observed, .. }) => {
                context.step(format_args!("expected {expected}, observed {observed}"));
            }
        }
    }
}

/// Runs `steps`, leaving out those that `world` forbids when it comes to them. A difference is told, and swept away.
pub(super) fn run(
    context: &mut Context,
    lab: &mut Lab,
    world: &World,
    steps: &[Step],
) -> Result<Option<Difference>, Stop> {
    run_telling(lab, world, steps, &mut |told| {
        if matches!(told, Told::Differs(_)) {
            told.say(context);
        }
    })
}

/// The same, where the caller chooses what is said of it.
pub(super) fn run_telling(
    lab: &mut Lab,
    world: &World,
    steps: &[Step],
    tell: &mut dyn FnMut(Told<'_>),
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
    tell(Told::Differs(&difference));
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
    tell: &mut dyn FnMut(Told<'_>),
    done: &mut Vec<Step>,
    cleanup: &mut Vec<Step>,
) -> Result<(), Trouble> {
    for step in steps {
        if world.forbids(step).is_none() {
            done.push(*step);
            tell(Told::At(done.len()));
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
    // Of all of them first: a server may have several.
    for dev in 0..devices {
        empty_slots(lab, world, dev, done)?;
    }
    for dev in 0..devices {
        let opener = world.device(dev).and_then(|device| device.opener);
        let closing = Step::CloseChar { dev };
        let leave = match opener {
            Some(server) if world.forbids(&closing).is_some() => Step::KillServer { server },
            _ => closing,
        };
        let close = |client| Step::CloseBlock { dev, client };
        let order = [leave, Step::Del { dev }, close(0), close(1)];
        for step in order {
            do_if_allowed(lab, world, step, done)?;
        }
    }
    Ok(())
}

/// Answers what can be, and unregisters the pages of what is: with those its server must not leave.
fn empty_slots(
    lab: &mut Lab,
    world: &mut World,
    dev: u8,
    done: &mut Vec<Step>,
) -> Result<(), Trouble> {
    do_if_allowed(lab, world, Step::Answer { dev }, done)?;
    while world.device(dev).is_some_and(Device::has_committed) {
        let step = Step::Unregister { dev };
        if !do_if_allowed(lab, world, step, done)? {
            break;
        }
    }
    Ok(())
}

/// Whether it was.
fn do_if_allowed(
    lab: &mut Lab,
    world: &mut World,
    step: Step,
    done: &mut Vec<Step>,
) -> Result<bool, Trouble> {
    let dev = step.dev();
    let allowed =
        dev.is_none_or(|dev| world.device(dev).is_some()) && world.forbids(&step).is_none();
    if allowed {
        done.push(step);
        lab.step(world, &step)?;
    }
    Ok(allowed)
}
