//! Cases at random: new ones, and those that have shown something new before, changed a little.

mod holders;
mod memory;
mod shots;

use rand::Rng;
use rand::seq::IndexedRandom;
use ublk::uapi::Features;

use super::act::{Act, Stage};

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    /// Commands that are wrong in every field.
    Shots,
    /// Mappings, reads and writes of the char device.
    Memory,
    /// Who has it open.
    Holders,
}

/// Acts of a new case, without its device.
const LENGTHS: std::ops::RangeInclusive<usize> = 1..=6;
/// Longest case that an old one grows to.
const LENGTH_MAX: usize = 12;

/// A new case on a kernel that offers `offered`.
pub(super) fn case(theme: Theme, offered: Features, rng: &mut impl Rng) -> Vec<Act> {
    let mut acts = Vec::new();
    // Without a device a mapping has no meaning; a command to nobody's device has.
    if theme != Theme::Shots || rng.random_bool(0.93) {
        acts.push(device(theme, offered, rng));
    }
    for _ in 0..rng.random_range(LENGTHS) {
        acts.push(act(theme, rng));
    }
    if rng.random_bool(0.15) {
        let place = rng.random_range(0..acts.len());
        acts.insert(place, Act::Kill { after_us: rng.random_range(0..3000) });
    }
    acts
}

fn act(theme: Theme, rng: &mut impl Rng) -> Act {
    match theme {
        Theme::Shots => shots::act(rng),
        Theme::Memory => memory::act(rng),
        Theme::Holders => holders::act(rng),
    }
}

/// An old case with one thing in it that is different.
pub(super) fn changed(theme: Theme, old: &[Act], rng: &mut impl Rng) -> Vec<Act> {
    let mut acts = old.to_vec();
    let first = usize::from(matches!(acts.first(), Some(Act::Device { .. })));
    match rng.random_range(0..4) {
        0 if acts.len() > first + 1 => {
            acts.remove(rng.random_range(first..acts.len()));
        }
        1 if acts.len() < LENGTH_MAX => {
            let place = rng.random_range(first..=acts.len());
            acts.insert(place, act(theme, rng));
        }
        2 if acts.len() > first => {
            let place = rng.random_range(first..acts.len());
            let again = acts[place].clone();
            if acts.len() < LENGTH_MAX {
                acts.push(again);
            }
        }
        _ => {
            let place = rng.random_range(0..acts.len().max(1));
            if let Some(old) = acts.get_mut(place) {
                match old {
                    Act::Shots { ring, shots, races } => shots::change(ring, shots, races, rng),
                    Act::Device { features, stage, .. } => {
                        *stage = *STAGES.choose(rng).unwrap_or(&Stage::Live);
                        *stage = furthest(*features, *stage);
                    }
                    other => *other = act(theme, rng),
                }
            }
        }
    }
    acts
}

/// A batch device has no tags to fetch one by one.
fn furthest(features: u64, stage: Stage) -> Stage {
    let batch = Features::from_bits(features).contains(Features::BATCH_IO);
    if batch { stage.min(Stage::Opened) } else { stage }
}

/// Later stages more often: there is more that can break.
const STAGES: &[Stage] = &[
    Stage::Added,
    Stage::Params,
    Stage::Opened,
    Stage::Opened,
    Stage::Fetched,
    Stage::Fetched,
    Stage::Live,
    Stage::Live,
    Stage::Live,
    Stage::Live,
];

fn device(theme: Theme, offered: Features, rng: &mut impl Rng) -> Act {
    let recovery = Features::USER_RECOVERY;
    let sorts = [
        Features::empty(),
        Features::empty(),
        Features::USER_COPY,
        Features::SUPPORT_ZERO_COPY,
        Features::AUTO_BUF_REG,
        recovery,
        recovery | Features::USER_RECOVERY_REISSUE,
        recovery | Features::USER_RECOVERY_FAIL_IO,
        recovery | Features::QUIESCE,
        Features::NEED_GET_DATA,
        Features::UPDATE_SIZE,
        Features::SHMEM_ZC,
        Features::BATCH_IO,
        Features::PER_IO_DAEMON,
        Features::SUPPORT_ZERO_COPY | Features::USER_COPY,
    ];
    let possible: Vec<_> = sorts.into_iter().filter(|sort| offered.contains(*sort)).collect();
    let features = *possible.choose(rng).unwrap_or(&Features::empty());
    let mut stage = *STAGES.choose(rng).unwrap_or(&Stage::Live);
    if theme != Theme::Shots {
        stage = stage.max(Stage::Opened);
    }
    stage = furthest(features.bits(), stage);
    let depth = if features.contains(Features::BATCH_IO) { 2 } else { rng.random_range(1..=4) };
    Act::Device { features: features.bits(), queues: rng.random_range(1..=2), depth, stage }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::act::numbered;
    use super::*;

    #[test]
    fn cases_are_the_same_with_the_same_seed_and_can_be_written_down() {
        for theme in [Theme::Shots, Theme::Memory, Theme::Holders] {
            let make = || {
                let mut rng = ChaCha8Rng::seed_from_u64(7);
                let cases: Vec<_> =
                    (0..200).map(|_| case(theme, Features::all(), &mut rng)).collect();
                let other: Vec<_> =
                    cases.iter().map(|case| changed(theme, case, &mut rng)).collect();
                (cases, other)
            };
            let (cases, other) = make();
            assert_eq!((cases.clone(), other.clone()), make());
            for acts in cases.iter().chain(&other) {
                let text = serde_json::to_string(acts).unwrap();
                assert_eq!(&serde_json::from_str::<Vec<Act>>(&text).unwrap(), acts);
                assert_eq!(numbered(acts).lines().count(), acts.len());
            }
        }
    }
}
