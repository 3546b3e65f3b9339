//! What became of each mutant: the matrix of bugs and the scenarios that saw them first.

use std::fmt::Write;

use serde::Serialize;

/// All rows of one run, as `mutants.json` has them.
#[derive(Debug, Serialize)]
pub(crate) struct Matrix {
    /// `uname -r` of the guest, where one was reached.
    pub(crate) kernel_release: Option<String>,
    /// The tree that was mutated.
    pub(crate) commit: String,
    /// Whether the tree differed from that commit.
    pub(crate) dirty: bool,
    pub(crate) rows: Vec<Row>,
}

/// One mutant and its fate.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    #[serde(flatten)]
    pub(crate) fate: Fate,
    /// Scenarios that ran until it was known.
    pub(crate) scenarios: usize,
    pub(crate) elapsed_ms: u64,
}

/// How it ended.
#[derive(Debug, Serialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub(crate) enum Fate {
    /// A scenario was red.
    Killed {
        /// The first, in the plan's order.
        scenario: String,
        /// What it said.
        message: String,
    },
    /// Every scenario took it for a good server.
    Alive,
    /// Nothing can be said: the run itself broke.
    Broken {
        /// How.
        reason: String,
    },
}

impl Matrix {
    /// Mutants that nothing saw, or of which nothing is known.
    pub(crate) fn not_killed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !matches!(row.fate, Fate::Killed { .. }))
    }

    /// As a table of Markdown, with what it is of.
    pub(crate) fn markdown(&self) -> String {
        let killed = self.rows.len() - self.not_killed().count();
        let kernel = self.kernel_release.as_deref().unwrap_or("unknown");
        let commit: String = self.commit.chars().take(12).collect();
        let dirty = if self.dirty { " with changes" } else { "" };
        let mut text = format!(
            "{killed} of {} mutants killed on Linux {kernel}, commit {commit}{dirty}.\n\n\
             | mutant | what it does | killed by | which said |\n| --- | --- | --- | --- |\n",
            self.rows.len()
        );
        for Row { name, what, fate, .. } in &self.rows {
            let (scenario, said) = match fate {
                Fate::Killed { scenario, message } => (scenario.as_str(), cell(message)),
                Fate::Alive => ("**alive**", String::new()),
                Fate::Broken { reason } => ("**unknown**", cell(reason)),
            };
            let _ = writeln!(text, "| {name} | {what} | {scenario} | {said} |");
        }
        text
    }
}

/// A message that fits a cell: one line, of bounded length, without what would end the cell.
fn cell(message: &str) -> String {
    const CHARS_MAX: usize = 110;
    let line = message.lines().next().unwrap_or_default().replace('|', "/");
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_or_unknown_stands_out() {
        let row = |name, fate| Row { name, what: "x", fate, scenarios: 1, elapsed_ms: 1 };
        let killed = Fate::Killed { scenario: "a/b".into(), message: "is 1 | was 2\nmore".into() };
        let broken = Fate::Broken { reason: "no kernel".into() };
        let rows = vec![row("one", killed), row("two", Fate::Alive), row("three", broken)];
        let matrix = Matrix { kernel_release: None, commit: "c0ffee".into(), dirty: false, rows };
        let text = matrix.markdown();
        assert!(
            text.starts_with("1 of 3 mutants killed on Linux unknown, commit c0ffee."),
            "{text}"
        );
        assert!(text.contains("| one | x | a/b | is 1 / was 2 |"), "{text}");
        assert!(text.contains("| two | x | **alive** |  |"), "{text}");
        assert_eq!(matrix.not_killed().map(|row| row.name).collect::<Vec<_>>(), ["two", "three"]);
    }
}
