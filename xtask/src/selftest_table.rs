//! Both servers side by side, one line for each script: the question is never "does ours pass" but "is
//! ours worse", and a script that neither passes is the machine's business.

use std::collections::BTreeMap;
use std::fmt;

use reports::report::{Report, ScenarioReport, Verdict};
use scenarios::kselftest::{Selftest, Server};

/// Longest remark of a line; the report has the whole message.
const REMARK_CHARS_MAX: usize = 90;

/// What one server made of one script.
#[derive(Clone, Debug)]
struct Cell {
    verdict: Verdict,
    seconds: f64,
    remark: String,
}

impl Cell {
    fn of(scenario: &ScenarioReport) -> Self {
        let remark = match &scenario.skip {
            Some(skip) => skip.reason.clone(),
            None if scenario.verdict == Verdict::Pass => String::new(),
            None => scenario.message.clone(),
        };
        let remark = remark.replace('\n', " ").chars().take(REMARK_CHARS_MAX).collect();
        let seconds = scenario.duration_ms.unwrap_or(0) as f64 / 1000.0;
        Self { verdict: scenario.verdict, seconds, remark }
    }
}

/// One line.
#[derive(Clone, Debug, Default)]
struct Row {
    kublk: Option<Cell>,
    ours: Option<Cell>,
}

/// All lines, by script.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<String, Row>,
}

impl Table {
    /// The selftests of a report.
    pub(crate) fn of(report: &Report) -> Self {
        let mut table = Self::default();
        for (_, scenario) in report.scenarios() {
            let Some(test) = Selftest::parse(&scenario.id) else { continue };
            let row = table.rows.entry(test.test).or_default();
            let cell = match test.server {
                Server::Kublk => &mut row.kublk,
                Server::Ours => &mut row.ours,
            };
            *cell = Some(Cell::of(scenario));
        }
        table
    }

    /// Scripts that the kernel's server passes and ours does not.
    pub(crate) fn worse(&self) -> impl Iterator<Item = &str> {
        let worse = |row: &Row| passes(row.kublk.as_ref()) && !passes(row.ours.as_ref());
        self.rows.iter().filter(move |(_, row)| worse(row)).map(|(test, _)| test.as_str())
    }

    /// How many scripts the kernel's server passes.
    pub(crate) fn passed_by_kublk(&self) -> usize {
        self.rows.values().filter(|row| passes(row.kublk.as_ref())).count()
    }

    fn passed_by_ours(&self) -> usize {
        self.rows.values().filter(|row| passes(row.ours.as_ref())).count()
    }
}

fn passes(cell: Option<&Cell>) -> bool {
    cell.is_some_and(|cell| cell.verdict == Verdict::Pass)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |cell: &Option<Cell>| match cell {
            Some(cell) => format!("{:<5} {:>6.1} s", cell.verdict.as_str(), cell.seconds),
            None => "-".to_owned(),
        };
        writeln!(f, "{:<20} {:<15} {:<15} remark", "script", "kublk", "ours")?;
        for (test, row) in &self.rows {
            let remark =
                [&row.ours, &row.kublk].into_iter().flatten().find(|c| !c.remark.is_empty());
            let remark = remark.map_or("", |cell| cell.remark.as_str());
            let line =
                format!("{test:<20} {:<15} {:<15} {remark}", show(&row.kublk), show(&row.ours));
            writeln!(f, "{}", line.trim_end())?;
        }
        let total = self.rows.len();
        write!(
            f,
            "of {total}: kublk passes {}, ours {}",
            self.passed_by_kublk(),
            self.passed_by_ours()
        )?;
        let worse: Vec<&str> = self.worse().collect();
        if !worse.is_empty() && self.rows.values().any(|row| row.ours.is_some()) {
            write!(f, "; ours is worse in {}: {}", worse.len(), worse.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(verdict: Verdict) -> Option<Cell> {
        Some(Cell { verdict, seconds: 1.0, remark: "why".into() })
    }

    fn table(rows: &[(&str, Option<Cell>, Option<Cell>)]) -> Table {
        let row = |(test, kublk, ours): &(&str, Option<Cell>, Option<Cell>)| {
            ((*test).to_owned(), Row { kublk: kublk.clone(), ours: ours.clone() })
        };
        Table { rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn ours_is_worse_where_theirs_passes_and_ours_fails_skips_or_is_missing() {
        let table = table(&[
            ("a", cell(Verdict::Pass), cell(Verdict::Pass)),
            ("b", cell(Verdict::Pass), cell(Verdict::Fail)),
            ("c", cell(Verdict::Pass), cell(Verdict::Skip)),
            ("d", cell(Verdict::Pass), None),
            ("e", cell(Verdict::Fail), cell(Verdict::Fail)),
            ("f", cell(Verdict::Skip), cell(Verdict::Error)),
        ]);
        assert_eq!(table.worse().collect::<Vec<_>>(), ["b", "c", "d"]);
        assert_eq!(table.passed_by_kublk(), 4);
        let text = table.to_string();
        assert!(text.contains("ours is worse in 3: b c d"), "{text}");
    }
}
