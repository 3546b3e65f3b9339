//! `tidy`: rules of this tree that no compiler checks.
//!
//! Every source file says why it exists, `unsafe` stays in the named modules, imports run one way, nothing
//! is put off, and no machine's path is written down.

use std::path::{Path, PathBuf};

use reports::report::ExitCode;

use crate::error::Error;
use crate::workspace;

/// The only places where `unsafe` may stand; docs/architecture.md says why each does.
const UNSAFE_ALLOWED: &[&str] = &["ublk/src/sys/", "runner/src/crash.rs"];

/// Which of our crates each may import; DESIGN's arrows.
const IMPORTS: &[(&str, &[&str])] = &[
    ("ublk", &[]),
    ("fio-parser", &[]),
    ("vmimage", &[]),
    ("reports", &["fio-parser"]),
    ("scenarios", &["ublk", "reports"]),
    ("runner", &["scenarios", "reports"]),
    ("benches", &["ublk", "scenarios", "fio-parser", "reports"]),
    ("xtask", &["vmimage", "reports", "scenarios"]),
];

/// A file longer than this needs to be cut, or to be a table.
const LINES_MAX: usize = 600;

pub(crate) fn run() -> Result<ExitCode, Error> {
    let complaints = complaints(&workspace::root())?;
    for complaint in &complaints {
        anstream::println!("tidy: {complaint}");
    }
    if complaints.is_empty() {
        anstream::println!("tidy: ok");
        return Ok(ExitCode::Passed);
    }
    Err(Error::failed(format!("tidy found {} things", complaints.len())))
}

fn complaints(root: &Path) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for (name, allowed) in IMPORTS {
        check_imports(root, name, allowed, &mut found)?;
        for path in sources(&root.join(name)) {
            let text = read(&path)?;
            let relative = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            check_source(&relative, &text, &mut found);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::infrastructure(format!("cannot read {}: {error}", path.display())))
}

/// Rust files below `folder`, without build output.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn check_source(path: &str, text: &str, found: &mut Vec<String>) {
    if !text.starts_with("//!") && !text.starts_with("#!") {
        found.push(format!("{path} does not begin with a `//!` paragraph on why it exists"));
    }
    // Spelled in two halves, so that this file does not accuse itself.
    for (word, why) in [
        (concat!("TO", "DO"), "put it into an issue"),
        (concat!("FIX", "ME"), "put it into an issue"),
        (concat!("#[ig", "nore"), "a test that does not run proves nothing"),
        (concat!("/work", "/"), "no path of a machine in the tree"),
    ] {
        if text.contains(word) {
            found.push(format!("{path} has `{word}`: {why}"));
        }
    }
    let lifts = concat!("unsa", "fe {");
    if text.contains(lifts) && !UNSAFE_ALLOWED.iter().any(|allowed| path.starts_with(allowed)) {
        found.push(format!("{path} has an unsafe block outside the named modules"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{path} has {lines} lines, {LINES_MAX} are enough for one noun"));
    }
}

/// What a crate may import, read from its manifest's dependencies (not its dev-dependencies).
fn check_imports(
    root: &Path,
    name: &str,
    allowed: &[&str],
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let manifest = read(&root.join(name).join("Cargo.toml"))?;
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let dependency = line.split(['=', '.', ' ']).next().unwrap_or_default();
        let ours = IMPORTS.iter().any(|(other, _)| *other == dependency);
        if section == "[dependencies]" && ours && !allowed.contains(&dependency) {
            found.push(format!("{name} imports {dependency}, against the arrows of the design"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_is_tidy() {
        assert_eq!(complaints(&workspace::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn each_rule_can_fail() {
        let mut found = Vec::new();
        check_source("scenarios/src/x.rs", concat!("fn f() { unsa", "fe { g() } }"), &mut found);
        assert_eq!(found.len(), 2, "{found:?}");
        found.clear();
        check_source(
            "ublk/src/sys/x.rs",
            concat!("//! Why.\nunsa", "fe { g() } // TO", "DO"),
            &mut found,
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
