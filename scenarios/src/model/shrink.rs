//! Makes a failing sequence short: as data, one candidate after the other, because a candidate may cost the machine it runs on
//! and the next one then runs in another, asked for by another program.

use super::step::Step;

/// Something a failing sequence is made of.
pub trait Shrinkable: Clone {
    /// Simpler ones that may fail the same way, the simplest first. Every chain of them ends.
    fn simpler(&self) -> Vec<Self>;
}

impl Shrinkable for Step {
    fn simpler(&self) -> Vec<Self> {
        Self::simpler(self)
    }
}

/// What is tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Leave out `len` steps that end at `end`.
    Remove {
        len: usize,
        end: usize,
    },
    /// Put the `choice`-th simpler step in the place of the one at `index`.
    Simplify {
        index: usize,
        choice: usize,
    },
    Done,
}

/// A failing sequence on its way to its shortest form.
#[derive(Clone, Debug)]
pub struct Shrinker<S = Step> {
    best: Vec<S>,
    phase: Phase,
    improved: bool,
}

impl<S: Shrinkable> Shrinker<S> {
    /// `steps` fail.
    #[must_use]
    pub fn new(steps: Vec<S>) -> Self {
        let (len, end) = (steps.len().div_ceil(2), steps.len());
        Self { best: steps, phase: Phase::Remove { len, end }, improved: false }
    }

    /// The shortest sequence so far that fails.
    #[must_use]
    pub fn best(&self) -> &[S] {
        &self.best
    }

    /// What to try next; none when there is nothing left to try.
    pub fn candidate(&mut self) -> Option<Vec<S>> {
        loop {
            match self.phase {
                Phase::Remove { len: 0, .. } => {
                    self.phase = Phase::Simplify { index: 0, choice: 0 };
                }
                Phase::Remove { len, end: 0 } => self.next_round(len),
                Phase::Remove { len, end } => {
                    let mut steps = self.best.clone();
                    steps.drain(end.saturating_sub(len)..end);
                    return Some(steps);
                }
                Phase::Simplify { index, choice } => match self.best.get(index) {
                    None if self.improved => {
                        self.improved = false;
                        self.phase = Phase::Remove { len: 1, end: self.best.len() };
                    }
                    None => self.phase = Phase::Done,
                    Some(step) => match step.simpler().get(choice) {
                        None => self.phase = Phase::Simplify { index: index + 1, choice: 0 },
                        Some(simpler) => {
                            let mut steps = self.best.clone();
                            steps[index] = simpler.clone();
                            return Some(steps);
                        }
                    },
                },
                Phase::Done => return None,
            }
        }
    }

    fn next_round(&mut self, len: usize) {
        let end = self.best.len();
        // Single steps are tried until none can go: one that goes may free the one before.
        let len = if len == 1 && self.improved { 1 } else { len / 2 };
        self.improved = false;
        self.phase = Phase::Remove { len, end };
    }

    /// The last candidate failed as `failed` (what of it was done, up to the step that failed), or did not fail.
    pub fn verdict(&mut self, failed: Option<Vec<S>>) {
        match (failed, self.phase) {
            (Some(steps), Phase::Remove { len, end }) => {
                self.improved = true;
                self.best = steps;
                let end = end.saturating_sub(len).min(self.best.len());
                self.phase = Phase::Remove { len, end };
            }
            (None, Phase::Remove { len, end }) => {
                self.phase = Phase::Remove { len, end: end.saturating_sub(len) };
            }
            (Some(steps), Phase::Simplify { .. }) => {
                self.improved = true;
                self.best = steps;
            }
            (None, Phase::Simplify { index, choice }) => {
                self.phase = Phase::Simplify { index, choice: choice + 1 };
            }
            (_, Phase::Done) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shrink(steps: Vec<Step>, fails: impl Fn(&[Step]) -> bool) -> (Vec<Step>, usize) {
        let mut shrinker = Shrinker::new(steps);
        let mut tried = 0;
        while let Some(candidate) = shrinker.candidate() {
            tried += 1;
            assert!(tried < 2000, "does not end");
            let failed = fails(&candidate).then_some(candidate);
            shrinker.verdict(failed);
        }
        (shrinker.best().to_vec(), tried)
    }

    fn stop(dev: u8) -> Step {
        Step::Stop { dev }
    }

    proptest! {
        #[test]
        fn three_steps_of_forty_are_found(places in prop::collection::btree_set(0_usize..40, 3)) {
            let mut steps: Vec<Step> = (0..40).map(|_| stop(0)).collect();
            for (number, place) in places.iter().enumerate() {
                steps[*place] = stop(1 + u8::try_from(number).unwrap());
            }
            let fails = |steps: &[Step]| (1..=3).all(|dev| steps.contains(&stop(dev)));
            let (best, tried) = shrink(steps, fails);
            prop_assert_eq!(best, [stop(1), stop(2), stop(3)]);
            prop_assert!(tried < 200);
        }
    }

    #[test]
    fn steps_become_simpler() {
        let (best, _) = shrink(vec![Step::FetchAll { dev: 0, spread: true }, stop(0)], |steps| {
            steps.len() == 2
        });
        assert_eq!(best, [Step::Fetch { dev: 0, tag: 0, thread: 0 }, stop(0)]);
    }

    #[test]
    fn a_failure_of_nothing_is_nothing() {
        assert_eq!(shrink(vec![stop(0); 5], |_| true).0, []);
    }
}
