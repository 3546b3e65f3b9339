//! Shrinks a sequence that costs the machine it runs on: each candidate gets a machine of its own, and the shrinker, which is
//! plain data, outlives them all.

use std::time::Instant;

use scenarios::model::{Input, Shrinker, Step};

use super::{Bench, REPLAY};
use crate::error::Error;
use crate::interrupt;

/// Machines spent on one crash.
const MACHINES_MAX: u32 = 40;

/// The shortest form of `steps` that still crashes `kernel` as `title` says, until `deadline`; none where the steps alone do
/// not crash it again.
pub(crate) fn shrink_crash(
    bench: &mut Bench<'_>,
    kernel: &str,
    steps: Vec<Step>,
    title: &str,
    deadline: Instant,
) -> Result<Option<Vec<Step>>, Error> {
    if !crashes(bench, kernel, &steps, title)? {
        return Ok(None);
    }
    let mut shrinker = Shrinker::new(steps);
    for machine in 0..MACHINES_MAX {
        if Instant::now() >= deadline || interrupt::requested() {
            break;
        }
        let Some(candidate) = shrinker.candidate() else { break };
        let crashed = crashes(bench, kernel, &candidate, title)?;
        shrinker.verdict(crashed.then_some(candidate));
        bench.progress.line(&format!(
            "machine {} of at most {MACHINES_MAX}: {} steps crash it",
            machine + 1,
            shrinker.best().len()
        ));
    }
    Ok(Some(shrinker.best().to_vec()))
}

fn crashes(
    bench: &mut Bench<'_>,
    kernel: &str,
    steps: &[Step],
    title: &str,
) -> Result<bool, Error> {
    let input = Input { steps: steps.to_vec(), ..Input::default() };
    let end = bench.round(kernel, &[REPLAY], 1, &input)?;
    Ok(end.crash.as_deref() == Some(title))
}
