//! What lies beside a report, as links that still work when the folder is moved as a whole.

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Files linked from one report; a folder with more is looked at with other tools.
const FILES_MAX: usize = 200;
/// Folders below the report's that are looked into: kernel, boot.
const LEVELS_MAX: usize = 3;
/// What may stand in a path of a URL as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/');

/// A file that can be opened from the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Path below the report's folder, for people.
    pub name: String,
    /// Relative URL from the page.
    pub href: String,
    /// Length.
    pub len_bytes: u64,
}

/// The files below `folder`, with links that begin with `base`: the way from the page to that folder, empty
/// where it is the same one. What cannot be read is left out: a missing link proves nothing.
#[must_use]
pub fn find(folder: &Path, base: &str) -> Vec<Artifact> {
    let mut found = Vec::new();
    look_into(folder, "", LEVELS_MAX, &mut found);
    found.truncate(FILES_MAX);
    let base = utf8_percent_encode(base, PATH).to_string();
    found
        .into_iter()
        .map(|(name, len_bytes)| {
            // With `./` in front no name is taken for a scheme or a host.
            let href = format!("./{base}{}", utf8_percent_encode(&name, PATH));
            Artifact { name, href, len_bytes }
        })
        .collect()
}

/// Files first, then folders, each by name.
fn look_into(folder: &Path, prefix: &str, levels: usize, found: &mut Vec<(String, u64)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry)))
        .filter(|(name, _)| !name.ends_with(".tmp") && name != "report.html")
        .collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut folders = Vec::new();
    for (name, entry) in entries {
        // Of the entry itself: a link that leads out of the folder is not followed.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            folders.push((name, entry.path()));
        } else if metadata.is_file() && metadata.len() > 0 && found.len() < FILES_MAX {
            found.push((format!("{prefix}{name}"), metadata.len()));
        }
    }
    for (name, path) in folders {
        if levels > 1 && found.len() < FILES_MAX {
            look_into(&path, &format!("{prefix}{name}/"), levels - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_encoded() {
        let folder = std::env::temp_dir().join(format!("reports-links-{}", std::process::id()));
        let boot = folder.join("7.3+x/boot-0");
        std::fs::create_dir_all(&boot).unwrap();
        for (path, text) in [
            (folder.join("a b.txt"), "x"),
            (folder.join("javascript:x"), "x"),
            (folder.join("empty"), ""),
            (boot.join("console.log"), "xyz"),
        ] {
            std::fs::write(path, text).unwrap();
        }
        let found = find(&folder, "../run-1/");
        std::fs::remove_dir_all(&folder).unwrap();
        let hrefs: Vec<_> = found.iter().map(|file| file.href.as_str()).collect();
        assert_eq!(
            hrefs,
            [
                "./../run-1/a%20b.txt",
                "./../run-1/javascript%3Ax",
                "./../run-1/7.3%2Bx/boot-0/console.log"
            ]
        );
        assert_eq!(found[2].name, "7.3+x/boot-0/console.log");
    }
}
