//! Cases of the raw fuzzer in which a command was answered as it was not before: kept on the host, begun with in the next machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::seq::IndexedRandom;
use scenarios::fuzz::Act;

use crate::error::Error;
use crate::workspace;

/// Bytes of cases that a machine is given: they travel in one environment variable.
const GIVEN_BYTES_MAX: usize = 48 << 10;
/// Most cases that are kept of one scenario.
const KEPT_MAX: usize = 2000;

/// Cases by scenario, a file each.
#[derive(Debug)]
pub(crate) struct Cases {
    folder: PathBuf,
    kept: BTreeMap<String, BTreeSet<Vec<Act>>>,
}

impl Cases {
    /// What is in `folder`, which need not be there.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let mut kept: BTreeMap<String, BTreeSet<Vec<Act>>> = BTreeMap::new();
        for group in std::fs::read_dir(folder).into_iter().flatten() {
            let group = group.map_err(Error::infrastructure)?;
            let scenario = group.file_name().to_string_lossy().replacen('-', "/", 1);
            for file in std::fs::read_dir(group.path()).into_iter().flatten() {
                let path = file.map_err(Error::infrastructure)?.path();
                let text = std::fs::read_to_string(&path).map_err(Error::infrastructure)?;
                let case = serde_json::from_str(&text).map_err(|error| {
                    Error::usage(format!("{} is not a case: {error}", path.display()))
                })?;
                kept.entry(scenario.clone()).or_default().insert(case);
            }
        }
        Ok(Self { folder: folder.to_owned(), kept })
    }

    /// Keeps a case, once.
    pub(crate) fn keep(&mut self, scenario: &str, case: Vec<Act>) -> Result<(), Error> {
        let kept = self.kept.entry(scenario.to_owned()).or_default();
        let number = kept.len();
        if number >= KEPT_MAX || kept.contains(&case) {
            return Ok(());
        }
        let folder = self.folder.join(scenario.replacen('/', "-", 1));
        let text = serde_json::to_string(&case).map_err(Error::infrastructure)?;
        workspace::write(&folder.join(format!("{number}.json")), text + "\n")?;
        kept.insert(case);
        Ok(())
    }

    /// Some of them, for a machine.
    pub(crate) fn some(&self, rng: &mut impl Rng) -> BTreeMap<String, Vec<Vec<Act>>> {
        let scenarios = self.kept.len().max(1);
        let mut given = BTreeMap::new();
        for (scenario, kept) in &self.kept {
            let all: Vec<&Vec<Act>> = kept.iter().collect();
            let mut left = GIVEN_BYTES_MAX / scenarios;
            let mut cases = Vec::new();
            for case in all.choose_multiple(rng, all.len()) {
                let bytes = serde_json::to_string(case).map_or(usize::MAX, |text| text.len() + 1);
                if bytes > left {
                    break;
                }
                left -= bytes;
                cases.push((*case).clone());
            }
            given.insert(scenario.clone(), cases);
        }
        given
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.values().map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn cases_are_kept_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut cases = Cases::open(folder.path()).unwrap();
        cases.keep("fuzz/sqe", vec![Act::Serve]).unwrap();
        cases.keep("fuzz/sqe", vec![Act::Serve]).unwrap();
        cases.keep("fuzz/memory", vec![Act::Look]).unwrap();
        assert_eq!(cases.len(), 2);
        let again = Cases::open(folder.path()).unwrap();
        assert_eq!(again.len(), 2);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        assert_eq!(again.some(&mut rng)["fuzz/memory"], [vec![Act::Look]]);
    }
}
