//! Is the suite worth anything? Servers with one deliberate bug each are put under it, and none may be left that it takes
//! for a good one.

mod course;
mod life;
mod matrix;
mod modes;
mod mutant;
mod requests;

pub(crate) use course::Course;
pub(crate) use matrix::{Fate, Matrix};
pub(crate) use mutant::Mutant;

use std::path::Path;

use vmimage::arch::Arch;

use crate::edit::Edit;
use crate::error::Error;
use crate::tree;
use crate::workspace::{self, GuestPrograms};

/// All of them, in the order of the matrix.
pub(crate) fn all() -> impl Iterator<Item = &'static Mutant> {
    [requests::REQUESTS, modes::MODES, life::LIFE].into_iter().flatten()
}

/// The guest's programs of a copy of this tree that has every bug in it, each behind the one switch.
pub(crate) fn build(arch: Arch) -> Result<GuestPrograms, Error> {
    let more = [(mutant::SWITCH_FILE, mutant::SWITCH)];
    let tree: &Path = &tree::copy("mutants", &edits(), &more)?;
    workspace::build_guest_programs_of(tree, &tree::build_folder(tree), arch)
}

fn edits() -> Vec<Edit> {
    let planted = all().flat_map(|mutant| mutant.edits);
    std::iter::once(&mutant::SWITCH_EDIT).chain(planted).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::edit::apply_all;

    #[test]
    fn every_mutant_has_its_place_in_this_tree() {
        let edits = edits();
        for file in edits.iter().map(|edit| edit.file).collect::<BTreeSet<_>>() {
            let text = std::fs::read_to_string(workspace::root().join(file)).unwrap();
            apply_all(file, &text, &edits).unwrap();
        }
    }

    #[test]
    fn names_are_told_apart_and_asked_for_by_their_own_edits() {
        let names: BTreeSet<_> = all().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), all().count());
        for mutant in all() {
            let asked = |edit: &Edit| format!("{:?}", edit.put).contains(mutant.name);
            assert!(mutant.edits.iter().any(asked), "{} asks for another name", mutant.name);
        }
    }

    #[test]
    fn the_scenarios_that_are_asked_first_exist() {
        for mutant in all() {
            for filter in mutant.first {
                let found = scenarios::catalogue::matching(filter);
                assert!(!found.is_empty(), "{}: nothing matches {filter}", mutant.name);
            }
        }
    }
}
