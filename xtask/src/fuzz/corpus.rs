//! What was found, each once: a reproducer a file, named by what went wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scenarios::model::Reproducer;

use crate::error::Error;

/// Reproducers by title.
#[derive(Debug)]
pub(crate) struct Corpus {
    folder: PathBuf,
    found: BTreeMap<String, (Reproducer, u32)>,
}

impl Corpus {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.join("corpus"), found: BTreeMap::new() }
    }

    /// Whether `title` is known; counts it again if it is.
    pub(crate) fn knows(&mut self, title: &str) -> bool {
        let known = self.found.get_mut(title);
        if let Some((_, seen)) = known {
            *seen += 1;
            return true;
        }
        false
    }

    /// Keeps one more finding.
    pub(crate) fn keep(&mut self, title: &str, found: Reproducer) -> Result<PathBuf, Error> {
        std::fs::create_dir_all(&self.folder).map_err(Error::infrastructure)?;
        let path = self.folder.join(file_name(title));
        let text = serde_json::to_string_pretty(&found).map_err(Error::infrastructure)?;
        std::fs::write(&path, text + "\n").map_err(Error::infrastructure)?;
        self.found.insert(title.to_owned(), (found, 1));
        Ok(path)
    }

    /// Titles with how often each was seen, and its reproducer.
    pub(crate) fn found(&self) -> impl Iterator<Item = (&str, u32, &Reproducer)> {
        self.found.iter().map(|(title, (found, seen))| (title.as_str(), *seen, found))
    }
}

/// A name of a title's letters.
fn file_name(title: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = title.chars().map(kept).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).take(12).collect();
    format!("{}.json", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_title_is_kept_once_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut corpus = Corpus::new(folder.path());
        assert!(!corpus.knows("BUG: a/b"));
        let path = corpus.keep("BUG: a/b", Reproducer::default()).unwrap();
        assert!(path.ends_with("corpus/bug-a-b.json") && path.is_file());
        assert!(corpus.knows("BUG: a/b"));
        assert_eq!(corpus.found().map(|(_, seen, _)| seen).collect::<Vec<_>>(), [2]);
    }
}
