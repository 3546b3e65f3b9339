//! Sequences at random, guided by the model: steps that change something are drawn more often than steps that are refused,
//! for most commands are refused in most states and a walk of those goes nowhere.

use std::mem::discriminant;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::device::{CLIENTS, PAGES};
use super::queue::{QUEUES_MAX, TAGS};
use super::sort::Sort;
use super::step::{Step, Stray};
use super::world::World;

/// How much more often a step is drawn that changes the model's state.
const CHANGE_WEIGHT: u32 = 32;
/// How much less often one that takes a device or a server away: else little lives long.
const END_WEIGHT: u32 = 2;
/// A new process costs more than many steps.
const KILL_WEIGHT: u32 = 2;
/// One that is refused.
const SAME_WEIGHT: u32 = 4;
/// ADD_DEV of what is there; there are many sorts.
const ADD_AGAIN_WEIGHT: u32 = 1;

/// Draws before the first step that is allowed is taken.
const DRAWS_MAX: usize = 2000;

/// Every step there is for so many devices and servers.
#[must_use]
pub fn alphabet(devices: u8, servers: u8) -> Vec<Step> {
    let mut steps: Vec<Step> = (0..servers)
        .flat_map(|server| [Step::KillServer { server }, Step::EndThread { server }])
        .collect();
    for dev in 0..devices {
        steps.extend(Sort::all().into_iter().map(|sort| Step::Add { dev, sort }));
        for server in 0..servers {
            steps.extend([
                Step::Open { dev, server },
                Step::Start { dev, server },
                Step::EndRecovery { dev, server },
            ]);
        }
        steps.extend((0..TAGS * QUEUES_MAX).map(|tag| Step::Fetch { dev, tag, thread: 0 }));
        steps.extend([0, TAGS].map(|tag| Step::Fetch { dev, tag, thread: 1 }));
        steps.extend([false, true].map(|spread| Step::FetchAll { dev, spread }));
        for queue in 0..QUEUES_MAX {
            steps.extend([Step::Read { dev, queue }, Step::Write { dev, queue }]);
        }
        for client in (0..).take(CLIENTS) {
            steps.extend([Step::OpenBlock { dev, client }, Step::CloseBlock { dev, client }]);
        }
        for page in (0..).take(PAGES) {
            steps.extend([Step::RegBuf { dev, page }, Step::UnregBuf { dev, index: page }]);
        }
        steps.extend([
            Step::SetParams { dev, valid: true },
            Step::SetParams { dev, valid: false },
            Step::GetParams { dev },
            Step::GetAffinity { dev, queue: 0 },
            Step::GetAffinity { dev, queue: 1 },
            Step::Mmap { dev },
            Step::Stop { dev },
            Step::TryStop { dev },
            Step::Quiesce { dev },
            Step::UpdateSize { dev, mib: 16 },
            Step::CloseChar { dev },
            Step::StartRecovery { dev },
            Step::Del { dev },
            Step::DelAsync { dev },
            Step::GetInfo2 { dev },
            Step::GetData { dev },
            Step::Stray { dev, command: Stray::Commit },
            Step::Stray { dev, command: Stray::Unknown },
            Step::Answer { dev },
            Step::AnswerWrong { dev },
            Step::Copy { dev, write: true },
            Step::Copy { dev, write: false },
            Step::Register { dev },
            Step::Unregister { dev },
        ]);
    }
    steps
}

/// A sequence of at most `length` steps from the empty world.
#[must_use]
pub fn sequence(world: &World, length: usize, rng: &mut impl Rng) -> Vec<Step> {
    let count = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    let alphabet = kinds(alphabet(count(world.devices.len()), count(world.alive.len())));
    let mut world = world.clone();
    let mut steps = Vec::with_capacity(length);
    for _ in 0..length {
        let Some(step) = draw(&world, &alphabet, rng) else { break };
        world.apply(&step);
        steps.push(step);
    }
    steps
}

/// The steps of each kind together: there are forty ADD_DEVs and two TRY_STOP_DEVs, and neither should crowd the other out.
fn kinds(alphabet: Vec<Step>) -> Vec<Vec<Step>> {
    let mut kinds: Vec<Vec<Step>> = Vec::new();
    for step in alphabet {
        let same = |kind: &&mut Vec<Step>| discriminant(&kind[0]) == discriminant(&step);
        match kinds.iter_mut().find(same) {
            Some(kind) => kind.push(step),
            None => kinds.push(vec![step]),
        }
    }
    kinds
}

/// One step by its weight: its kind is drawn by the root of how many there are, and it is kept with a chance of its
/// weight, for weighing takes longer than drawing.
fn draw(world: &World, alphabet: &[Vec<Step>], rng: &mut impl Rng) -> Option<Step> {
    for _ in 0..DRAWS_MAX {
        let kind = alphabet.choose_weighted(rng, |kind| (kind.len() as f64).sqrt()).ok()?;
        let step = kind.choose(rng)?;
        if world.forbids(step).is_none() && rng.random_range(0..CHANGE_WEIGHT) < weight(world, step)
        {
            return Some(*step);
        }
    }
    alphabet.iter().flatten().find(|step| world.forbids(step).is_none()).copied()
}

fn weight(world: &World, step: &Step) -> u32 {
    let mut after = world.clone();
    after.apply(step);
    let ends = matches!(
        step,
        Step::KillServer { .. }
            | Step::EndThread { .. }
            | Step::CloseChar { .. }
            | Step::Del { .. }
            | Step::DelAsync { .. }
            | Step::Stop { .. }
            | Step::TryStop { .. }
            | Step::SetParams { valid: false, .. }
    );
    let same = after == *world;
    match (same, ends) {
        _ if matches!(step, Step::KillServer { .. }) => KILL_WEIGHT,
        (true, _) if matches!(step, Step::Add { .. }) => ADD_AGAIN_WEIGHT,
        (true, _) => SAME_WEIGHT,
        (false, true) => END_WEIGHT,
        (false, false) => CHANGE_WEIGHT,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::device::State;
    use super::super::profile::Profile;
    use super::*;

    #[test]
    fn sequences_repeat_with_their_seed_and_reach_every_state() {
        let empty = World::new(Profile::newest(), 2, 2);
        let mut states = BTreeSet::new();
        for seed in 0..200 {
            let steps = sequence(&empty, 40, &mut ChaCha8Rng::seed_from_u64(seed));
            let again = sequence(&empty, 40, &mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!(steps, again);
            let mut world = empty.clone();
            for step in steps {
                assert_eq!(world.forbids(&step), None);
                world.apply(&step);
                states.extend(world.devices.iter().flatten().map(|device| match device.state {
                    State::Dead => "dead",
                    State::Live => "live",
                    State::Quiesced => "quiesced",
                    State::FailIo => "fail-io",
                }));
                assert_held_back_is_distinct(&world);
            }
        }
        assert_eq!(states.len(), 4, "{states:?}");
    }

    fn assert_held_back_is_distinct(world: &World) {
        for slots in [world.held_back(), world.unanswered()] {
            let distinct: BTreeSet<_> = slots.iter().collect();
            assert_eq!(distinct.len(), slots.len());
        }
    }
}
