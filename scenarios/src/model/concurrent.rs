//! `model/concurrent`: two actors send control commands at the same time; what comes out has to be what some interleaving of the
//! model says.
//!
//! Each case is a sequence that brings a device somewhere, and then two short lists of commands whose order is left to the
//! kernel. The commands go out in one submission; each runs on a kernel worker of its own.

use std::time::Instant;

use rand::Rng;
use rand::seq::IndexedRandom;
use reports::event::FailureKind;

use super::case;
use super::effects::{Answer, any_of};
use super::generate;
use super::input::Input;
use super::lab::{Lab, Trouble};
use super::sequences::{PATIENCE, announce, empty};
use super::step::{Step, numbered};
use super::world::World;
use crate::context::{Context, Stop, errno};
use crate::rig::ENODEV;

/// Steps before the two actors begin.
const PREFIX: std::ops::RangeInclusive<usize> = 4..=14;
/// Commands at once.
const AT_ONCE: std::ops::RangeInclusive<usize> = 2..=3;
/// Tries to find commands that may be sent in any order in a state.
const TRIES: usize = 60;

/// One way it may have gone: the world after it, and each command's result by its place; none where it is held back.
pub(super) struct Way {
    pub(super) world: World,
    pub(super) order: Vec<usize>,
    pub(super) results: Vec<Option<Vec<i32>>>,
    /// Slot of each command that is held back.
    pub(super) slots: Vec<Option<u8>>,
}

/// Every interleaving of `steps`; none where one of them does something that the model leaves out, or ends what was held back
/// before.
pub(super) fn ways(world: &World, steps: &[Step]) -> Option<Vec<Way>> {
    let mut all = Vec::new();
    let had_disk = world.device(0).is_some_and(super::device::Device::has_disk);
    for order in permutations(steps.len()) {
        let mut state = world.clone();
        let mut way = Way {
            world: world.clone(),
            order: order.clone(),
            results: vec![None; steps.len()],
            slots: vec![None; steps.len()],
        };
        for place in order {
            let step = &steps[place];
            if state.forbids(step).is_some() {
                return None;
            }
            // A command that has found the device before another one deletes it goes on with what it found: a second
            // DEL_DEV then has nothing to do; of the rest the model does not say.
            let vanished = state.device(0).is_none() && world.device(0).is_some();
            let deletes = matches!(step, Step::Del { .. } | Step::DelAsync { .. });
            if vanished && !deletes {
                return None;
            }
            let effects = state.apply(step);
            if !effects.reads.is_empty() {
                return None;
            }
            match effects.answer {
                Answer::Results { mut allowed, .. } => {
                    // TRY_STOP_DEV looks for the disk before it has the device's mutex: it may find one that goes then.
                    let try_stop = matches!(step, Step::TryStop { .. }) && had_disk;
                    if allowed == [-ENODEV] && (try_stop || vanished) {
                        allowed.push(0);
                    }
                    way.results[place] = Some(allowed);
                }
                Answer::Blocks { slot, .. } => way.slots[place] = Some(slot),
                _ => return None,
            }
            for (slot, allowed) in effects.released {
                // Only what these very commands held back may go on.
                let own = way.slots.iter().position(|held| *held == Some(slot))?;
                way.slots[own] = None;
                way.results[own] = Some(allowed);
            }
        }
        way.world = state;
        all.push(way);
    }
    Some(all)
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    match count {
        0 => vec![Vec::new()],
        _ => permutations(count - 1)
            .into_iter()
            .flat_map(|shorter| {
                (0..count).map(move |at| {
                    let mut longer = shorter.clone();
                    longer.insert(at, count - 1);
                    longer
                })
            })
            .collect(),
    }
}

/// Commands that go through the control device; the rest are one process's own.
fn is_control(step: &Step) -> bool {
    matches!(
        step,
        Step::SetParams { .. }
            | Step::GetParams { .. }
            | Step::Start { .. }
            | Step::Stop { .. }
            | Step::TryStop { .. }
            | Step::Quiesce { .. }
            | Step::UpdateSize { .. }
            | Step::StartRecovery { .. }
            | Step::EndRecovery { .. }
            | Step::Del { .. }
            | Step::DelAsync { .. }
    )
}

/// Commands that may be sent at once in this state, and where they differ most: at least one changes something.
fn choose(world: &World, rng: &mut impl Rng) -> Option<(Vec<Step>, Vec<Way>)> {
    let alphabet: Vec<Step> = generate::alphabet(1, 2).into_iter().filter(is_control).collect();
    for _ in 0..TRIES {
        let count = rng.random_range(AT_ONCE);
        let steps: Vec<Step> = (0..count).filter_map(|_| alphabet.choose(rng).copied()).collect();
        let Some(ways) = ways(world, &steps) else { continue };
        if ways.iter().any(|way| way.world != *world) {
            return Some((steps, ways));
        }
    }
    None
}

pub(super) fn run(context: &mut Context) -> Result<String, Stop> {
    let input = Input::read()?;
    let world = empty(context, 1, 2)?;
    let mut lab = Lab::new(&world, PATIENCE)?;
    let limit = input.time_limit(context);
    let begin = Instant::now();
    let (mut cases, mut open) = (0_u64, 0_u64);
    while begin.elapsed() < limit {
        let mut rng = context.rng(&format!("concurrent-{cases}"));
        cases += 1;
        let length = rng.random_range(PREFIX);
        let prefix = generate::sequence(&world, length, &mut rng);
        let mut state = world.clone();
        for step in &prefix {
            state.apply(step);
        }
        let Some((steps, ways)) = choose(&state, &mut rng) else { continue };
        open += u64::from(ways.windows(2).any(|pair| pair[0].world != pair[1].world));
        announce(context, &[prefix.as_slice(), steps.as_slice()].concat());
        if let Err(trouble) = one(&mut lab, &world, &prefix, &steps) {
            return Err(told(context, &prefix, &steps, &ways, trouble));
        }
        context.check(FailureKind::State, "some interleaving explains what came out", true)?;
    }
    let told = lab.rate(begin.elapsed());
    Ok(format!("{cases} cases, {open} of them with more than one possible end; {told}"))
}

fn one(lab: &mut Lab, world: &World, prefix: &[Step], steps: &[Step]) -> Result<(), Trouble> {
    let mut state = world.clone();
    for step in prefix {
        lab.step(&mut state, step)?;
    }
    let ways = ways(&state, steps).unwrap_or_default();
    let mut state = lab.at_once(steps, &ways)?;
    case::clean(lab, &mut state, &mut Vec::new())
}

/// Keeps what is needed to understand it.
fn told(
    context: &mut Context,
    prefix: &[Step],
    steps: &[Step],
    ways: &[Way],
    trouble: Trouble,
) -> Stop {
    let (expected, observed) = match trouble {
        Trouble::Broken(stop) => return stop,
        Trouble::Differs { expected, observed } => (expected, observed),
    };
    let mut text = format!("{}then at once:\n{}", numbered(prefix), numbered(steps));
    for way in ways {
        text.push_str(&format!("in the order {:?}: {}\n", way.order, results(way)));
    }
    text.push_str(&format!("expected: {expected}\nobserved: {observed}\n"));
    context.evidence("steps", &text);
    let message = format!("no interleaving explains it: expected {expected}, observed {observed}");
    Stop::fail(FailureKind::State, message)
}

/// The results of a way, by the commands' places.
pub(super) fn results(way: &Way) -> String {
    let one = |result: &Option<Vec<i32>>| match result {
        Some(allowed) => any_of(allowed),
        None => "held back".to_owned(),
    };
    way.results.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What came out, in the same words.
pub(super) fn came(results: &[Option<i32>]) -> String {
    let one = |result: &Option<i32>| result.map_or_else(|| "held back".to_owned(), errno);
    results.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Whether `way` gives these results.
pub(super) fn explains(way: &Way, results: &[Option<i32>]) -> bool {
    way.results.iter().zip(results).all(|(allowed, result)| match (allowed, result) {
        (None, None) => true,
        (Some(allowed), Some(result)) => allowed.contains(result),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::profile::Profile;
    use super::super::sort::{Recovery, Sort};
    use super::*;

    #[test]
    fn every_order_is_a_way_and_they_may_differ() {
        assert_eq!(permutations(3).len(), 6);
        let mut world = World::new(Profile::newest(), 1, 1);
        world.apply(&Step::Add { dev: 0, sort: Sort::plain(Recovery::None, false) });
        let steps = [Step::SetParams { dev: 0, valid: true }, Step::Start { dev: 0, server: 0 }];
        let ways = ways(&world, &steps).unwrap();
        assert_eq!(ways.len(), 2);
        // START_DEV without parameters is refused, and with them it waits.
        let told: Vec<String> = ways.iter().map(results).collect();
        assert!(told.contains(&"0, held back".to_owned()), "{told:?}");
        assert!(told.contains(&"0, -22 (EINVAL)".to_owned()), "{told:?}");
        assert!(ways.iter().any(|way| explains(way, &[Some(0), None])));
        assert!(!ways.iter().any(|way| explains(way, &[Some(0), Some(0)])));
    }
}
