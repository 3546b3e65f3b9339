//! Which of many reports are the state of things, and which are its history.
//!
//! Two runs of one clean commit speak of the same program and can stand side by side. A run of another commit
//! cannot: its numbers are history. Of a tree with local changes nobody knows what it held, so such a run is
//! only ever the same as itself.

use crate::perf::PerfReport;
use crate::report::{Report, RunHeader};

use super::{Artifact, Document, Source};

/// One report with its links.
#[derive(Debug)]
pub(super) struct Chosen<'a, T> {
    pub(super) report: &'a T,
    pub(super) artifacts: &'a [Artifact],
}

/// The reports of one sort, each list from the oldest to the newest.
#[derive(Debug)]
pub(super) struct Timeline<'a, T> {
    /// All of them.
    pub(super) all: Vec<Chosen<'a, T>>,
    /// How many at the beginning of `all` are history.
    pub(super) history: usize,
}

impl<'a, T> Timeline<'a, T> {
    fn of(mut all: Vec<Chosen<'a, T>>, header: impl Fn(&T) -> &RunHeader) -> Self {
        // The state's runs are moved to the end even where an older commit was run again in between.
        all.sort_by_key(|chosen| header(chosen.report).started_at_unix_ms);
        let newest: Option<&'a T> = all.last().map(|chosen| chosen.report);
        let history = newest.map_or(0, |newest| {
            let state = state(header(newest));
            all.sort_by_key(|chosen| state_eq(state, header(chosen.report)));
            all.iter().filter(|chosen| !state_eq(state, header(chosen.report))).count()
        });
        Self { all, history }
    }

    /// The runs of the newest state.
    pub(super) fn current(&self) -> &[Chosen<'a, T>] {
        &self.all[self.history..]
    }

    /// Whether there is more than one state.
    pub(super) const fn has_history(&self) -> bool {
        self.history > 0
    }
}

/// What tells one state of the tree from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State<'a> {
    Commit(&'a str),
    Run(&'a str),
}

fn state(header: &RunHeader) -> State<'_> {
    match header.commit.as_deref() {
        Some(commit) if !header.dirty => State::Commit(commit),
        _ => State::Run(&header.run_id),
    }
}

fn state_eq(wanted: State<'_>, header: &RunHeader) -> bool {
    wanted == state(header)
}

/// The runs among `sources`.
pub(super) fn runs<'a>(sources: &'a [Source<'a>]) -> Timeline<'a, Report> {
    let own = sources.iter().filter_map(|source| match source.document {
        Document::Run(report) => Some(Chosen { report, artifacts: &source.artifacts }),
        Document::Perf(_) => None,
    });
    Timeline::of(own.collect(), |report| &report.run)
}

/// The measurements among `sources`.
pub(super) fn perfs<'a>(sources: &'a [Source<'a>]) -> Timeline<'a, PerfReport> {
    let own = sources.iter().filter_map(|source| match source.document {
        Document::Perf(report) => Some(Chosen { report, artifacts: &source.artifacts }),
        Document::Run(_) => None,
    });
    Timeline::of(own.collect(), |report| &report.run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(commit: &str, dirty: bool, started_at_unix_ms: u64) -> RunHeader {
        RunHeader {
            run_id: format!("run-{started_at_unix_ms}"),
            commit: Some(commit.to_owned()),
            dirty,
            started_at_unix_ms,
            ..RunHeader::default()
        }
    }

    fn timeline(headers: &[RunHeader]) -> (Vec<u64>, usize) {
        let all = headers.iter().map(|report| Chosen { report, artifacts: &[] }).collect();
        let timeline = Timeline::of(all, |header| header);
        let order = timeline.all.iter().map(|chosen| chosen.report.started_at_unix_ms).collect();
        (order, timeline.history)
    }

    #[test]
    fn runs_of_one_commit_stand_side_by_side() {
        let runs = [header("b", false, 3), header("a", false, 1), header("b", false, 2)];
        assert_eq!(timeline(&runs), (vec![1, 2, 3], 1));
    }

    #[test]
    fn a_tree_with_changes_is_only_the_same_as_itself() {
        let runs = [header("a", true, 1), header("a", true, 2), header("a", false, 3)];
        assert_eq!(timeline(&runs), (vec![1, 2, 3], 2));
    }

    #[test]
    fn an_older_commit_run_in_between_is_history() {
        let runs = [header("b", false, 1), header("a", false, 2), header("b", false, 3)];
        assert_eq!(timeline(&runs), (vec![2, 1, 3], 1));
    }

    #[test]
    fn none_is_none() {
        assert_eq!(timeline(&[]), (vec![], 0));
    }
}
