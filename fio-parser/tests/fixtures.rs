//! Real output of three fio releases, read whole: what these files hold is the format, whatever any
//! document says about it.

// The lint knows test functions, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use fio_parser::{
    Bucket, BytesPerSec, Capture, Direction, FieldError, Finding, FioOutput, Iops, Job,
    LatencyStats, Mode, Nanos, ParseError, Percentile, Severity, parse_last,
};
use rstest::rstest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(root().join(format!("{name}.txt"))).unwrap()
}

fn capture(name: &str) -> Capture {
    Capture::parse(&fixture(name), Mode::Strict).unwrap()
}

fn all_fixtures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .filter_map(|entry| fs::read_dir(entry.unwrap().path()).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 25, "fixtures are missing: {files:?}");
    files
}

/// Every latency object of a document, with a name for messages.
fn latencies(output: &FioOutput) -> Vec<(String, &LatencyStats)> {
    const ALL: [Direction; 4] =
        [Direction::Read, Direction::Write, Direction::Trim, Direction::Mixed];
    let mut found = Vec::new();
    for job in output.jobs.iter().chain(&output.all_clients) {
        for (direction, stats) in ALL.into_iter().filter_map(|d| Some((d, job.direction(d)?))) {
            let kinds = [&stats.slat, &stats.clat, &stats.lat];
            let priorities = stats.priorities.iter().flat_map(|prio| [&prio.clat, &prio.lat]);
            for latency in kinds.into_iter().chain(priorities).flatten() {
                found.push((format!("{}/{direction}", job.name), latency));
            }
        }
        found.extend(
            job.sync
                .iter()
                .filter_map(|sync| Some((job.name.clone() + "/sync", sync.lat.as_ref()?))),
        );
    }
    found
}

#[test]
fn every_fixture_is_known_to_the_last_field() {
    for file in all_fixtures() {
        // The raw tab of `ctrl` is a defect of fio, to be repaired; its fields are not.
        let mode = if file.ends_with("ctrl.txt") { Mode::Lenient } else { Mode::Strict };
        let capture = Capture::parse(&fs::read(&file).unwrap(), mode)
            .unwrap_or_else(|error| panic!("{}: {error}: {error:?}", file.display()));
        for document in capture.documents() {
            assert_eq!(document.unknown_fields, Vec::<String>::new(), "{}", file.display());
            let release = document.release().unwrap().to_string();
            assert!(file.parent().unwrap().ends_with(&release), "{release} in {}", file.display());
        }
    }
}

/// The bins are the counts fio computed its percentiles from, so ours must be the same to the last one.
#[test]
fn percentiles_recomputed_from_bins_are_those_of_fio() {
    let mut compared = 0;
    for file in all_fixtures() {
        let capture = Capture::parse(&fs::read(&file).unwrap(), Mode::Lenient).unwrap();
        for (name, latency) in capture.documents().iter().flat_map(latencies) {
            let Some(histogram) = &latency.histogram else { continue };
            assert_eq!(Some(histogram.samples()), latency.samples, "{name} in {}", file.display());
            let recomputed = histogram.percentiles(latency.percentiles.keys().copied());
            assert_eq!(recomputed, latency.percentiles, "{name} in {}", file.display());
            compared += latency.percentiles.len();
        }
    }
    assert!(compared >= 300, "only {compared} percentiles were compared");
}

#[rstest]
fn a_sampled_run_has_all_its_numbers(#[values("3.33", "3.39", "3.41")] release: &str) {
    let capture = capture(&format!("fio-{release}/null-json")).with_exit_status(0);
    assert_eq!(capture.validate(), []);
    let summary = capture.summary().unwrap();
    assert_eq!(summary.fio_version, format!("fio-{release}"));
    let read = &summary.totals.directions[&Direction::Read];
    // `rate_iops=1000` holds for each direction.
    assert!((read.iops.0 - 1000.0).abs() < 60.0, "{}", read.iops);
    assert_eq!(read.io_bytes, read.total_ios * 4096);
    let expected = read.iops.0 * 4096.0;
    assert!((read.bandwidth.0 as f64 - expected).abs() < expected / 100.0, "{}", read.bandwidth);
    let latency = read.latency.as_ref().unwrap();
    assert_eq!(latency.percentiles.len(), 17);
    assert!(latency.percentiles[&Percentile::P50] <= latency.percentiles[&Percentile::P99_9]);
    assert!(!summary.totals.directions.contains_key(&Direction::Trim));
}

/// The one difference of format between 3.33 and 3.41.
#[rstest]
#[case("3.33", false)]
#[case("3.39", true)]
#[case("3.41", true)]
fn what_came_with_3_36(#[case] release: &str, #[case] there: bool) {
    let capture = capture(&format!("fio-{release}/prios"));
    let job = &capture.last().jobs[0];
    assert_eq!(job.start.is_some(), there);
    let priorities = &job.read.as_ref().unwrap().priorities;
    assert_eq!(priorities.len(), 2);
    assert!(priorities.iter().all(|priority| priority.hint.is_some() == there));
}

#[rstest]
fn clones_are_summed_and_their_bins_merged(#[values("3.33", "3.39", "3.41")] release: &str) {
    let output = parse_last(&fixture(&format!("fio-{release}/jsonplus-clones"))).unwrap();
    assert_eq!(output.jobs.len(), 2);
    assert_eq!(output.jobs[0].name, output.jobs[1].name);
    let reads: Vec<_> = output.jobs.iter().map(|job| job.read.as_ref().unwrap()).collect();
    let by_name = output.totals_by_name();
    let total = &by_name["clone"].directions[&Direction::Read];
    assert_eq!(total.total_ios, 600);
    assert_eq!(total.iops, Iops(reads[0].iops.0 + reads[1].iops.0));
    assert_eq!(total.runtime, reads[0].runtime.max(reads[1].runtime));
    let latency = total.latency.as_ref().unwrap();
    assert_eq!(latency.histogram.as_ref().unwrap().samples(), 600);
    let clats: Vec<_> = reads.iter().map(|read| read.clat.as_ref().unwrap()).collect();
    // A percentile of the union lies between those of the parts.
    for (percentile, value) in &latency.percentiles {
        let parts = [clats[0].percentiles[percentile], clats[1].percentiles[percentile]];
        assert!((parts[0].min(parts[1])..=parts[0].max(parts[1])).contains(value), "{percentile}");
    }
    assert_eq!(output.totals_by_group()[&0], by_name["clone"]);
}

#[test]
fn without_bins_clones_have_no_percentiles_together() {
    let mut output = parse_last(&fixture("fio-3.41/jsonplus-clones")).unwrap();
    for job in &mut output.jobs {
        job.read.as_mut().unwrap().clat.as_mut().unwrap().histogram = None;
    }
    let totals = output.totals();
    let latency = totals.directions[&Direction::Read].latency.as_ref().unwrap();
    assert!(latency.percentiles.is_empty());
    assert!(latency.mean > Nanos(0.0));
}

#[test]
fn the_last_of_several_documents_counts() {
    let capture = capture("fio-3.41/status-interval");
    assert_eq!(capture.documents().len(), 3);
    let ios: Vec<_> = capture.documents().iter().map(|output| output.jobs[0].total_ios()).collect();
    assert!(ios.is_sorted(), "{ios:?}");
    assert_eq!(capture.validate(), [Finding::SeveralDocuments { count: 3 }]);
    let summary = capture.summary().unwrap();
    assert_eq!(summary.totals.total_ios(), ios[2]);
    assert_eq!(&parse_last(&fixture("fio-3.41/status-interval")).unwrap(), capture.last());
}

#[test]
fn a_truncated_last_document_is_not_replaced_by_the_one_before() {
    let mut output = fixture("fio-3.41/status-interval");
    output.truncate(output.len() - 10);
    let error = parse_last(&output).unwrap_err();
    assert!(matches!(error, ParseError::Truncated { line: 521, complete_documents: 2 }), "{error}");
    let capture = Capture::parse(&output, Mode::Strict).unwrap();
    assert!(capture.validate().contains(&Finding::Truncated { line: 521 }));
    assert!(capture.summary().is_err());
}

#[rstest]
fn a_failed_run_gives_findings_and_no_number(#[values("3.33", "3.39", "3.41")] release: &str) {
    let capture = capture(&format!("fio-{release}/error")).with_exit_status(1);
    let refused = capture.summary().unwrap_err();
    let job = || "full".to_owned();
    assert!(refused.findings.iter().all(|finding| finding.severity() == Severity::Error));
    assert!(refused.findings.contains(&Finding::ExitStatus { status: 1 }));
    assert!(refused.findings.contains(&Finding::JobError { job: job(), errno: 28 }));
    assert!(refused.findings.contains(&Finding::ZeroIos { job: job() }));
    assert!(
        matches!(&refused.findings[1], Finding::Diagnostic { line } if line.contains("err=28"))
    );
    assert!(refused.to_string().contains("job `full` ended with errno 28"), "{refused}");
    // The document alone is enough to refuse.
    assert!(capture.last().summary().is_err());
}

#[test]
fn a_good_document_with_a_bad_exit_status_gives_no_number() {
    let good = capture("fio-3.41/null-json");
    assert!(good.summary().is_ok());
    assert!(good.with_exit_status(1).summary().is_err());
}

#[test]
fn tolerated_errors_are_errors() {
    let capture = capture("fio-3.41/continue");
    let findings = capture.validate();
    let tolerated =
        |finding: &Finding| matches!(finding, Finding::ToleratedErrors { first_errno: 28, .. });
    assert!(findings.iter().any(tolerated), "{findings:?}");
}

#[test]
fn a_short_run_has_iops_and_a_warning() {
    let capture = capture("fio-3.41/jsonplus-group");
    let unsampled = Finding::NoSamples { job: "group".to_owned(), direction: Direction::Read };
    assert_eq!(capture.validate(), std::slice::from_ref(&unsampled));
    let summary = capture.summary().unwrap();
    assert!(summary.totals.iops().0 > 0.0);
    assert_eq!(summary.warnings, [unsampled]);
    assert_eq!(capture.last().jobs.len(), 1);
}

#[rstest]
fn both_ways_of_counting_are_not_added(#[values("3.33", "3.41")] release: &str) {
    let capture = capture(&format!("fio-{release}/unified-both"));
    let job = &capture.last().jobs[0];
    assert_eq!(job.mixed.as_ref().unwrap().total_ios, 200);
    assert_eq!(job.total_ios(), 200);
    let totals = capture.last().totals();
    assert_eq!(totals.total_ios(), 200);
    assert_eq!(totals.directions.keys().collect::<Vec<_>>(), [&Direction::Read, &Direction::Write]);
}

#[test]
fn mixed_alone_counts() {
    let capture = capture("fio-3.41/unified-mixed");
    let job = &capture.last().jobs[0];
    assert_eq!((job.read.is_none(), job.total_ios()), (true, 200));
    let totals = capture.summary().unwrap().totals;
    assert!(totals.directions[&Direction::Mixed].bandwidth > BytesPerSec(0));
}

#[test]
fn lines_around_the_json_are_kept() {
    let note = capture("fio-3.41/note");
    assert_eq!(note.diagnostics().len(), 1);
    assert!(note.diagnostics()[0].starts_with("note: both iodepth >= 1"));
    assert!(note.summary().is_ok());

    let text = capture("fio-3.41/json-normal");
    assert!(text.diagnostics().iter().any(|line| line.starts_with("READ: bw=")));
    assert_eq!(text.documents().len(), 1);
    assert!(text.summary().is_ok());
}

#[test]
fn syncs_and_disks_are_read() {
    let capture = capture("fio-3.41/fsync-disk");
    let output = capture.last();
    let sync = output.jobs[0].sync.as_ref().unwrap();
    assert!(sync.total_ios > 0 && sync.lat.as_ref().unwrap().max > Nanos(0));
    assert_eq!(output.disks[0].name, "vda");
    assert!(output.disks[0].read_sectors.is_some());
    assert_eq!(output.jobs[0].options["fsync"], "4");
    // fio counts syncs among the depths and not among the I/Os, so this is 19 of 16.
    assert_eq!(output.jobs[0].depth_level.as_ref().unwrap().0[&Bucket::UpTo(1)], 118.75);
}

#[rstest]
fn steady_state_counts_bytes(#[values("3.33", "3.41")] release: &str) {
    let capture = capture(&format!("fio-{release}/steadystate"));
    let output = capture.last();
    let state = output.jobs[0].steady_state.as_ref().unwrap();
    assert!(state.attained);
    assert_eq!((state.duration_s, state.iops.len(), state.bandwidth.len()), (2, 2, 2));
    for (iops, bandwidth) in state.iops.iter().zip(&state.bandwidth) {
        assert!((iops.0 * 4096.0 - bandwidth.0 as f64).abs() < 8192.0, "{iops} {bandwidth}");
    }
    assert!(output.cpu_idleness.as_ref().unwrap().fields.contains_key("system"));
}

#[test]
fn total_latency_carries_the_percentiles_where_completion_has_none() {
    let capture = capture("fio-3.41/no-percentiles");
    let trim = capture.last().jobs[0].trim.as_ref().unwrap();
    assert!(trim.clat.as_ref().unwrap().percentiles.is_empty());
    // Nothing carries percentiles here, but the mean is still told.
    assert!(trim.main_latency().is_some());

    let capture = self::capture("fio-3.41/lat-percentiles");
    let job = &capture.last().jobs[0];
    assert_eq!(job.description.as_deref(), Some(r#"a "quoted" \ back"#));
    assert!(!job.read.as_ref().unwrap().lat.as_ref().unwrap().percentiles.is_empty());
}

#[rstest]
fn a_raw_tab_is_repaired_unless_strict(#[values("3.33", "3.41")] release: &str) {
    let output = fixture(&format!("fio-{release}/ctrl"));
    let parsed = parse_last(&output).unwrap();
    assert_eq!(parsed.jobs[0].description.as_deref(), Some("tab\there"));
    let error = Capture::parse(&output, Mode::Strict).unwrap_err();
    assert!(matches!(error, ParseError::Json { index: 0, .. }), "{error}");
}

#[rstest]
fn the_sum_over_clients_is_not_a_job(#[values("3.33", "3.41")] release: &str) {
    let capture = capture(&format!("fio-{release}/client-server"));
    let output = capture.last();
    assert!(output.is_client());
    let names: Vec<_> = output.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    let sum = output.all_clients.as_ref().unwrap();
    assert_eq!(output.totals().total_ios(), sum.total_ios());
    assert_eq!(output.jobs[0].client.as_ref().unwrap().hostname, "127.0.0.1");
    assert_eq!(output.global_options.len(), 1);
    if release == "3.33" {
        // That release gives its sum no percentiles at all.
        return;
    }
    // Later ones merge the bins of the clients: our own merge must come to the same percentiles.
    let ours = &output.totals().directions[&Direction::Read].latency.clone().unwrap();
    let theirs = sum.read.as_ref().unwrap().clat.as_ref().unwrap();
    assert_eq!(ours.percentiles, theirs.percentiles);
}

#[test]
fn two_servers_have_global_options_of_their_own() {
    let capture = capture("fio-3.41/client-two");
    let output = capture.last();
    assert_eq!((output.global_options.len(), output.jobs.len()), (2, 4));
    assert_ne!(output.global_options[0]["port"], output.global_options[1]["port"]);
    assert_eq!(
        output.totals().total_ios(),
        output.all_clients.as_ref().map(Job::total_ios).unwrap()
    );
}

/// Fixtures of releases that cannot be installed any more, made from a real one by taking away what
/// they lack or putting in what they add.
mod other_releases {
    use serde_json::{Value, json};

    use super::*;

    fn changed(change: impl FnOnce(&mut Value)) -> Result<FioOutput, FieldError> {
        let bytes = fixture("fio-3.33/null-json");
        let start = bytes.iter().position(|&byte| byte == b'{').unwrap();
        let mut value: Value = serde_json::from_slice(&bytes[start..]).unwrap();
        change(&mut value);
        FioOutput::from_value(value)
    }

    #[test]
    fn before_3_5_and_3_19() {
        let output = changed(|value| {
            let read = value["jobs"][0]["read"].as_object_mut().unwrap();
            read.remove("bw_bytes");
            for kind in ["slat_ns", "clat_ns", "lat_ns"] {
                read[kind].as_object_mut().unwrap().remove("N");
            }
        })
        .unwrap();
        let read = output.jobs[0].read.as_ref().unwrap();
        assert_eq!(read.bandwidth(), BytesPerSec(read.bw.0 * 1024));
        assert_eq!(read.clat.as_ref().unwrap().samples, None);
        assert!(read.main_latency().is_some());
    }

    #[test]
    fn fields_of_3_42_are_known_and_those_of_later_ones_listed() {
        let output = changed(|value| {
            let job = value["jobs"][0].as_object_mut().unwrap();
            job.insert("zone_resets".into(), json!(3));
            job.insert("latency_target_ns".into(), json!(5000));
            job.insert("latency_window_us".into(), json!(7));
            job.insert("moon_phase".into(), json!("full"));
            job["read"].as_object_mut().unwrap().insert("tide".into(), json!(1));
        })
        .unwrap();
        let job = &output.jobs[0];
        assert_eq!(job.zone_resets, Some(3));
        assert_eq!((job.latency_target, job.latency_window_us), (Some(Nanos(5000)), Some(7)));
        assert_eq!(output.unknown_fields, ["jobs[].moon_phase", "jobs[].read.tide"]);
    }

    #[rstest]
    #[case("error")]
    #[case("jobname")]
    fn a_job_without_what_matters_is_refused(#[case] field: &str) {
        let error = changed(|value| {
            value["jobs"][0].as_object_mut().unwrap().remove(field);
        });
        assert_eq!(error, Err(FieldError::Missing { path: format!("jobs[0].{field}") }));
    }

    #[rstest]
    #[case("io_bytes")]
    #[case("bw")]
    #[case("iops")]
    #[case("runtime")]
    #[case("total_ios")]
    #[case("short_ios")]
    #[case("drop_ios")]
    fn a_direction_without_what_matters_is_refused(#[case] field: &str) {
        let missing = changed(|value| {
            value["jobs"][0]["read"].as_object_mut().unwrap().remove(field);
        });
        assert_eq!(missing, Err(FieldError::Missing { path: format!("jobs[0].read.{field}") }));
        let negative = changed(|value| value["jobs"][0]["read"][field] = json!("many"));
        assert!(matches!(negative, Err(FieldError::WrongType { .. })));
    }
}
