//! A run's files are written whole and read back with distrust.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use reports::report::SCHEMA_VERSION;
use reports::{LoadError, load, parse_events, parse_report, write_all};
use support::Stream;

/// A folder of its own that is gone after the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("reports-{name}-{}", std::process::id()));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn what_is_written_comes_back() {
    let (stream, folder) = (Stream::named("clean"), Folder::new("written"));
    let report = stream.fold();
    // Twice: the second time replaces.
    for _ in 0..2 {
        let paths = write_all(&folder.0, &report, &stream.records).unwrap();
        let names: Vec<_> =
            paths.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["events.jsonl", "report.json", "junit.xml", "ktap.txt", "report.html"]);
    }
    assert_eq!(load(&folder.0.join("report.json")).unwrap(), report);
    let events = std::fs::read_to_string(folder.0.join("events.jsonl")).unwrap();
    assert_eq!(parse_events(&events).unwrap(), stream.records);
    let files = std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(files, 5, "something is left beside the files");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = Folder::new("blocked");
    std::fs::create_dir_all(folder.0.join("report.json")).unwrap();
    let stream = Stream::named("clean");
    let error = write_all(&folder.0, &stream.fold(), &stream.records).unwrap_err();
    assert!(error.to_string().contains("report.json"), "{error}");
}

#[test]
fn a_report_that_was_cut_off_is_refused_wherever_it_was_cut() {
    let text = serde_json::to_string_pretty(&Stream::named("hang").fold()).unwrap();
    for len in (0..text.len()).step_by(97).filter(|len| text.is_char_boundary(*len)) {
        let error = parse_report(&text[..len]).unwrap_err();
        assert!(matches!(error, LoadError::Truncated { .. }), "at {len}: {error}");
    }
}

#[test]
fn another_major_version_is_refused_and_another_minor_is_not() {
    let text = serde_json::to_string(&Stream::named("clean").fold()).unwrap();
    let own = format!(r#""schema_version":"{SCHEMA_VERSION}""#);
    assert!(text.contains(&own), "the writer's version is in the text");
    let other = |version: &str| text.replace(&own, version);
    let error = parse_report(&other(r#""schema_version":"2.0""#)).unwrap_err();
    assert!(error.to_string().contains("2.0"), "{error}");
    assert!(parse_report(&other(r#""schema_version":"1.7","new_field":[]"#)).is_ok());
    // The version is asked first: what a later format looks like is not for us to judge.
    let error = parse_report(r#"{"schema_version":"2.0"}"#).unwrap_err();
    assert!(matches!(error, LoadError::Version { .. }), "{error}");
}

#[test]
fn what_is_no_report_is_refused() {
    assert!(matches!(parse_report("[]").unwrap_err(), LoadError::Malformed(_)));
    assert!(matches!(parse_report("{} {}").unwrap_err(), LoadError::Malformed(_)));
    assert!(matches!(parse_events("{}\n").unwrap_err(), LoadError::Event { line: 1, .. }));
}
