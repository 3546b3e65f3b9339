//! The schema kept in the repository, the types, and what is written agree.

#![allow(clippy::unwrap_used, reason = "clippy does not count the helpers of a test as tests")]

mod support;

use std::fs;
use std::path::Path;

use rstest::rstest;
use support::Stream;

/// Set to write the schema anew instead of comparing it.
const UPDATE: &str = "REPORTS_UPDATE_SCHEMA";

#[rstest]
#[case("report.schema.json", reports::schema())]
#[case("perf.schema.json", reports::perf_schema())]
#[case("baseline.schema.json", reports::baseline_schema())]
#[case("matrix.schema.json", reports::matrix_schema())]
fn the_schema_in_the_repository_is_the_one_of_the_types(#[case] name: &str, #[case] made: String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{name} is out of date: run the tests once with {UPDATE}=1");
}

#[rstest]
fn a_report_fits_the_schema_and_comes_back(
    #[files("tests/streams/*.jsonl")] path: std::path::PathBuf,
) {
    let report = Stream::load(&path).fold();
    let schema = serde_json::from_str(&reports::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let text = serde_json::to_string(&report).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert_eq!(reports::parse_report(&text).unwrap(), report);
}

#[test]
fn every_baseline_in_the_repository_is_one() {
    let schema = serde_json::from_str(&reports::baseline_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines");
    let paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!paths.is_empty());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let baseline = reports::gate::Baseline::parse(&text).unwrap();
        assert!(baseline.acceptances.iter().all(|acceptance| !acceptance.reason.is_empty()));
        assert!(validator.is_valid(&serde_json::from_str(&text).unwrap()), "{}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let schema = serde_json::from_str(&reports::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut value = serde_json::to_value(Stream::named("clean").fold()).unwrap();
    value["kernels"][0]["scenarios"][0]["verdict"] = "fine".into();
    assert!(!validator.is_valid(&value));
}
