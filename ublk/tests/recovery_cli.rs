//! What `ublk recover`, `quiesce`, `stop`, `resize` and `del --orphans` refuse before any driver is asked.

use std::process::{Command, Output, Stdio};

use rstest::rstest;

fn ublk(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_ublk")).args(args).stdin(Stdio::null()).output();
    command.expect("the command can be started")
}

#[rstest]
#[case::no_device(&["recover", "ram"])]
#[case::no_target(&["recover", "0"])]
#[case::unknown_recovery(&["add", "ram", "--recovery", "perhaps"])]
#[case::unprivileged_recovery(&["add", "ram", "--unprivileged", "--recovery", "plain"])]
#[case::all_and_orphans(&["del", "--all", "--orphans"])]
#[case::recoverable_what(&["del", "1", "--recoverable"])]
#[case::stop_nothing(&["stop", "--safe"])]
#[case::quiesce_two(&["quiesce", "1", "2"])]
#[case::no_size(&["resize", "1"])]
fn wrong_usage_is_2(#[case] args: &[&str]) {
    let output = ublk(args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty() && !text.is_empty());
}

#[rstest]
#[case::id(&["--id", "3"], "--id")]
#[case::queues(&["--queues", "1"], "--queues")]
#[case::depth(&["--depth", "64"], "--depth")]
#[case::block(&["--block-size", "4K"], "--block-size")]
#[case::request(&["--max-io-size", "512K"], "--max-io-size")]
#[case::recovery(&["--recovery", "plain"], "--recovery")]
fn what_a_device_has_already_is_2_even_where_it_would_fit(
    #[case] given: &[&str],
    #[case] option: &str,
) {
    let output = ublk(&[&["recover", "0", "ram"], given].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text, format!("ublk: recover: the device has its {option} already\n"));
}

#[test]
fn a_device_is_kept_only_where_another_server_could_have_it() {
    let output = ublk(&["add", "ram", "--keep"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--recovery plain"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_1_and_named_by_its_socket() {
    let output = ublk(&["resize", "1048575", "1G"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/run/ublk/1048575.ctl"), "{text}");
}
