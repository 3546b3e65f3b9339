//! A table of hundreds of rows, folded: counts by family and mode, and in full only what does not hold.

use super::{Cell, Matrix};

/// How many cells came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cells that hold.
    pub pass: u32,
    /// Cells that failed.
    pub fail: u32,
    /// Cells of which nothing can be said.
    pub error: u32,
    /// Cells that failed as is known.
    pub known_bug: u32,
    /// Cells that a probe said no to.
    pub not_supported: u32,
    /// Cells that were not run.
    pub not_run: u32,
}

impl Tally {
    /// Counts `cells`.
    pub fn of<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Self {
        let mut tally = Self::default();
        for cell in cells {
            *match cell {
                Cell::Pass => &mut tally.pass,
                Cell::Fail { .. } => &mut tally.fail,
                Cell::Error { .. } => &mut tally.error,
                Cell::KnownBug { .. } => &mut tally.known_bug,
                Cell::NotSupported { .. } => &mut tally.not_supported,
                Cell::NotRun => &mut tally.not_run,
            } += 1;
        }
        tally
    }

    /// All cells.
    #[must_use]
    pub const fn all(self) -> u32 {
        self.pass + self.fail + self.error + self.known_bug + self.not_supported + self.not_run
    }

    /// Whether everything holds.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.pass == self.all()
    }

    /// The counts that are not 0, loudest first, each with its word. Passes last.
    #[must_use]
    pub fn parts(self) -> Vec<(&'static str, u32)> {
        let counts =
            [self.fail, self.error, self.known_bug, self.not_supported, self.not_run, self.pass];
        Cell::WORDS.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// The scenarios of one family in one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// As `startup`.
    pub family: &'a str,
    /// As `user-copy`.
    pub mode: &'static str,
    /// Indexes of its rows.
    pub rows: Vec<usize>,
    /// One for each column.
    pub tallies: Vec<Tally>,
}

/// The groups of `matrix`, families in the order in which they run and modes in that of their first scenario.
#[must_use]
pub fn groups(matrix: &Matrix) -> Vec<Group<'_>> {
    let mut families: Vec<&str> = Vec::new();
    for row in &matrix.rows {
        if !families.contains(&row.family()) {
            families.push(row.family());
        }
    }
    let mut groups: Vec<Group<'_>> = Vec::new();
    for family in families {
        let first = groups.len();
        for (index, row) in matrix.rows.iter().enumerate().filter(|(_, r)| r.family() == family) {
            let mode = row.mode();
            match groups[first..].iter_mut().find(|group| group.mode == mode) {
                Some(group) => group.rows.push(index),
                None => groups.push(Group { family, mode, rows: vec![index], tallies: Vec::new() }),
            }
        }
    }
    for group in &mut groups {
        group.tallies = (0..matrix.columns.len())
            .map(|column| {
                Tally::of(group.rows.iter().filter_map(|row| matrix.rows[*row].cells.get(column)))
            })
            .collect();
    }
    groups
}

/// A scenario that says the same on some kernels, and not that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// Index of its row.
    pub row: usize,
    /// What came out, on the first of the kernels.
    pub cell: &'a Cell,
    /// Indexes of the columns.
    pub columns: Vec<usize>,
}

/// All cells whose word is `word`, those of one scenario together that say exactly the same. Red ones of kernels that did
/// not come up are left out: one line says all of them.
#[must_use]
pub fn findings<'a>(matrix: &'a Matrix, word: &str) -> Vec<Finding<'a>> {
    let mut findings: Vec<Finding<'a>> = Vec::new();
    for (index, row) in matrix.rows.iter().enumerate() {
        let first = findings.len();
        let cells = row.cells.iter().enumerate().zip(&matrix.columns);
        let wanted = cells.filter(|((_, cell), column)| {
            cell.word() == word && !(column.is_dead() && cell.is_red())
        });
        for ((column, cell), _) in wanted {
            match findings[first..].iter_mut().find(|found| found.cell == cell) {
                Some(found) => found.columns.push(column),
                None => findings.push(Finding { row: index, cell, columns: vec![column] }),
            }
        }
    }
    findings
}
