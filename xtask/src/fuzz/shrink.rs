//! Shrinks a sequence that costs the machine it runs on: each candidate gets a machine of its own, and the shrinker, which is
//! plain data, outlives them all.

use std::time::Instant;

use scenarios::fuzz::Act;
use scenarios::model::{Input, Shrinkable, Shrinker, Step};

use super::{Bench, REPLAY, REPLAY_ACTS};
use crate::error::Error;
use crate::interrupt;

/// Machines spent on one crash.
const MACHINES_MAX: u32 = 40;

/// The shortest form of `steps`, done again as `again` says, that still crashes `kernel` as `title` says, until `deadline`; none where the steps alone do
/// not crash it again.
pub(crate) fn shrink_crash<S: Shrinkable>(
    bench: &mut Bench<'_>,
    kernel: &str,
    steps: Vec<S>,
    again: fn(Vec<S>) -> (&'static str, Input),
    title: &str,
    deadline: Instant,
) -> Result<Option<Vec<S>>, Error> {
    if !crashes(bench, kernel, again(steps.clone()), title)? {
        return Ok(None);
    }
    let mut shrinker = Shrinker::new(steps);
    for machine in 0..MACHINES_MAX {
        if Instant::now() >= deadline || interrupt::requested() {
            break;
        }
        let Some(candidate) = shrinker.candidate() else { break };
        let crashed = crashes(bench, kernel, again(candidate.clone()), title)?;
        shrinker.verdict(crashed.then_some(candidate));
        bench.progress.line(&format!(
            "machine {} of at most {MACHINES_MAX}: {} steps crash it",
            machine + 1,
            shrinker.best().len()
        ));
    }
    Ok(Some(shrinker.best().to_vec()))
}

/// How a sequence of the model's is done again.
pub(crate) fn steps_again(steps: Vec<Step>) -> (&'static str, Input) {
    (REPLAY, Input { steps, ..Input::default() })
}

/// How a case of the fuzzer's is done again; several times, for much of it is a matter of time.
pub(crate) fn acts_again(acts: Vec<Act>) -> (&'static str, Input) {
    (REPLAY_ACTS, Input { acts, times: 20, ..Input::default() })
}

fn crashes(
    bench: &mut Bench<'_>,
    kernel: &str,
    (scenario, input): (&'static str, Input),
    title: &str,
) -> Result<bool, Error> {
    let end = bench.round(kernel, &[scenario], 1, &input)?;
    Ok(end.crash.as_deref() == Some(title))
}
