//! Which rows of the errno map the scenarios of a run have really been at, by the counters of those that name a row.

use std::collections::{BTreeMap, BTreeSet};

use reports::driver::{Claim, Line, proof};
use reports::report::Verdict;
use scenarios::errno::{ROWS, Row};

use super::counters::Counters;
use crate::error::Error;
use crate::run::Done;

/// Judges each row that a scenario of the run names and passed. `read` makes lines of counters.
pub(super) fn claims(
    done: &Done,
    counters: &BTreeMap<String, Counters>,
    mut read: impl FnMut(&Counters) -> Result<Vec<Line>, Error>,
) -> Result<Vec<Claim>, Error> {
    let passed: BTreeSet<&str> = done
        .report
        .scenarios()
        .filter(|(_, scenario)| scenario.verdict == Verdict::Pass)
        .map(|(_, scenario)| scenario.id.as_str())
        .collect();
    let of_row = |row: &Row| -> BTreeSet<&'static str> {
        row.scenarios().filter(|id| passed.contains(id) && counters.contains_key(*id)).collect()
    };
    // Several rows may be parts of one condition; only all of their scenarios together take it every way.
    let mut at_lines: BTreeMap<(u32, u32), BTreeSet<&str>> = BTreeMap::new();
    for row in ROWS {
        at_lines.entry(row.lines).or_default().extend(of_row(row));
    }
    let mut details: BTreeMap<&BTreeSet<&str>, Vec<Line>> = BTreeMap::new();
    for scenarios in at_lines.values() {
        if let Some(sum) = sum(scenarios.iter().filter_map(|id| counters.get(*id)))? {
            details.insert(scenarios, read(&sum)?);
        }
    }
    let judged = ROWS.iter().filter_map(|row| {
        let detail = details.get(at_lines.get(&row.lines)?)?;
        let scenarios: Vec<_> = of_row(row).into_iter().map(str::to_owned).collect();
        let (first, last) = row.lines;
        let proof = proof(detail, first, last);
        (!scenarios.is_empty()).then(|| Claim { row: row.id.to_owned(), scenarios, proof })
    });
    Ok(judged.collect())
}

/// All of these together.
pub(super) fn sum<'a>(
    counters: impl Iterator<Item = &'a Counters>,
) -> Result<Option<Counters>, Error> {
    let mut sum: Option<Counters> = None;
    for one in counters {
        match &mut sum {
            None => sum = Some(one.clone()),
            Some(sum) => sum.add(one).map_err(Error::failed)?,
        }
    }
    Ok(sum)
}
