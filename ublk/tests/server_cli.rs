//! The `ublk` command as scripts see it: exit codes, one-line errors, and what it says without a driver.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rstest::rstest;

fn ublk(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_ublk")).args(args).stdin(Stdio::null()).output();
    command.expect("the command can be started")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[rstest]
#[case::nothing(&[])]
#[case::no_target(&["add"])]
#[case::unknown_target(&["add", "tape"])]
#[case::bad_size(&["add", "ram", "--size", "12Q"])]
#[case::negative_size(&["add", "ram", "--size=-1"])]
#[case::half_a_byte(&["add", "ram", "--size", "0.5"])]
#[case::huge_size(&["add", "ram", "--size", "99999999999T"])]
#[case::no_queue(&["add", "null", "--queues", "0"])]
#[case::deep(&["add", "null", "--depth", "4097"])]
#[case::no_path(&["add", "file"])]
#[case::id_out_of_range(&["add", "null", "--id", "1048576"])]
#[case::two_sockets(&["add", "null", "--socket", "/x", "--no-socket"])]
#[case::no_time(&["add", "null", "--stop-timeout", "0"])]
#[case::del_nothing(&["del"])]
#[case::del_both(&["del", "1", "--all"])]
#[case::del_word(&["del", "ublkb1"])]
fn wrong_usage_is_2_and_says_so(#[case] args: &[&str]) {
    let output = ublk(args);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(!output.stderr.is_empty());
}

/// What the parser cannot know and the parameters do: refused before any driver is looked for.
#[rstest]
#[case::block(&["add", "ram", "--block-size", "768"], "logical block of 768 bytes")]
#[case::request(&["add", "ram", "--max-io-size", "1000"], "largest request of 1000 bytes")]
#[case::tiny(&["add", "ram", "--size", "100"], "do not fill one logical block")]
#[case::empty(&["add", "ram", "--size", "0"], "a ramdisk of 0 bytes is impossible")]
fn impossible_parameters_are_2_with_the_reason(#[case] args: &[&str], #[case] reason: &str) {
    let output = ublk(args);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.starts_with("ublk: add: ") && text.contains(reason), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn help_and_version_are_0_and_go_to_stdout() {
    for args in [&["--help"][..], &["--version"], &["add", "ram", "--help"]] {
        let output = ublk(args);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_is_1() {
    let output = ublk(&["add", "file", "--path", "/nonexistent/disk"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/disk"));
}

#[test]
fn an_empty_file_asks_for_a_size() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().display().to_string();
    let output = ublk(&["add", "file", "--path", &path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("give a size"), "{}", stderr(&output));
}

#[test]
fn without_a_driver_every_command_is_3_and_names_the_remedy() {
    if Path::new("/dev/ublk-control").exists() {
        eprintln!("skipped: this host has a ublk driver");
        return;
    }
    for args in [&["features"][..], &["list", "--json"], &["del", "--all"], &["add", "null"]] {
        let output = ublk(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", stderr(&output));
        let text = stderr(&output);
        assert!(text.starts_with(&format!("ublk: {}: ", args[0])), "{text}");
        assert!(text.contains("modprobe ublk_drv") || text.contains("mknod"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert!(output.stdout.is_empty());
    }
}

/// A reader that has gone is no failure of ours: `ublk --help | head -1`.
#[test]
fn a_closed_pipe_is_not_an_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_ublk"))
        .args(["add", "ram", "--help"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("the command can be started");
    assert_eq!(status.status.code(), Some(0));
    assert!(status.stderr.is_empty());
}
