//! `vm-fuzz`: the model's random sequences and orders, and the raw fuzzers, with fresh seeds, machine after machine, until the
//! time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reports::report::ExitCode;
use scenarios::model::{Input, Reproducer};

use crate::cli::FuzzArgs;
use crate::error::Error;
use crate::fuzz::{
    Bench, Cases, Corpus, LastCase, RoundEnd, acts_again, plain, shrink_crash, steps_again,
};
use crate::interrupt;

/// What is run in each machine, unless some are named.
const SCENARIOS: &[&str] =
    &["model/sequences", ORDERS, "model/concurrent", "fuzz/sqe", "fuzz/memory", "fuzz/holders"];
/// The one that comes to an end.
const ORDERS: &str = "model/orders";
/// Time of each of them in one machine, on a machine that is emulated; with shrinking it stays within their budget.
const SLICE: Duration = Duration::from_secs(40);
/// Longest time that is spent on making one crash short.
const SHRINK_MAX: Duration = Duration::from_secs(600);

pub(crate) fn run(args: &FuzzArgs) -> Result<ExitCode, Error> {
    let kernels =
        if args.kernels.is_empty() { vec!["newest".to_owned()] } else { args.kernels.clone() };
    let seed = args.seed.unwrap_or_else(|| rand::rng().random());
    let mut seeds = ChaCha8Rng::seed_from_u64(seed);
    let mut bench = Bench::open(&args.machine, &args.sources, args.output.as_deref(), "fuzz")?;
    let mut corpus = Corpus::new(&bench.folder);
    let scenarios = chosen(&args.only)?;
    let folder = args.cases.clone().unwrap_or_else(|| bench.folder.join("cases"));
    let mut cases = Cases::open(&folder)?;
    let begin = Instant::now();
    let mut rounds = 0_u32;
    // Walks of `model/orders` that are done: each machine goes on where the one before has ended.
    let mut walks: BTreeMap<String, u64> = BTreeMap::new();
    // Kernels whose orders were all walked, where nothing else is asked for.
    let mut complete = BTreeSet::new();
    anstream::println!("first seed {seed:#x}; everything goes to {}", bench.folder.display());
    for kernel in kernels.iter().cycle() {
        if complete.len() == kernels.len() {
            break;
        }
        if complete.contains(kernel) {
            continue;
        }
        let left = args.time.saturating_sub(begin.elapsed());
        if left.is_zero() || interrupt::requested() {
            break;
        }
        let slice = left.min(SLICE).max(Duration::from_secs(5));
        let time_ms = u64::try_from(slice.as_millis()).ok();
        let round_seed = if rounds == 0 { seed } else { seeds.random() };
        let orders_done = walks.get(kernel).copied().unwrap_or(0);
        let input = Input {
            time_ms,
            plant: args.plant,
            bold: args.bold,
            orders_done,
            orders_seed: Some(seed),
            corpus: cases.some(&mut seeds),
            ..Input::default()
        };
        let end = bench.round(kernel, &scenarios, round_seed, &input)?;
        rounds += 1;
        if let Some(reason) = &end.infrastructure {
            return Err(Error::infrastructure(format!("the machine did not come up: {reason}")));
        }
        show(begin.elapsed(), rounds, round_seed, kernel, &end);
        if let Some(done) = walks_done(&end) {
            if done == 0 && scenarios == [ORDERS] {
                complete.insert(kernel.clone());
            }
            walks.insert(kernel.clone(), done);
        }
        for (scenario, case) in &end.cases {
            cases.keep(scenario, case.clone())?;
        }
        take(&mut bench, &mut corpus, kernel, (round_seed, time_ms), end)?;
    }
    let count = corpus.found().count();
    anstream::println!(
        "{rounds} machines in {:.0} s: {count} findings; {} cases kept in {}",
        begin.elapsed().as_secs_f64(),
        cases.len(),
        folder.display()
    );
    for (title, seen, found) in corpus.found() {
        anstream::println!("\n{title} (seen {seen} times)\n{}", found.to_text());
    }
    Ok(if count == 0 { ExitCode::Passed } else { ExitCode::Failed })
}

/// What any of `only` is a part of; everything without one.
fn chosen(only: &[String]) -> Result<Vec<&'static str>, Error> {
    let is_named =
        |id: &&str| only.is_empty() || only.iter().any(|part| id.contains(part.as_str()));
    let scenarios: Vec<&str> = SCENARIOS.iter().copied().filter(is_named).collect();
    if scenarios.is_empty() {
        let message = format!("--only names none of {}", SCENARIOS.join(", "));
        return Err(Error::usage(message));
    }
    Ok(scenarios)
}

/// What `model/orders` has come to; 0 when it has done all and may begin again.
fn walks_done(end: &RoundEnd) -> Option<u64> {
    let told = end.steps.iter().rev().find_map(|text| text.strip_prefix("orders: "))?;
    let (walks, state) = told.split_once(" walks, ")?;
    if state == "that is all" {
        anstream::println!("          that was the last of the orders");
        return Some(0);
    }
    walks.parse().ok()
}

fn show(elapsed: Duration, rounds: u32, seed: u64, kernel: &str, end: &RoundEnd) {
    let seconds = elapsed.as_secs();
    anstream::println!("{seconds:>6} s  machine {rounds}, kernel {kernel}, seed {seed:#x}");
    for told in &end.told {
        anstream::println!("          {told}");
    }
}

/// Keeps what a round has found, once each.
fn take(
    bench: &mut Bench<'_>,
    corpus: &mut Corpus,
    kernel: &str,
    (seed, time_ms): (u64, Option<u64>),
    end: RoundEnd,
) -> Result<(), Error> {
    for found in end.reproducers {
        let title = format!("{} {}", found.expected, found.observed);
        if !corpus.knows(&title) {
            let path = corpus.keep(&title, found)?;
            anstream::println!("          new: {}", path.display());
        }
    }
    let Some(title) = end.crash else {
        return take_unexplained(corpus, kernel, (seed, time_ms), end.unexplained);
    };
    if corpus.knows(&title) {
        return Ok(());
    }
    anstream::println!("          crash: {title}; it is made shorter");
    let deadline = Instant::now() + SHRINK_MAX;
    let (again, scenario, steps, acts) = match end.last {
        Some(LastCase::Acts(acts)) => {
            let shortest = shrink_crash(bench, kernel, acts.clone(), acts_again, &title, deadline)?;
            (shortest.is_some(), "fuzz/replay", Vec::new(), shortest.unwrap_or(acts))
        }
        last => {
            let steps = if let Some(LastCase::Steps(steps)) = last { steps } else { Vec::new() };
            let shortest =
                shrink_crash(bench, kernel, steps.clone(), steps_again, &title, deadline)?;
            (shortest.is_some(), "model/sequences", shortest.unwrap_or(steps), Vec::new())
        }
    };
    let found = Reproducer {
        format: scenarios::model::FORMAT,
        scenario: scenario.into(),
        kernel: kernel.to_owned(),
        seed,
        steps,
        bold: true,
        acts,
        expected: "the kernel lives".into(),
        observed: if again { "it crashes" } else { "it crashed once, and not again" }.into(),
        splat: Some(title.clone()),
        ..Reproducer::default()
    };
    let path = corpus.keep(&title, found)?;
    anstream::println!("          new: {}", path.display());
    Ok(())
}

/// Keeps what was red without having been made short: its scenario and seed are all there is to try it again.
fn take_unexplained(
    corpus: &mut Corpus,
    kernel: &str,
    (seed, time_ms): (u64, Option<u64>),
    unexplained: Vec<(String, String)>,
) -> Result<(), Error> {
    for (scenario, message) in unexplained {
        let title = format!("{scenario}: {}", plain(&message));
        if corpus.knows(&title) {
            continue;
        }
        let found = Reproducer {
            format: scenarios::model::FORMAT,
            scenario,
            kernel: kernel.to_owned(),
            seed,
            time_ms,
            expected: "it passes".into(),
            observed: message,
            ..Reproducer::default()
        };
        let path = corpus.keep(&title, found)?;
        anstream::println!("          new: {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> RoundEnd {
        RoundEnd { steps: vec![text.to_owned()], ..RoundEnd::default() }
    }

    #[test]
    fn the_next_machine_goes_on_where_the_last_one_ended() {
        assert_eq!(walks_done(&end("orders: 17 walks, more are left")), Some(17));
        assert_eq!(walks_done(&end("orders: 90 walks, that is all")), Some(0));
        assert_eq!(walks_done(&end("case []")), None);
    }
}
