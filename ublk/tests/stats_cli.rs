//! `ublk stats` and `ublk doctor` on a machine without a driver: a server is a socket to them, and the
//! socket may be anybody's.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rstest::rstest;
use serde_json::Value;

fn ublk(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_ublk")).args(args).stdin(Stdio::null()).output();
    command.expect("the command can be started")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A document as a live server of this version gives it. `reads` of 4 KiB, each in 1 to 2 us.
fn document(reads: u64) -> String {
    let zero = r#""flushes":0,"discards":0,"write_zeroes":0,"fua_writes":0,"errors":2,"panics":0,
        "withheld":0,"bytes_written":0,"enters":9,"in_flight_max":3"#;
    let none = r#"{"sum_ns":0,"max_ns":0,"buckets":[]}"#;
    format!(
        r#"{{"pid":4242,"target":"ram",
        "info":{{"id":5,"state":"live","queues":1,"depth":64,"max_io_bytes":524288,"flags":[],
          "server_pid":4242,"block_device":"/dev/ublkb5","char_device":"/dev/ublkc5"}},
        "params":{{"size_bytes":1048576,"logical_block_bytes":512,"physical_block_bytes":4096,
          "max_io_bytes":524288,"read_only":false,"rotational":false,"volatile_cache":false,
          "fua":false,"max_discard_bytes":0,"max_write_zeroes_bytes":0,
          "discard_granularity_bytes":0}},
        "counters":[{{"reads":{reads},"writes":0,"bytes_read":{bytes},{zero}}}],
        "latency":[{{"read":{{"sum_ns":{sum},"max_ns":1900,
          "buckets":[{{"le_ns":2047,"count":{reads}}}]}},
          "write":{none},"flush":{none},"other":{none}}}]}}"#,
        bytes = reads * 4096,
        sum = reads * 1500
    )
}

/// Answers each caller with the next document, and hangs up for good after the last.
fn serve(documents: Vec<String>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("5.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    std::thread::spawn(move || {
        for document in documents {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.write_all(document.as_bytes());
        }
    });
    (dir, path)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[rstest]
#[case::both(&["stats", "--json", "--prometheus"])]
#[case::watched_scrape(&["stats", "--prometheus", "--watch", "1"])]
#[case::count_of_nothing(&["stats", "--count", "3"])]
#[case::no_interval(&["stats", "--watch", "0"])]
#[case::no_shell(&["completions", "tcsh9"])]
#[case::both_features(&["features", "--json", "--missing"])]
fn wrong_usage_is_2(#[case] args: &[&str]) {
    let output = ublk(args);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn a_named_server_that_is_silent_is_1_and_says_where_it_was_looked_for() {
    let output = ublk(&["stats", "1048575"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("1048575.sock") && text.contains("--no-socket"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn one_that_answers_is_shown_although_another_does_not() {
    let (_dir, path) = serve(vec![document(7)]);
    let output =
        ublk(&["stats", "--json", "--socket", "/nonexistent/x", "--socket", &shown(&path)]);
    assert_eq!(output.status.code(), Some(1));
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["total"]["reads"], 7);
    assert!(stderr(&output).contains("/nonexistent/x"));
}

#[test]
fn each_form_has_the_numbers() {
    let (_dir, path) = serve(vec![document(7); 3]);
    let path = shown(&path);
    let json = ublk(&["stats", "--json", "--socket", &path]);
    let list: Vec<Value> = serde_json::from_slice(&json.stdout).expect("a list");
    let read = &list[0]["operations"][0];
    assert_eq!(
        (&read["op"], &read["requests"], &read["bytes"]),
        (&"read".into(), &7.into(), &(7 * 4096).into())
    );
    assert_eq!(read["latency"]["mean_ns"], 1500);
    // The bucket ends at 2047 ns; nothing took longer than the longest.
    assert_eq!(read["latency"]["p99_ns"], 1900);
    let scrape = ublk(&["stats", "--prometheus", "--socket", &path]);
    let text = String::from_utf8_lossy(&scrape.stdout);
    let line = "ublk_requests_total{device=\"ublkb5\",queue=\"0\",op=\"read\"} 7";
    assert!(text.lines().any(|found| found == line), "{text}");
    let people = ublk(&["stats", "--socket", &path]);
    let text = String::from_utf8_lossy(&people.stdout);
    assert!(text.starts_with("/dev/ublkb5  ram, live, 1 x 64, pid 4242\n"), "{text}");
    assert!(text.contains("28 KiB") && text.contains("1500 ns") && text.contains("2 errors"));
    assert!(!text.contains('\u{1b}'), "no colour without a terminal");
}

#[test]
fn a_watch_shows_differences_and_ends_with_its_server() {
    let (_dir, path) = serve(vec![document(10), document(14), document(14)]);
    let output = ublk(&["stats", "--json", "--watch", "0.05", "--socket", &shown(&path)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let requests: Vec<u64> = text
        .lines()
        .flat_map(|line| serde_json::from_str::<Vec<Value>>(line).expect("a list"))
        .filter_map(|sample| sample["operations"][0]["requests"].as_u64())
        .collect();
    assert_eq!(requests, [4, 0]);
}

#[test]
fn what_is_no_servers_answer_is_an_error() {
    let (_dir, path) = serve(vec!["hello\n".into()]);
    let output = ublk(&["stats", "--socket", &shown(&path)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no server answers"), "{}", stderr(&output));
}

/// Every finding that is not well has its remedy, and the exit code follows from the worst.
#[test]
fn doctor_names_a_remedy_for_each_trouble() {
    let output = ublk(&["doctor", "--json"]);
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
    let states: Vec<&str> = findings.iter().filter_map(|found| found["state"].as_str()).collect();
    assert_eq!(states.len(), findings.len());
    for found in &findings {
        assert_eq!(found["state"] != "ok", found["remedy"].is_string(), "{found}");
    }
    let expected = match () {
        () if states.contains(&"unusable") => 3,
        () if states.contains(&"problem") => 1,
        () => 0,
    };
    assert_eq!(output.status.code(), Some(expected), "{}", stderr(&output));
    for what in ["kernel", "driver", "io_uring", "control", "nodes"] {
        assert!(findings.iter().any(|found| found["what"] == what), "{what}");
    }
    if !Path::new("/dev/ublk-control").exists() {
        assert_eq!(expected, 3);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("ublk_drv"), "{text}");
    }
}
