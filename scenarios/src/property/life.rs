//! What keeps a request whose pages are registered: every slot that has them and every I/O that is on its way to them. A model
//! of that, and steps at random.

use std::collections::BTreeSet;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Slots that a step may name, besides the one that the kernel fills by itself.
pub(super) const SLOTS: u16 = 3;

/// What a server does with a request that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// REGISTER_IO_BUF in a slot.
    Register(u16),
    /// UNREGISTER_IO_BUF of a slot.
    Unregister(u16),
    /// A fixed read into the pages, from a file.
    Move(u16),
    /// A fixed read into the pages, from a pipe that is empty.
    Fly(u16),
    /// The pipe gets the bytes that the oldest such read waits for.
    Land,
    /// COMMIT_AND_FETCH_REQ.
    Commit,
}

/// What a step answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet, or not by this.
    Nothing,
    /// 0.
    Done,
    /// All the bytes.
    Bytes,
    /// A slot without memory in it.
    Empty,
    /// A slot that is taken.
    Taken,
    /// A tag that the server does not have any more.
    NotOwned,
    /// A slot without memory in it, to I/O.
    Fault,
}

/// A request that is with its server.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// Slots that have its pages.
    slots: BTreeSet<u16>,
    /// The slot that goes with the commit.
    automatic: Option<u16>,
    flying: usize,
    committed: bool,
    /// Whether tags have an owner, who gives them away with the commit. A batch device asks only whether the request is there.
    owned: bool,
}

impl Life {
    /// One that was just delivered, with its pages in a slot or in none, from a device whose tags have owners or have none.
    pub(super) fn new(automatic: Option<u16>, owned: bool) -> Self {
        Self { slots: automatic.into_iter().collect(), automatic, owned, ..Self::default() }
    }

    /// Whether its client has an answer.
    pub(super) fn is_over(&self) -> bool {
        self.committed && self.slots.is_empty() && self.flying == 0
    }

    /// Whether it was committed.
    pub(super) fn is_committed(&self) -> bool {
        self.committed
    }

    /// Reads that wait for a pipe.
    pub(super) fn flying(&self) -> usize {
        self.flying
    }

    /// Slots that have its pages.
    pub(super) fn slots(&self) -> impl Iterator<Item = u16> {
        self.slots.iter().copied()
    }

    /// Does a step.
    pub(super) fn apply(&mut self, step: Step) -> Answer {
        match step {
            Step::Register(_) if self.committed && self.owned => Answer::NotOwned,
            Step::Register(slot) if !self.slots.insert(slot) => Answer::Taken,
            Step::Register(_) => Answer::Done,
            // I/O that was begun keeps the pages; the slot is free at once.
            Step::Unregister(slot) if self.slots.remove(&slot) => Answer::Done,
            Step::Unregister(_) => Answer::Empty,
            Step::Move(slot) if self.slots.contains(&slot) => Answer::Bytes,
            Step::Fly(slot) if self.slots.contains(&slot) => {
                self.flying += 1;
                Answer::Nothing
            }
            Step::Move(_) | Step::Fly(_) => Answer::Fault,
            Step::Land => {
                self.flying -= 1;
                Answer::Bytes
            }
            Step::Commit => {
                self.committed = true;
                if let Some(slot) = self.automatic.take() {
                    self.slots.remove(&slot);
                }
                Answer::Nothing
            }
        }
    }
}

/// Steps at random, of which none waits for what does not come.
pub(super) fn steps(rng: &mut ChaCha8Rng, mut life: Life) -> Vec<Step> {
    let mut steps = Vec::new();
    let count = rng.random_range(3..12);
    while steps.len() < count && !life.is_over() {
        let slot = rng.random_range(0..SLOTS);
        let step = match rng.random_range(0..10) {
            0..3 => Step::Register(slot),
            3 | 4 => Step::Unregister(slot),
            5 => Step::Move(slot),
            6 if life.flying() < 2 => Step::Fly(slot),
            7 if life.flying() > 0 => Step::Land,
            8 if !life.is_committed() => Step::Commit,
            _ => continue,
        };
        life.apply(step);
        steps.push(step);
    }
    // And to an end, slots before what flies or after it.
    if !life.is_committed() {
        steps.push(Step::Commit);
        life.apply(Step::Commit);
    }
    let mut rest: Vec<_> = life.slots().map(Step::Unregister).collect();
    rest.extend(std::iter::repeat_n(Step::Land, life.flying()));
    if rng.random() {
        rest.reverse();
    }
    steps.extend(rest);
    steps
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_walk_ends_with_an_answer_and_none_begins_with_one() {
        for seed in 0..300 {
            let start = Life::new((seed % 2 == 0).then_some(2), seed % 3 == 0);
            let mut life = start.clone();
            assert!(!life.is_over());
            for step in steps(&mut ChaCha8Rng::seed_from_u64(seed), start) {
                life.apply(step);
            }
            assert!(life.is_over(), "{seed}: {life:?}");
        }
    }

    #[test]
    fn a_slot_and_a_flight_keep_a_request_each_on_its_own() {
        let mut life = Life::new(None, true);
        assert_eq!(life.apply(Step::Register(1)), Answer::Done);
        assert_eq!(life.apply(Step::Register(1)), Answer::Taken);
        assert_eq!(life.apply(Step::Fly(1)), Answer::Nothing);
        life.apply(Step::Commit);
        assert_eq!(life.apply(Step::Register(0)), Answer::NotOwned);
        assert!(!life.is_over());
        assert_eq!(life.apply(Step::Unregister(1)), Answer::Done);
        assert!(!life.is_over());
        assert_eq!(life.apply(Step::Move(1)), Answer::Fault);
        assert_eq!(life.apply(Step::Land), Answer::Bytes);
        assert!(life.is_over());
    }

    #[test]
    fn a_commit_takes_the_automatic_slot_with_it() {
        let mut life = Life::new(Some(0), true);
        assert_eq!(life.apply(Step::Unregister(1)), Answer::Empty);
        life.apply(Step::Commit);
        assert!(life.is_over());
    }
}
