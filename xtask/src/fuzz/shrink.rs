//! Shrinks a sequence that costs the machine it runs on: each candidate gets a machine of its own, and the shrinker, which is
//! plain data, outlives them all.

use std::time::Instant;

use scenarios::fuzz::Act;
use scenarios::model::{Input, Shrinkable, Shrinker, Step};

use super::{Bench, LastCase, REPLAY, REPLAY_ACTS};
use crate::error::Error;
use crate::interrupt;

/// Machines spent on one crash.
const MACHINES_MAX: u32 = 40;

/// Steps beyond the last that was told, which are tried first.
const SLACKS: [usize; 2] = [1, 6];

/// The shortest form of `steps`, done again as `again` says, that still crashes `kernel` as `title` says, until `deadline`;
/// none where the steps alone do
/// not crash it again.
pub(crate) fn shrink_crash<S: Shrinkable>(
    bench: &mut Bench<'_>,
    kernel: &str,
    steps: Vec<S>,
    again: fn(Vec<S>) -> (&'static str, Input),
    title: &str,
    deadline: Instant,
) -> Result<Option<Vec<S>>, Error> {
    let mut steps = steps;
    let Some(told) = crashes(bench, kernel, again(steps.clone()), title)? else { return Ok(None) };
    // What was begun last may not have been told any more, or the kernel died of it some steps later.
    for slack in SLACKS {
        let first = &steps[..steps.len().min(told + slack)];
        let shorter = first.len() < steps.len();
        if shorter && crashes(bench, kernel, again(first.to_vec()), title)?.is_some() {
            steps = first.to_vec();
            break;
        }
    }
    bench.progress.line(&format!("it crashes again, within {} steps", steps.len()));
    let mut shrinker = Shrinker::new(steps);
    for machine in 0..MACHINES_MAX {
        if Instant::now() >= deadline || interrupt::requested() {
            break;
        }
        let Some(candidate) = shrinker.candidate() else { break };
        let crashed = crashes(bench, kernel, again(candidate.clone()), title)?;
        shrinker.verdict(crashed.map(|_| candidate));
        bench.progress.line(&format!(
            "machine {} of at most {MACHINES_MAX}: {} steps crash it",
            machine + 1,
            shrinker.best().len()
        ));
    }
    Ok(Some(shrinker.best().to_vec()))
}

/// How a sequence of the model's is done again. What takes a machine may be what the model would leave out.
pub(crate) fn steps_again(steps: Vec<Step>) -> (&'static str, Input) {
    (REPLAY, Input { steps, bold: true, ..Input::default() })
}

/// How a case of the fuzzer's is done again; several times, for much of it is a matter of time.
pub(crate) fn acts_again(acts: Vec<Act>) -> (&'static str, Input) {
    (REPLAY_ACTS, Input { acts, times: 20, ..Input::default() })
}

/// How many of the steps had been begun, as far as was told, when it crashed; none where it did not, or elsewhere.
fn crashes(
    bench: &mut Bench<'_>,
    kernel: &str,
    (scenario, input): (&'static str, Input),
    title: &str,
) -> Result<Option<usize>, Error> {
    let end = bench.round(kernel, &[scenario], 1, &input)?;
    let told = end.last.as_ref().map_or(0, LastCase::len);
    Ok((end.crash.as_deref() == Some(title)).then_some(told))
}
