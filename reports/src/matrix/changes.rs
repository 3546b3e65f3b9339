//! What is otherwise than in the matrix before: the question of whoever updates a kernel or this suite.

use super::{Cell, Matrix, MatrixRun};

/// The difference of two matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<'a> {
    /// Where the earlier one comes from.
    pub since: &'a MatrixRun,
    /// Kernels that were not in it.
    pub new_kernels: Vec<&'a str>,
    /// Kernels that are not in the later one.
    pub gone_kernels: Vec<&'a str>,
    /// Kernels of both that are not the same any more.
    pub kernels: Vec<KernelChange<'a>>,
    /// Scenarios that were not in it.
    pub new_scenarios: Vec<&'a str>,
    /// Scenarios that are not in the later one.
    pub gone_scenarios: Vec<&'a str>,
    /// Cells of both that say something else: what got worse first.
    pub cells: Vec<CellChange<'a>>,
}

/// A kernel that is another one under the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelChange<'a> {
    /// As it was typed.
    pub kernel: &'a str,
    /// Its release before and now, where that differs.
    pub release: Option<(&'a str, &'a str)>,
    /// Bits of GET_FEATURES that came.
    pub more_features: Vec<&'a str>,
    /// Bits of GET_FEATURES that went.
    pub fewer_features: Vec<&'a str>,
}

/// A cell that says something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellChange<'a> {
    /// Scenario.
    pub scenario: &'a str,
    /// Index of the column in the later matrix.
    pub column: usize,
    /// What it said.
    pub from: &'a Cell,
    /// What it says.
    pub to: &'a Cell,
    /// Which way.
    pub direction: Direction,
}

/// Which way a cell went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// It held and does not, or it is red and was not.
    Worse,
    /// Another probe, another known bug, another reason to be red.
    Otherwise,
    /// It was red and is not, or it holds now.
    Better,
}

impl Direction {
    /// As a word of a sentence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Otherwise => "otherwise",
            Self::Better => "better",
        }
    }
}

impl<'a> Changes<'a> {
    /// What is otherwise in `now` than in `before`.
    #[must_use]
    pub fn between(before: &'a Matrix, now: &'a Matrix) -> Self {
        let kernels = |m: &'a Matrix| m.columns.iter().map(|c| c.kernel.as_str());
        let scenarios = |m: &'a Matrix| m.rows.iter().map(|row| row.scenario.as_str());
        let mut cells = Vec::new();
        for row in &now.rows {
            let Some(old) = before.rows.iter().find(|old| old.scenario == row.scenario) else {
                continue;
            };
            for (column, to) in row.cells.iter().enumerate() {
                let kernel = &now.columns[column];
                let place = before.columns.iter().position(|old| old.is_same_kernel(kernel));
                let Some(from) = place.and_then(|place| old.cells.get(place)) else { continue };
                if !from.is_like(to) {
                    let direction = direction(from, to);
                    cells.push(CellChange { scenario: &row.scenario, column, from, to, direction });
                }
            }
        }
        cells.sort_by_key(|change| change.direction);
        Self {
            since: &before.run,
            new_kernels: without(kernels(now), kernels(before)),
            gone_kernels: without(kernels(before), kernels(now)),
            kernels: now
                .columns
                .iter()
                .filter_map(|column| {
                    let old = before.columns.iter().find(|old| old.is_same_kernel(column))?;
                    kernel_change(old, column)
                })
                .collect(),
            new_scenarios: without(scenarios(now), scenarios(before)),
            gone_scenarios: without(scenarios(before), scenarios(now)),
            cells,
        }
    }

    /// Whether nothing is otherwise.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.new_kernels.is_empty()
            && self.gone_kernels.is_empty()
            && self.kernels.is_empty()
            && self.new_scenarios.is_empty()
            && self.gone_scenarios.is_empty()
            && self.cells.is_empty()
    }
}

fn direction(from: &Cell, to: &Cell) -> Direction {
    match from.level().cmp(&to.level()) {
        std::cmp::Ordering::Less => Direction::Worse,
        std::cmp::Ordering::Equal => Direction::Otherwise,
        std::cmp::Ordering::Greater => Direction::Better,
    }
}

fn kernel_change<'a>(old: &'a super::Column, new: &'a super::Column) -> Option<KernelChange<'a>> {
    let release = old.release.as_deref().zip(new.release.as_deref()).filter(|(a, b)| a != b);
    // A kernel that could not be asked has lost nothing.
    let features = old.abilities.as_ref().zip(new.abilities.as_ref());
    let (more_features, fewer_features) = match features {
        Some((old, new)) => {
            let names = |list: &'a [String]| list.iter().map(String::as_str);
            let (old, new) = (&old.features[..], &new.features[..]);
            (without(names(new), names(old)), without(names(old), names(new)))
        }
        None => (Vec::new(), Vec::new()),
    };
    let change = KernelChange { kernel: &new.kernel, release, more_features, fewer_features };
    let same = change.release.is_none()
        && change.more_features.is_empty()
        && change.fewer_features.is_empty();
    (!same).then_some(change)
}

fn without<'a>(
    these: impl Iterator<Item = &'a str>,
    those: impl Iterator<Item = &'a str>,
) -> Vec<&'a str> {
    let those: std::collections::BTreeSet<&str> = those.collect();
    these.filter(|one| !those.contains(one)).collect()
}
