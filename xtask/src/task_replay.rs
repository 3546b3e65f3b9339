//! `replay FILE`: does what a reproducer says, several times, and tells how often it failed.

use reports::report::ExitCode;
use scenarios::model::{Input, Reproducer};

use crate::cli::ReplayArgs;
use crate::error::Error;
use crate::fuzz::{Bench, REPLAY, REPLAY_ACTS, RoundEnd};
use crate::interrupt;

pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode, Error> {
    let found = read(args)?;
    anstream::println!("{}", found.to_text());
    if args.list {
        return Ok(ExitCode::Passed);
    }
    let kernel = args.kernel.clone().or_else(|| series(&found.kernel));
    let kernel = kernel.unwrap_or_else(|| "newest".to_owned());
    let mut bench = Bench::open(&args.machine, &args.sources, args.output.as_deref(), "replay")?;
    if let Some(server) = &found.server {
        bench.name_server(server)?;
    }
    let (mut done, mut failed) = (0, 0);
    while done < args.times && !interrupt::requested() {
        let left = args.times - done;
        let end = if !found.acts.is_empty() {
            let acts = found.acts.clone();
            let input = Input { acts, times: left, bold: found.bold, ..Input::default() };
            bench.round(&kernel, &[REPLAY_ACTS], found.seed, &input)?
        } else if found.steps.is_empty() {
            let input = Input { time_ms: found.time_ms, ..Input::default() };
            bench.round(&kernel, &[&found.scenario], found.seed, &input)?
        } else {
            let steps = found.steps.clone();
            let input = Input { steps, times: left, bold: found.bold, ..Input::default() };
            bench.round(&kernel, &[REPLAY], found.seed, &input)?
        };
        if let Some(reason) = &end.infrastructure {
            return Err(Error::infrastructure(format!("the machine did not come up: {reason}")));
        }
        let (ran, bad) = tally(&end);
        done += ran;
        failed += bad;
        for told in &end.told {
            anstream::println!("{told}");
        }
        if let Some(title) = &end.crash {
            anstream::println!("crash: {title}");
        }
    }
    anstream::println!("{kernel}: fails {failed} of {done} times; {}", bench.folder.display());
    Ok(if failed == 0 { ExitCode::Passed } else { ExitCode::Failed })
}

fn read(args: &ReplayArgs) -> Result<Reproducer, Error> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::usage(format!("cannot read the reproducer {}: {error}", args.file.display()))
    };
    let text = std::fs::read_to_string(&args.file).map_err(|error| wrong(&error))?;
    let found: Reproducer = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let empty = found.steps.is_empty() && found.acts.is_empty();
    if empty && scenarios::catalogue::find(&found.scenario).is_none() {
        return Err(wrong(&"it has neither steps nor acts nor a scenario that there is"));
    }
    Ok(found)
}

/// `7.3` of `7.3.4+deb13-cloud-amd64`.
fn series(release: &str) -> Option<String> {
    let kernel = scenarios::kernel::KernelRelease::parse(release)?;
    Some(format!("{}.{}", kernel.major, kernel.minor))
}

/// Replays that ran in a round, and how many of them failed. Those that a machine did not live to do are done in the next.
fn tally(end: &RoundEnd) -> (u32, u32) {
    let last = |word: &str| {
        end.steps.iter().rev().find_map(|text| {
            let (number, failed) = text.strip_prefix(word)?.split_once(", failed ")?;
            Some((number.parse::<u32>().ok()?, failed.parse::<u32>().ok()?))
        })
    };
    // Told when all is over, of those that are over; or before each, of those before it.
    match (last("replayed "), last("replay ")) {
        // What the kernel said in the end is nobody's of them in particular: a WARNING comes once a boot.
        (Some((number, failed)), _) => (number, failed.max(u32::from(!end.passed))),
        (None, Some((number, failed))) => (number, failed + 1),
        (None, None) => (1, u32::from(!end.passed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(steps: &[&str], crash: bool, passed: bool) -> RoundEnd {
        RoundEnd {
            steps: steps.iter().map(|text| (*text).to_owned()).collect(),
            crash: crash.then(|| "BUG".to_owned()),
            passed,
            ..RoundEnd::default()
        }
    }

    #[test]
    fn replays_are_counted_also_in_a_machine_that_was_lost() {
        assert_eq!(tally(&end(&["replay 4, failed 1", "case []"], true, false)), (4, 2));
        assert_eq!(
            tally(&end(&["replay 10, failed 3", "replayed 10, failed 4"], false, false)),
            (10, 4)
        );
        // A failure after which the machine is worth nothing, whether or not it is seen to be.
        for crash in [false, true] {
            let told = ["replay 3, failed 0", "replayed 3, failed 1"];
            assert_eq!(tally(&end(&told, crash, false)), (3, 1));
        }
        // All steps were as they should be, and the kernel's log is not.
        assert_eq!(tally(&end(&["replayed 5, failed 0"], true, false)), (5, 1));
        assert_eq!(tally(&end(&["anything"], false, false)), (1, 1));
        assert_eq!(tally(&end(&[], false, true)), (1, 0));
    }

    #[test]
    fn a_release_names_its_series() {
        assert_eq!(series("7.3.4+deb13-cloud-amd64").as_deref(), Some("7.3"));
        assert_eq!(series("6.12").as_deref(), Some("6.12"));
    }
}
