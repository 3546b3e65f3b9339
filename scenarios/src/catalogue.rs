//! Every scenario there is, in the order in which a run does them; and those that are for a server that was named.
//!
//! The order matters a little: the fresh-state check comes first, because everything after it relies on
//! it, and the canaries that cost a virtual machine come last.

use crate::context::{Context, Stop};
use crate::scenario::Scenario;
use crate::{
    abi, canary, command, data, fuzz, lifecycle, model, modes, property, recovery, rig, server,
    startup, targets,
};

/// The first series with GET_FEATURES and the encoded opcodes, without which our library makes no device.
const OLDEST: (u32, u32) = (6, 5);

/// All scenarios, in run order.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    let mut lifecycle = lifecycle::SCENARIOS.iter().copied().flatten();
    let fresh = lifecycle.next();
    fresh
        .into_iter()
        .chain(startup::SCENARIOS.iter().copied().flatten())
        .chain(abi::SCENARIOS.iter().copied().flatten())
        .chain(model::SCENARIOS)
        .chain(fuzz::SCENARIOS)
        .chain(data::SCENARIOS.iter().copied().flatten())
        .chain(modes::SCENARIOS.iter().copied().flatten())
        .chain(targets::SCENARIOS.iter().copied().flatten())
        .chain(property::SCENARIOS.iter().copied().flatten())
        .chain(lifecycle)
        .chain(recovery::SCENARIOS.iter().copied().flatten())
        .chain(command::SCENARIOS.iter().copied().flatten())
        .chain(canary::SCENARIOS)
}

/// What is asked of a server that was named: the server family, and the canaries as always.
pub fn of_a_server() -> impl Iterator<Item = &'static Scenario> {
    server::SCENARIOS.iter().copied().flatten().chain(canary::SCENARIOS)
}

/// Every scenario that a run can be planned of, with a server or without.
fn every() -> impl Iterator<Item = &'static Scenario> {
    all().chain(server::SCENARIOS.iter().copied().flatten())
}

/// The scenario called `id`, also one that is not listed because it only runs with an input.
#[must_use]
pub fn find(id: &str) -> Option<&'static Scenario> {
    every().chain(model::BY_INPUT).chain(fuzz::BY_INPUT).find(|scenario| scenario.id == id)
}

/// Runs `scenario`, where anything can be said of this kernel: canaries and what is for a server that was named everywhere,
/// the rest from [`OLDEST`] on.
///
/// # Errors
/// What the scenario says, and [`Stop::Skip`] on an older kernel whose driver does not tell what it can do.
pub fn run(scenario: &Scenario, context: &mut Context) -> Result<String, Stop> {
    let (major, minor) = OLDEST;
    let kernel = context.kernel;
    let ours = || scenario.canary.is_none() && all().any(|one| one.id == scenario.id);
    if !kernel.at_least(major, minor) && ours() && rig::features().is_none() {
        let reason = format!("Linux {kernel} has no such command: ours needs {major}.{minor}");
        return Err(Stop::skip("GET_FEATURES", reason));
    }
    (scenario.run)(context)
}

/// The scenarios whose id holds `filter`: a substring, or with `*` a pattern over the whole id.
#[must_use]
pub fn matching(filter: &str) -> Vec<&'static Scenario> {
    all().filter(|scenario| matches(filter, scenario.id)).collect()
}

/// The scenarios of `from` that any filter names, in run order; all of them without one.
///
/// # Errors
/// The first filter that names none.
pub fn choose(
    from: impl Iterator<Item = &'static Scenario>,
    filters: &[String],
) -> Result<Vec<&'static Scenario>, &str> {
    let mut from: Vec<_> = from.collect();
    let names = |filter: &String, scenario: &Scenario| matches(filter, scenario.id);
    let idle = |filter: &&String| !from.iter().any(|scenario| names(filter, scenario));
    if let Some(idle) = filters.iter().find(idle) {
        return Err(idle);
    }
    from.retain(|scenario| filters.is_empty() || filters.iter().any(|f| names(f, scenario)));
    Ok(from)
}

fn matches(filter: &str, id: &str) -> bool {
    if !filter.contains('*') {
        return id.contains(filter);
    }
    let mut rest = id;
    let mut parts = filter.split('*').peekable();
    let mut first = true;
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let found = if first && last {
            (rest == part).then_some(0)
        } else if first {
            rest.starts_with(part).then_some(0)
        } else if last {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        match found {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        first = false;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reports::plan::Canary;
    use rstest::rstest;

    use super::*;

    #[test]
    fn ids_are_unique_and_speak() {
        let ids: Vec<_> = every().map(|scenario| scenario.id).collect();
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len());
        for scenario in every() {
            let (group, name) = scenario.id.split_once('/').unwrap();
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(group.chars().all(legal) && name.chars().all(legal), "{}", scenario.id);
            assert!(!scenario.title.is_empty(), "{} has no title", scenario.id);
            assert!(!scenario.covers.is_empty(), "{} covers nothing", scenario.id);
        }
    }

    #[test]
    fn there_are_at_least_thirty_and_every_canary_once() {
        let ordinary = all().filter(|scenario| scenario.canary.is_none()).count();
        assert!(ordinary >= 30, "{ordinary}");
        let canaries: Vec<_> = all().filter_map(|scenario| scenario.canary).collect();
        assert_eq!(canaries.len(), Canary::ALL.len());
        assert!(Canary::ALL.iter().all(|canary| canaries.contains(canary)));
    }

    #[rstest]
    #[case("startup", "startup/fetch-twice", true)]
    #[case("startup/*", "startup/fetch-twice", true)]
    #[case("*twice", "startup/fetch-twice", true)]
    #[case("startup/*-twice", "startup/fetch-twice", true)]
    #[case("data/*", "startup/fetch-twice", false)]
    #[case("startup*twic", "startup/fetch-twice", false)]
    #[case("*", "startup/fetch-twice", true)]
    fn filters(#[case] filter: &str, #[case] id: &str, #[case] expected: bool) {
        assert_eq!(matches(filter, id), expected);
    }

    /// A known bug without a page would excuse a red that nobody can look up.
    #[test]
    fn every_known_bug_has_its_page() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for release in ["6.12.1", "6.16.1", "6.17.1", "6.18.1", "7.2.1", "7.3.1", "7.3.1-lockdep"] {
            let kernel = crate::kernel::KernelRelease::parse(release).unwrap();
            for reference in every().filter_map(|scenario| (scenario.known_bug)(kernel)) {
                let page = reference.split(',').next().unwrap_or_default();
                assert!(root.join(page).is_file(), "{reference}: there is no {page}");
            }
        }
    }
}
