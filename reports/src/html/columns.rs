//! The kernels of the page as columns, and where each scenario stands in them.

use std::collections::{BTreeMap, HashMap};

use crate::report::{KernelReport, Report, ScenarioReport};

use super::selection::Chosen;
use super::units;

/// Characters of a kernel's name in a table head.
const LABEL_CHARS_MAX: usize = 20;

/// One kernel of one run.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) report: &'a Report,
    pub(super) kernel: &'a KernelReport,
    /// As short as it can be and still be told from the others.
    pub(super) label: String,
    by_id: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Column<'a> {
    /// What became of a scenario here: nothing, one verdict, or several where the plan was wrong.
    pub(super) fn of(&self, id: &str) -> impl Iterator<Item = (usize, &'a ScenarioReport)> + '_ {
        let kernel = self.kernel;
        let indices = self.by_id.get(id).into_iter().flatten();
        indices.map(|index| (*index, &kernel.scenarios[*index]))
    }

    /// `uname -r` of the guest, or what was resolved.
    pub(super) fn release(&self) -> Option<&'a str> {
        let guest = self.kernel.guest.as_ref().map(|guest| guest.kernel_release.as_str());
        guest.or(self.kernel.kernel.release.as_deref())
    }
}

/// Every kernel of every run, in the order they were asked for.
pub(super) fn of<'a>(runs: &[Chosen<'a, Report>]) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    for run in runs {
        for kernel in &run.report.kernels {
            let mut by_id: HashMap<&str, Vec<usize>> = HashMap::new();
            for (index, scenario) in kernel.scenarios.iter().enumerate() {
                by_id.entry(&scenario.id).or_default().push(index);
            }
            let label = label(&kernel.kernel.spec);
            columns.push(Column { report: run.report, kernel, label, by_id });
        }
    }
    tell_apart(&mut columns);
    columns
}

/// Runs of one kernel are told apart by when they were made.
fn tell_apart(columns: &mut [Column<'_>]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for column in columns.iter() {
        *seen.entry(column.label.clone()).or_default() += 1;
    }
    for column in columns.iter_mut().filter(|column| seen[&column.label] > 1) {
        let began = units::moment(column.report.run.started_at_unix_ms);
        column.label = format!("{} ({began})", column.label);
    }
}

/// The end of a kernel's name, which for a path is what matters.
fn label(spec: &str) -> String {
    let name = spec.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(spec);
    name.chars().take(LABEL_CHARS_MAX).collect()
}

/// The ids of all columns, in plan order, by group: what stands before the first `/`.
pub(super) fn groups<'a>(columns: &[Column<'a>]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut place: HashMap<&str, usize> = HashMap::new();
    let mut seen: HashMap<&str, ()> = HashMap::new();
    for scenario in columns.iter().flat_map(|column| &column.kernel.scenarios) {
        if seen.insert(&scenario.id, ()).is_some() {
            continue;
        }
        let group = scenario.id.split_once('/').map_or("", |(group, _)| group);
        let index = *place.entry(group).or_insert(groups.len());
        if index == groups.len() {
            groups.push((group, Vec::new()));
        }
        groups[index].1.push(&scenario.id);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_by_its_end() {
        assert_eq!(label("7.3"), "7.3");
        assert_eq!(label("boot/vmlinuz-7.3"), "vmlinuz-7.3");
        assert_eq!(label(&"x".repeat(99)).len(), LABEL_CHARS_MAX);
        assert_eq!(label("/"), "/");
    }
}
