//! Shrinks a sequence that costs the machine it runs on: each candidate gets a machine of its own, and the shrinker, which is
//! plain data, outlives them all.

use std::time::Instant;

use scenarios::model::{Input, Shrinker, Step};

use super::{Bench, REPLAY};
use crate::error::Error;
use crate::interrupt;

/// Machines spent on one crash.
const MACHINES_MAX: u32 = 40;

/// Steps beyond the last that was told, which are tried first.
const SLACKS: [usize; 2] = [1, 6];

/// The shortest form of `steps` that still crashes `kernel` as `title` says, until `deadline`; none where the steps alone do
/// not crash it again.
pub(crate) fn shrink_crash(
    bench: &mut Bench<'_>,
    kernel: &str,
    steps: Vec<Step>,
    title: &str,
    deadline: Instant,
) -> Result<Option<Vec<Step>>, Error> {
    let mut steps = steps;
    let Some(told) = crashes(bench, kernel, &steps, title)? else { return Ok(None) };
    // What was begun last may not have been told any more, or the kernel died of it some steps later.
    for slack in SLACKS {
        let first = &steps[..steps.len().min(told + slack)];
        if first.len() < steps.len() && crashes(bench, kernel, first, title)?.is_some() {
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
        let crashed = crashes(bench, kernel, &candidate, title)?;
        shrinker.verdict(crashed.map(|_| candidate));
        bench.progress.line(&format!(
            "machine {} of at most {MACHINES_MAX}: {} steps crash it",
            machine + 1,
            shrinker.best().len()
        ));
    }
    Ok(Some(shrinker.best().to_vec()))
}

/// How many of `steps` had been begun, as far as was told, when it crashed; none where it did not, or elsewhere.
fn crashes(
    bench: &mut Bench<'_>,
    kernel: &str,
    steps: &[Step],
    title: &str,
) -> Result<Option<usize>, Error> {
    // What takes a machine may be what the model would leave out.
    let input = Input { steps: steps.to_vec(), bold: true, ..Input::default() };
    let end = bench.round(kernel, &[REPLAY], 1, &input)?;
    Ok((end.crash.as_deref() == Some(title)).then_some(end.last_steps.len()))
}
