//! Errors put into the model on purpose: one expectation turned round, to see that it is found and how short it gets.

use serde::{Deserialize, Serialize};

use super::effects::{Answer, Effects};
use super::step::{Step, Stray};
use crate::rig::{EACCES, EBUSY, EEXIST, EINVAL, ENODEV};

/// Which expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plant {
    /// A second FETCH_REQ of a tag, while others are missing, is to be EBUSY.
    FetchAgain,
    /// Opening a char device that is open is to be EINVAL.
    OpenTwice,
    /// SET_PARAMS of a live device is to be EBUSY.
    ParamsOfALive,
    /// START_DEV of a live device is to be EBUSY.
    StartTwice,
    /// TRY_STOP_DEV of a disk that is open is to be ENODEV.
    TryStopOpen,
    /// END_USER_RECOVERY of a device that is not away is to be EINVAL.
    EndUncalledFor,
    /// A read that the server answers is to fail.
    ReadFails,
    /// REG_BUF of a page that is registered is to be EBUSY.
    RegisterAgain,
    /// A commit of a tag that waits for a request is to be EINVAL.
    StrayCommit,
    /// NEED_GET_DATA of a write that wants it is to be EBUSY.
    GetData,
}

impl Plant {
    /// All there are.
    pub const ALL: &[Self] = &[
        Self::FetchAgain,
        Self::OpenTwice,
        Self::ParamsOfALive,
        Self::StartTwice,
        Self::TryStopOpen,
        Self::EndUncalledFor,
        Self::ReadFails,
        Self::RegisterAgain,
        Self::StrayCommit,
        Self::GetData,
    ];

    /// As on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FetchAgain => "fetch-again",
            Self::OpenTwice => "open-twice",
            Self::ParamsOfALive => "params-of-a-live",
            Self::StartTwice => "start-twice",
            Self::TryStopOpen => "try-stop-open",
            Self::EndUncalledFor => "end-uncalled-for",
            Self::ReadFails => "read-fails",
            Self::RegisterAgain => "register-again",
            Self::StrayCommit => "stray-commit",
            Self::GetData => "get-data",
        }
    }

    /// The fewest steps that show it, on 7.3.
    #[must_use]
    pub fn minimum(self) -> usize {
        match self {
            // ADD_DEV, open, FETCH_REQ twice; or of all, and END_USER_RECOVERY; or a commit.
            Self::FetchAgain | Self::EndUncalledFor | Self::StrayCommit => 4,
            // ADD_DEV, open twice; ADD_DEV, REG_BUF twice.
            Self::OpenTwice | Self::RegisterAgain => 3,
            // ADD_DEV, SET_PARAMS, open, FETCH_REQ of all, START_DEV, and the one.
            Self::ParamsOfALive | Self::StartTwice => 6,
            // A client opens the disk first; or opens and reads, and is answered when the case is cleaned up.
            Self::TryStopOpen | Self::ReadFails => 7,
            // The client writes, and the server asks.
            Self::GetData => 8,
        }
    }

    /// Turns round what `step` is expected to do, where this is about it.
    pub(super) fn turn(self, step: &Step, effects: &mut Effects) {
        match (self, step, &mut effects.answer) {
            (Self::FetchAgain, Step::Fetch { .. }, Answer::Fetched { results }) => {
                let again = results.iter_mut().filter(|(_, result)| *result == -EINVAL);
                again.for_each(|(_, result)| *result = -EBUSY);
            }
            (Self::OpenTwice, Step::Open { .. }, answer) => swap(answer, -EBUSY, -EINVAL),
            (Self::ParamsOfALive, Step::SetParams { .. }, answer) => swap(answer, -EACCES, -EBUSY),
            (Self::StartTwice, Step::Start { .. }, answer) => swap(answer, -EEXIST, -EBUSY),
            (Self::TryStopOpen, Step::TryStop { .. }, answer) => swap(answer, -EBUSY, -ENODEV),
            (Self::EndUncalledFor, Step::EndRecovery { .. }, answer) => {
                swap(answer, -EBUSY, -EINVAL);
            }
            (Self::RegisterAgain, Step::RegBuf { .. }, answer) => swap(answer, -EEXIST, -EBUSY),
            (Self::StrayCommit, Step::Stray { command: Stray::Commit, .. }, answer) => {
                swap(answer, -EBUSY, -EINVAL);
            }
            (Self::GetData, Step::GetData { .. }, answer) => swap(answer, 0, -EBUSY),
            (Self::ReadFails, Step::Answer { .. }, _) => {
                for (_, allowed) in &mut effects.reads {
                    *allowed = vec![-nix::libc::EIO];
                }
            }
            _ => {}
        }
    }
}

fn swap(answer: &mut Answer, from: i32, to: i32) {
    if let Answer::Results { allowed, .. } = answer {
        for result in allowed.iter_mut().filter(|result| **result == from) {
            *result = to;
        }
    }
}

impl std::str::FromStr for Plant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|plant| plant.name() == text);
        let names: Vec<&str> = Self::ALL.iter().map(|plant| plant.name()).collect();
        found.copied().ok_or_else(|| format!("there are {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::generate;
    use super::super::profile::Profile;
    use super::super::sort::{Mode, Recovery, Sort};
    use super::super::world::World;
    use super::*;

    /// At 200 steps a second, which a host does that does nothing else, this is half a minute; the other half is for making it
    /// short.
    const STEPS_MAX: usize = 6000;

    #[test]
    fn every_planted_error_is_met_within_a_minute() {
        for plant in Plant::ALL {
            let met: Vec<usize> = (0..6).map(|seed| steps_until_met(*plant, seed)).collect();
            assert!(met.iter().all(|steps| *steps <= STEPS_MAX), "{}: {met:?}", plant.name());
        }
    }

    /// Steps of random sequences until the planted error shows.
    fn steps_until_met(plant: Plant, seed: u64) -> usize {
        let empty = World::new(Profile::newest(), 2, 2);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut steps = 0;
        while steps <= 4 * STEPS_MAX {
            let length = rng.random_range(10..=60);
            let (mut right, mut wrong) =
                (empty.clone(), World { plant: Some(plant), ..empty.clone() });
            for step in generate::sequence(&empty, length, &mut rng) {
                steps += 1;
                if right.apply(&step) != wrong.apply(&step) {
                    return steps;
                }
            }
        }
        steps
    }

    #[test]
    fn the_minimum_shows_the_difference_and_nothing_shorter_does() {
        let (dev, server) = (0, 0);
        let begin = [
            Step::Add { dev, sort: Sort::plain(Recovery::None, false) },
            Step::SetParams { dev, valid: true },
            Step::Open { dev, server },
            Step::FetchAll { dev, spread: false },
            Step::Start { dev, server },
            Step::OpenBlock { dev, client: 0 },
            Step::Read { dev, queue: 0 },
        ];
        let shows = |plant: Plant, steps: &[Step]| {
            let mut right = World::new(Profile::newest(), 1, 2);
            let mut wrong = World { plant: Some(plant), ..right.clone() };
            steps.iter().any(|step| right.apply(step) != wrong.apply(step))
        };
        let mut steps = begin.to_vec();
        steps.push(Step::Answer { dev });
        assert!(shows(Plant::ReadFails, &steps) && steps.len() == Plant::ReadFails.minimum() + 1);
        let live = |last| [&begin[..5], &[last]].concat();
        assert!(shows(Plant::StartTwice, &live(begin[4])));
        assert!(shows(Plant::ParamsOfALive, &live(begin[1])));
        let recoverable = Step::Add { dev, sort: Sort::plain(Recovery::Plain, false) };
        let end = [recoverable, begin[2], begin[3], Step::EndRecovery { dev, server }];
        assert!(shows(Plant::EndUncalledFor, &end));
        let fetch = Step::Fetch { dev, tag: 0, thread: 0 };
        let again = [begin[0], begin[2], fetch, fetch];
        assert!(shows(Plant::FetchAgain, &again) && !shows(Plant::FetchAgain, &again[..3]));
        let shared = Sort::plain(Recovery::None, false).with_shared_memory();
        let register = Step::RegBuf { dev, page: 0 };
        let steps = [Step::Add { dev, sort: shared }, register, register];
        assert!(shows(Plant::RegisterAgain, &steps) && !shows(Plant::RegisterAgain, &steps[..2]));
        let commit = Step::Stray { dev, command: Stray::Commit };
        assert!(shows(Plant::StrayCommit, &[begin[0], begin[2], fetch, commit]));
        let asks = Sort::plain(Recovery::None, false).with_mode(Mode::GetData);
        let mut steps = [&[Step::Add { dev, sort: asks }], &begin[1..6]].concat();
        steps.extend([Step::Write { dev, queue: 0 }, Step::GetData { dev }]);
        assert!(shows(Plant::GetData, &steps) && steps.len() == Plant::GetData.minimum());
        assert_eq!("open-twice".parse(), Ok(Plant::OpenTwice));
    }
}
