//! `model/replay`: the steps of a reproducer, once. Not in the catalogue's list: without steps there is nothing to run.

use reports::event::FailureKind;

use super::case::{self, Told};
use super::input::Input;
use super::lab::Lab;
use super::sequences::{DEVICES, PATIENCE, SERVERS, announce, empty};
use crate::context::{Context, Stop};

pub(super) fn run(context: &mut Context) -> Result<String, Stop> {
    let input = Input::read()?;
    if input.steps.is_empty() {
        return Err(Stop::error("there are no steps to replay"));
    }
    let world = empty(context, DEVICES, SERVERS)?;
    let mut lab = Lab::new(&world, PATIENCE)?;
    let times = input.times.max(1);
    let mut failures = Vec::new();
    for time in 1..=times {
        announce(context, &input.steps);
        // Before it runs: the host counts it also where the machine does not live to tell.
        context.step(format_args!("replay {time}, failed {}", failures.len()));
        let mut tell = |told: Told<'_>| {
            if input.bold || matches!(told, Told::Differs(_)) {
                told.say(context);
            }
        };
        failures.extend(case::run_telling(&mut lab, &world, &input.steps, &mut tell)?);
    }
    context.step(format_args!("replayed {times}, failed {}", failures.len()));
    let what = "the kernel does as the model says";
    context.check(FailureKind::State, what, failures.is_empty()).or_else(|_| {
        let first = failures.first().ok_or_else(|| Stop::error("a failure without a cause"))?;
        context.evidence("steps", &first.to_text());
        let (expected, observed) = (&first.expected, &first.observed);
        let message =
            format!("{} of {times}: expected {expected}, observed {observed}", failures.len());
        Err(Stop::fail(FailureKind::State, message))
    })?;
    Ok(format!("{} steps, as the model says", lab.steps))
}
