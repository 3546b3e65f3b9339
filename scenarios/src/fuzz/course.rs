//! Case after case until the time is over: seeds first, then new cases and changed ones; each that fails is made short, each that
//! shows something new is kept.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reports::event::FailureKind;

use super::act::{Act, numbered};
use super::case::{self, Failure, Outcome};
use super::generate::{self, Theme};
use super::lab::Lab;
use super::limits;
use crate::context::{Context, Stop};
use crate::model::{Input, Reproducer, Shrinker};

/// How long an answer is waited for that must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The same while shrinking, where most candidates that hang hang the same way.
const SHRINK_PATIENCE: Duration = Duration::from_millis(1500);
/// How long a failing case is made shorter.
const SHRINK_MAX: Duration = Duration::from_secs(20);
/// Failures after which a course ends.
const FINDINGS_MAX: usize = 4;
/// How often a case is taken from what was kept.
const FROM_CORPUS: f64 = 0.4;
/// Seed of the cases of a whole run.
const WHOLE_RUN_SEED: u64 = 7;
/// Cases that are handed on to the next machine.
const CORPUS_TOLD_MAX: usize = 12;
/// Cases that are kept here.
const CORPUS_MAX: usize = 400;

/// What a course remembers.
struct Course {
    theme: Theme,
    scenario: &'static str,
    found: Vec<Failure>,
    seen: BTreeSet<String>,
    corpus: Vec<Vec<Act>>,
    /// Cases of this machine that showed something new.
    new: Vec<Vec<Act>>,
}

pub(super) fn run(
    context: &mut Context,
    theme: Theme,
    scenario: &'static str,
) -> Result<String, Stop> {
    let input = Input::read()?;
    let mut lab = Lab::new(context, PATIENCE)?;
    lab.plant = input.plant.is_some();
    let limit = input.time_limit(context);
    let mut course = Course {
        theme,
        scenario,
        found: Vec::new(),
        seen: BTreeSet::new(),
        corpus: Vec::new(),
        new: Vec::new(),
    };
    let begun = Instant::now();
    let mut ready: Vec<Vec<Act>> = super::seeds::all(scenario);
    ready.extend(input.corpus.get(scenario).cloned().unwrap_or_default());
    ready.reverse();
    // Without an input it is a part of a whole run, which is to say of a change whether it breaks what was right before: with
    // cases that nobody has seen it would say of the change what is true of the table of answers.
    let mut rng = match input.time_ms {
        Some(_) => context.rng(scenario),
        None => ChaCha8Rng::seed_from_u64(WHOLE_RUN_SEED),
    };
    while begun.elapsed() < limit && course.found.len() < FINDINGS_MAX {
        let acts = match ready.pop() {
            Some(acts) => acts,
            None => course.next(&lab, &mut rng),
        };
        let acts = limits::strip(context.kernel, &acts);
        course.try_case(context, &mut lab, &acts)?;
    }
    course.conclude(context, lab, begun.elapsed())
}

impl Course {
    fn next(&self, lab: &Lab, rng: &mut impl Rng) -> Vec<Act> {
        match self.corpus.choose(rng) {
            Some(old) if rng.random_bool(FROM_CORPUS) => generate::changed(self.theme, old, rng),
            _ => generate::case(self.theme, lab.offered, rng),
        }
    }

    fn try_case(&mut self, context: &mut Context, lab: &mut Lab, acts: &[Act]) -> Result<(), Stop> {
        announce(context, acts);
        let Outcome { failure, seen } = case::run(lab, acts)?;
        let Some(found) = failure else {
            self.keep(acts, seen);
            return context.check(FailureKind::Errno, "every answer is one of those allowed", true);
        };
        let alike = |known: &Failure| {
            kind_of(&known.expected) == kind_of(&found.expected)
                && kind_of(&known.observed) == kind_of(&found.observed)
        };
        if self.found.iter().any(alike) {
            return Ok(());
        }
        context.evidence("first-failure", &found.to_text());
        if is_fatal(&found) {
            // What the machine is worth after a splat nobody knows; the next one makes it short.
            return Err(Stop::fail(FailureKind::State, found.to_text()));
        }
        let shortest = shrink(context, lab, found)?;
        let reproducer = Reproducer {
            format: crate::model::FORMAT,
            scenario: self.scenario.to_owned(),
            kernel: context.kernel.to_string(),
            seed: context.seed,
            acts: shortest.acts.clone(),
            expected: shortest.expected.clone(),
            observed: shortest.observed.clone(),
            ..Reproducer::default()
        };
        let number = self.found.len() + 1;
        let text = serde_json::to_string(&reproducer).unwrap_or_default();
        context.evidence(&format!("reproducer-{number}"), &text);
        context.evidence(&format!("steps-{number}"), &shortest.to_text());
        self.found.push(shortest);
        Ok(())
    }

    /// Keeps a case in which a command was answered as it was not before.
    fn keep(&mut self, acts: &[Act], seen: Vec<String>) {
        let before = self.seen.len();
        self.seen.extend(seen);
        if self.seen.len() == before || self.corpus.len() >= CORPUS_MAX {
            return;
        }
        self.corpus.push(acts.to_vec());
        self.new.push(acts.to_vec());
    }

    fn conclude(self, context: &mut Context, lab: Lab, time: Duration) -> Result<String, Stop> {
        let seconds = time.as_secs_f64().max(0.001);
        let (cases, acts) = (lab.cases, lab.acts);
        let told = format!(
            "{cases} cases, {acts} acts in {seconds:.1} s: {:.1} cases/s; {} answers seen, {} cases kept",
            cases as f64 / seconds,
            self.seen.len(),
            self.corpus.len()
        );
        // The newest are the rarest.
        for (number, acts) in self.new.iter().rev().take(CORPUS_TOLD_MAX).enumerate() {
            let text = serde_json::to_string(acts).unwrap_or_default();
            context.evidence(&format!("corpus-{number}"), &text);
        }
        let seen: Vec<_> = self.seen.iter().map(String::as_str).collect();
        context.evidence("answers", &seen.join("\n"));
        let Some(first) = self.found.first() else {
            lab.close(context)?;
            return Ok(told);
        };
        let message = format!(
            "{} failures; the first after {} acts: expected {}, observed {}; {told}",
            self.found.len(),
            first.acts.len(),
            first.expected,
            first.observed
        );
        Err(Stop::fail(FailureKind::Errno, message))
    }
}

/// Ids and counts are not what makes a failure another one.
fn kind_of(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Failures after which this machine says nothing any more.
fn is_fatal(found: &Failure) -> bool {
    found.expected.starts_with("the kernel has nothing")
        || found.expected.starts_with("a process that was killed")
        || found.expected.contains("can be deleted")
        || found.expected.starts_with("the bystander")
}

/// Tells what comes, before it does: a machine that is lost cannot tell any more.
pub(super) fn announce(context: &mut Context, acts: &[Act]) {
    context.step(format_args!("fuzz-case {}", serde_json::to_string(acts).unwrap_or_default()));
}

/// The shortest form of a failure that can be found in time.
fn shrink(context: &mut Context, lab: &mut Lab, found: Failure) -> Result<Failure, Stop> {
    let begun = Instant::now();
    let patience = std::mem::replace(&mut lab.patience, SHRINK_PATIENCE);
    let mut shrinker = Shrinker::new(found.acts.clone());
    let (mut shortest, mut tried) = (found, 0_u32);
    while begun.elapsed() < SHRINK_MAX {
        let Some(candidate) = shrinker.candidate() else { break };
        tried += 1;
        announce(context, &candidate);
        let failure = case::run(lab, &candidate)?.failure;
        // Another failure is another story, except for its numbers.
        let same = failure
            .filter(|new| kind_of(&new.observed) == kind_of(&shortest.observed) && !is_fatal(new));
        shrinker.verdict(same.as_ref().map(|new| new.acts.clone()));
        shortest = same.unwrap_or(shortest);
    }
    lab.patience = patience;
    let seconds = begun.elapsed().as_secs_f64();
    let length = shortest.acts.len();
    context.step(format_args!("shrunk to {length} acts by {tried} candidates in {seconds:.1} s"));
    Ok(shortest)
}

/// `fuzz/replay`: the acts of a reproducer, several times.
pub(super) fn replay(context: &mut Context) -> Result<String, Stop> {
    let input = Input::read()?;
    if input.acts.is_empty() {
        return Err(Stop::error("there are no acts to replay"));
    }
    let mut lab = Lab::new(context, PATIENCE)?;
    let acts =
        if input.bold { input.acts.clone() } else { limits::strip(context.kernel, &input.acts) };
    let times = input.times.max(1);
    let (mut done, mut failures) = (0, Vec::new());
    for time in 1..=times {
        announce(context, &acts);
        // Before it runs: the host counts it also where the machine does not live to tell.
        context.step(format_args!("replay {time}, failed {}", failures.len()));
        let failure = case::run(&mut lab, &acts)?.failure;
        let fatal = failure.as_ref().is_some_and(is_fatal);
        failures.extend(failure);
        done = time;
        if fatal {
            break;
        }
    }
    context.step(format_args!("replayed {done}, failed {}", failures.len()));
    let what = "every answer is one of those allowed";
    if let Some(first) = failures.first() {
        context.evidence("steps", &first.to_text());
        let (expected, observed) = (&first.expected, &first.observed);
        let message =
            format!("{} of {done}: expected {expected}, observed {observed}", failures.len());
        return Err(Stop::fail(FailureKind::Errno, message));
    }
    context.check(FailureKind::Errno, what, true)?;
    lab.close(context)?;
    Ok(format!("as it should be:\n{}", numbered(&acts)))
}
