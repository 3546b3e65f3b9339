//! `report`: renders and merges reports that were made before, on whatever machine.
//!
//! Fail-closed like everything that reads a report: one folder that cannot be read, is cut off or is of
//! another version ends the command, because a page that silently leaves a red run out is worse than none.

use std::fmt::Display;
use std::path::{Component, Path, PathBuf};

use reports::html::{Document, Source, artifacts, page};
use reports::perf::{PerfReport, markdown, parse_perf};
use reports::report::{ExitCode, Report};

use crate::cli::{ReportArgs, ReportTask};
use crate::error::Error;
use crate::section;

/// Bytes of a file that are read; a report of this size is none.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// What is looked for in a folder.
const NAMES: [&str; 2] = ["report.json", "perf.json"];

/// A report with where it was.
#[derive(Debug)]
pub(crate) struct Loaded {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Run(Box<Report>),
    Perf(Box<PerfReport>),
}

pub(crate) fn run(args: &ReportArgs) -> Result<ExitCode, Error> {
    match &args.task {
        Some(ReportTask::Merge(args)) => return crate::task_report_merge::run(args),
        Some(ReportTask::Matrix(args)) => return crate::task_vm_matrix::render(args),
        None => {}
    }
    let loaded = load(&args.inputs)?;
    if let Some(path) = &args.into {
        document(&loaded, path)?;
    }
    let output = match &args.output {
        Some(path) => path.clone(),
        None => default_output(&args.inputs),
    };
    let text = render(&loaded, &output)?;
    reports::write_file(&output, text.as_bytes()).map_err(Error::infrastructure)?;
    let what = if loaded.len() == 1 { "report" } else { "reports" };
    anstream::println!("{}: {} {what}", output.display(), loaded.len());
    Ok(ExitCode::Passed)
}

impl Loaded {
    /// The report of a run, if it is one, with its folder.
    pub(crate) fn into_run(self) -> Option<(PathBuf, Report)> {
        match self.content {
            Content::Run(report) => Some((self.path.parent()?.to_owned(), *report)),
            Content::Perf(_) => None,
        }
    }
}

/// Puts the tables of the one measurement that was named into the page of its command.
fn document(loaded: &[Loaded], path: &Path) -> Result<(), Error> {
    let [Loaded { content: Content::Perf(report), .. }] = loaded else {
        return Err(Error::usage("--into takes the tables of one perf.json"));
    };
    if !report.errors.is_empty() {
        return Err(Error::usage("that run had errors; its tables are no documentation"));
    }
    let name = report.run.command_line.get(1).map_or("", String::as_str);
    section::replace(path, name, &markdown(report))
}

/// Beside the one report that was named, else here.
fn default_output(inputs: &[PathBuf]) -> PathBuf {
    match inputs {
        [folder] if folder.is_dir() => folder.join("report.html"),
        [file] => file.with_file_name("report.html"),
        _ => PathBuf::from("report.html"),
    }
}

/// The page of `loaded` as it is written to `output`.
pub(crate) fn render(loaded: &[Loaded], output: &Path) -> Result<String, Error> {
    let here = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let here = here
        .canonicalize()
        .map_err(|error| Error::usage(format!("cannot write into {}: {error}", here.display())))?;
    let sources: Vec<Source<'_>> = loaded
        .iter()
        .map(|one| {
            let folder = one.path.parent().unwrap_or(Path::new("/"));
            Source {
                document: match &one.content {
                    Content::Run(report) => Document::Run(report),
                    Content::Perf(report) => Document::Perf(report),
                },
                artifacts: artifacts(folder, &way(&here, folder)),
            }
        })
        .collect();
    Ok(page(&sources))
}

/// The relative way from one absolute folder to another, empty or with a `/` at its end.
pub(crate) fn way(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[same..].iter().map(|_| "..".to_owned());
    let down = to[same..].iter().map(|part: &Component<'_>| part.as_os_str().to_string_lossy());
    up.chain(down.map(|part| part.into_owned())).map(|part| part + "/").collect()
}

/// Reads every report that `inputs` name: files, folders with one, or folders of such folders.
pub(crate) fn load(inputs: &[PathBuf]) -> Result<Vec<Loaded>, Error> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for input in inputs {
        for path in named_by(input)? {
            let path = path.canonicalize().map_err(|error| unreadable(&path, &error))?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths.into_iter().map(load_file).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::usage(format!("cannot read {}: {error}", path.display()))
}

fn named_by(input: &Path) -> Result<Vec<PathBuf>, Error> {
    let metadata = input.metadata().map_err(|error| unreadable(input, &error))?;
    if !metadata.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    let own = reports_in(input);
    if !own.is_empty() {
        return Ok(own);
    }
    let entries = input.read_dir().map_err(|error| unreadable(input, &error))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let below: Vec<PathBuf> = folders.iter().flat_map(|folder| reports_in(folder)).collect();
    if below.is_empty() {
        let message = format!(
            "{} holds neither report.json nor perf.json, nor a folder that does",
            input.display()
        );
        return Err(Error::usage(message));
    }
    Ok(below)
}

fn reports_in(folder: &Path) -> Vec<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

fn load_file(path: PathBuf) -> Result<Loaded, Error> {
    let metadata = path.metadata().map_err(|error| unreadable(&path, &error))?;
    if metadata.len() > FILE_BYTES_MAX {
        let message = format!(
            "{}: {} bytes are more than a report has ({FILE_BYTES_MAX})",
            path.display(),
            metadata.len()
        );
        return Err(Error::usage(message));
    }
    let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
    // A guest's bytes that are no UTF-8 are shown as such and stop nothing.
    let text = String::from_utf8_lossy(&bytes);
    let wrong = |error: &dyn Display| Error::usage(format!("{}: {error}", path.display()));
    let content = match is_perf(&path, &text) {
        true => Content::Perf(Box::new(parse_perf(&text).map_err(|error| wrong(&error))?)),
        false => Content::Run(Box::new(reports::parse_report(&text).map_err(|e| wrong(&e))?)),
    };
    Ok(Loaded { path, content })
}

/// By its name where it has one of ours, else by what only a measurement has.
fn is_perf(path: &Path, text: &str) -> bool {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("perf.json") => true,
        Some("report.json") => false,
        _ => text.contains("\"ios_per_sample\"") && !text.contains("\"status_reason\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> PathBuf {
        crate::workspace::root().join("reports/tests/pages")
    }

    #[test]
    fn a_way_leads_from_one_folder_to_another() {
        let way = |from: &str, to: &str| way(Path::new(from), Path::new(to));
        assert_eq!(way("/a/b", "/a/b"), "");
        assert_eq!(way("/a", "/a/b/c"), "b/c/");
        assert_eq!(way("/a/x/y", "/a/b"), "../../b/");
    }

    #[test]
    fn folders_files_and_folders_of_folders_are_read_once() {
        let below = load(&[pages().join("performance")]).unwrap();
        assert_eq!(below.len(), 3);
        let one = pages().join("one-kernel");
        let again = load(&[one.clone(), one.join("report.json"), one]).unwrap();
        assert_eq!(again.len(), 1);
    }

    #[test]
    fn whatever_is_no_whole_report_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let good = std::fs::read_to_string(pages().join("one-kernel/report.json")).unwrap();
        let numbers = std::fs::read_to_string(pages().join("performance/now/perf.json")).unwrap();
        let other =
            |text: &str| text.replace("\"schema_version\":\"1.0\"", "\"schema_version\":\"2.0\"");
        for (name, text, says) in [
            ("report.json", good[..good.len() / 2].to_owned(), "ends in the middle"),
            ("perf.json", numbers[..numbers.len() / 2].to_owned(), "ends in the middle"),
            ("report.json", other(&good), "schema version 2.0"),
            ("perf.json", other(&numbers), "schema version 2.0"),
            ("report.json", "{}".to_owned(), "not a report"),
            (
                "perf.json",
                numbers.replace("schema_version", "x"),
                "does not say its schema version",
            ),
            ("report.json", String::new(), "ends in the middle"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = load(std::slice::from_ref(&path)).unwrap_err();
            assert_eq!(error.code, ExitCode::Usage);
            let line = error.to_string();
            assert!(line.contains(says) && line.contains(name) && !line.contains('\n'), "{line}");
        }
        for missing in [folder.path().join("none"), folder.path().join("none/report.json")] {
            assert!(load(&[missing]).unwrap_err().to_string().starts_with("cannot read"));
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(load(&[empty.path().to_owned()]).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = std::fs::read(pages().join("one-kernel/report.json")).unwrap();
        let place = bytes.windows(9).position(|window| window == b"lifecycle").unwrap();
        bytes[place] = 0xff;
        let path = folder.path().join("report.json");
        std::fs::write(&path, bytes).unwrap();
        let loaded = load(&[path]).unwrap();
        let page = render(&loaded, &folder.path().join("page.html")).unwrap();
        assert!(page.contains("\u{fffd}ifecycle"));
    }
}
