//! The kernel's own selftests as scenarios: a script is run, its words are streamed, and it is judged by
//! more than its exit code, because 13 of the 55 scripts exit with 0 whatever happened in them.

mod leftovers;
mod script;
mod skip;
mod surroundings;
mod verdict;

use std::time::Duration;

use reports::event::FailureKind;
use scenarios::kselftest::Selftest;
use scenarios::{Context, Stop};

/// How long a server that was told to go may take, times the budget scale.
const GONE_LIMIT: Duration = Duration::from_secs(2);

/// Runs one script to its end. `Ok` carries what was shown.
pub(crate) fn run(context: &mut Context, test: &Selftest) -> Result<String, Stop> {
    let mut surroundings = surroundings::prepare(context)?;
    let ended = script::run(context, test)?;
    context.step(format_args!("the script ended with {}", ended.status));
    for file in leftovers::remove_files()? {
        context.step(format_args!("I/O came after its device had gone and made a file: {file}"));
    }
    let left = leftovers::find(test, GONE_LIMIT * context.budgets.scale)?;
    let crashed = surroundings.fatal_signals()?;
    if let Some(judged) = verdict::skipped(test, &ended) {
        return Err(Stop::skip(judged, skip::reason(test, &ended)));
    }
    for rule in verdict::RULES {
        let holds = (rule.holds)(test, &ended);
        context.check(FailureKind::Operation, rule.says(&ended), holds)?;
    }
    context.check(
        FailureKind::Leak,
        format_args!("nothing is left behind, seen: {}", left.join(", ")),
        left.is_empty(),
    )?;
    context.check(
        FailureKind::Operation,
        format_args!("no program died of a fatal signal, seen: {crashed}"),
        crashed.is_empty(),
    )?;
    Ok(format!("{} lines of output, exit code 0", ended.lines.len()))
}
