//! `model/sequences`: random walks over two devices and two servers, each step compared.

use std::time::{Duration, Instant};

use rand::Rng;
use reports::event::FailureKind;
use ublk::uapi::Features;

use super::case::{self, Difference};
use super::generate;
use super::input::Input;
use super::lab::Lab;
use super::profile::Profile;
use super::reproducer::Reproducer;
use super::shrink::Shrinker;
use super::step::Step;
use super::world::World;
use crate::context::{Context, Stop};

/// Devices and servers of a case.
pub(super) const DEVICES: usize = 2;
pub(super) const SERVERS: usize = 2;
/// Lengths of a case, in steps.
const LENGTHS: std::ops::RangeInclusive<usize> = 10..=60;
/// How long a failing case is made shorter.
const SHRINK_MAX: Duration = Duration::from_secs(15);
/// Differences after which a run ends.
const FINDINGS_MAX: usize = 4;
/// How long an answer is waited for that must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The same while shrinking, where most candidates that hang hang the same way.
const SHRINK_PATIENCE: Duration = Duration::from_millis(1500);

/// The empty world of this kernel.
pub(super) fn empty(context: &Context, devices: usize, servers: usize) -> Result<World, Stop> {
    let features = Features::from_bits(crate::rig::feature_bits()?);
    let mut profile = Profile::of(context.kernel, features);
    profile.two_cpus &= std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
    let Input { plant, bold, .. } = Input::read()?;
    Ok(World { plant, bold, ..World::new(profile, devices, servers) })
}

pub(super) fn run(context: &mut Context) -> Result<String, Stop> {
    let input = Input::read()?;
    let world = empty(context, DEVICES, SERVERS)?;
    let mut lab = Lab::new(&world, PATIENCE)?;
    let limit = input.time_limit(context);
    let begin = Instant::now();
    let mut cases = 0_u64;
    let mut findings = Findings::new("model/sequences");
    while begin.elapsed() < limit && !findings.are_enough() {
        let mut rng = context.rng(&format!("sequences-{cases}"));
        let length = rng.random_range(LENGTHS);
        let steps = generate::sequence(&world, length, &mut rng);
        findings.try_case(context, &mut lab, &world, &steps)?;
        cases += 1;
    }
    let told = lab.rate(begin.elapsed());
    context.evidence("time-by-step", &lab.time_by_step());
    findings.conclude(format!("{cases} sequences, {told}"))
}

/// What a scenario has found so far. It goes on after a first difference, for the next may be another one.
pub(super) struct Findings {
    scenario: &'static str,
    begin: Instant,
    /// When the first was made short.
    first: Option<Duration>,
    found: Vec<Difference>,
}

impl Findings {
    pub(super) fn new(scenario: &'static str) -> Self {
        Self { scenario, begin: Instant::now(), first: None, found: Vec::new() }
    }

    pub(super) fn are_enough(&self) -> bool {
        self.found.len() >= FINDINGS_MAX
    }

    /// Runs one case; one that fails is shrunk and kept as evidence.
    pub(super) fn try_case(
        &mut self,
        context: &mut Context,
        lab: &mut Lab,
        world: &World,
        steps: &[Step],
    ) -> Result<(), Stop> {
        announce(context, steps);
        let Some(found) = case::run(context, lab, world, steps)? else {
            return context.check(FailureKind::State, "the kernel does as the model says", true);
        };
        let alike = |known: &Difference| {
            (&known.expected, &known.observed) == (&found.expected, &found.observed)
        };
        if self.found.iter().any(alike) {
            return Ok(());
        }
        context.evidence("first-failure", &found.to_text());
        let shortest = shrink(context, lab, world, found)?;
        let kernel = context.kernel.to_string();
        let reproducer = Reproducer::new(self.scenario, kernel, context.seed, &shortest);
        let number = self.found.len() + 1;
        let text = serde_json::to_string(&reproducer).unwrap_or_default();
        context.evidence(&format!("reproducer-{number}"), &text);
        context.evidence(&format!("steps-{number}"), &shortest.to_text());
        self.first.get_or_insert_with(|| self.begin.elapsed());
        self.found.push(shortest);
        Ok(())
    }

    /// The scenario's end: `told` where nothing was found.
    pub(super) fn conclude(self, told: String) -> Result<String, Stop> {
        let Some(first) = self.found.first() else { return Ok(told) };
        let message = format!(
            "{} differences; the first, found and made {} steps short in {:.1} s: expected {}, observed {}; {told}",
            self.found.len(),
            first.steps.len(),
            self.first.unwrap_or_default().as_secs_f64(),
            first.expected,
            first.observed
        );
        Err(Stop::fail(FailureKind::State, message))
    }
}

/// Tells what comes, before it does: a machine that is lost cannot tell any more.
pub(super) fn announce(context: &mut Context, steps: &[Step]) {
    context.step(format_args!("case {}", serde_json::to_string(steps).unwrap_or_default()));
}

/// The shortest form of a failure that can be found in time.
fn shrink(
    context: &mut Context,
    lab: &mut Lab,
    world: &World,
    found: Difference,
) -> Result<Difference, Stop> {
    let begin = Instant::now();
    let patience = std::mem::replace(&mut lab.patience, SHRINK_PATIENCE);
    let mut shrinker = Shrinker::new(found.steps.clone());
    let (mut shortest, mut tried) = (found, 0_u32);
    while begin.elapsed() < SHRINK_MAX {
        let Some(candidate) = shrinker.candidate() else { break };
        tried += 1;
        announce(context, &candidate);
        match case::run(context, lab, world, &candidate)? {
            Some(difference) => {
                shrinker.verdict(Some(difference.steps.clone()));
                shortest = difference;
            }
            None => shrinker.verdict(None),
        }
    }
    lab.patience = patience;
    let seconds = begin.elapsed().as_secs_f64();
    let length = shortest.steps.len();
    context.step(format_args!("shrunk to {length} steps by {tried} candidates in {seconds:.1} s"));
    Ok(shortest)
}
