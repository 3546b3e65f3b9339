//! The `kublk` personality as scripts call it, as far as that needs no driver: who answers to the name,
//! and which command lines are refused before the kernel is asked.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use rstest::rstest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ublk");

fn kublk(line: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    // As the scripts have it: a link of that name.
    command.arg0("./kublk").args(line.split_whitespace());
    command.output().expect("the program starts")
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn both_names_lead_to_it() {
    let by_name = kublk("help");
    assert!(by_name.status.success());
    let text = String::from_utf8_lossy(&by_name.stdout).into_owned();
    assert!(text.contains("fault_inject") && text.contains("--auto_zc_fallback"), "{text}");
    let by_subcommand = Command::new(PROGRAM).args(["kublk", "help"]).output().expect("starts");
    assert_eq!(by_subcommand.stdout, by_name.stdout);
}

#[rstest]
#[case("add -t null -z -u", "too many data copy modes")]
#[case("add -t null -g -u", "too many data copy modes")]
#[case("add -t null --auto_zc -z", "too many data copy modes")]
#[case("add -t null --auto_zc_fallback", "auto_zc_fallback needs")]
#[case("add -t null -b --per_io_tasks", "per_io_tasks and batch conflict")]
#[case("add -t null --rotate_auto_buf", "rotate_auto_buf requires")]
#[case("add -t null --metadata_size 8", "integrity requires user_copy")]
#[case("add -t null -u --pi_offset 8", "integrity parameters require metadata_size")]
#[case("add -t null -b --auto_zc -q 1 --nthreads 2", "too many threads")]
#[case("add -t null -q 2 --nthreads 3", "per_io_tasks or batch")]
#[case("add -t null -q 33", "at most 32")]
#[case("add -t null -d 1025", "1024")]
#[case("add -t null -q x", "queues cannot be \"x\"")]
#[case("add -t null -q", "queues needs an argument")]
#[case("add -t nul --foreground", "no target \"nul\"")]
#[case("add -t null --delay_us 5 --foreground", "delay_us")]
#[case("add -t loop --foreground", "loop needs a backing file")]
#[case("recover -t null", "give -n ID")]
#[case("del", "give -n ID or -a")]
#[case("stop", "give -n ID")]
#[case("frobnicate", "no command \"frobnicate\"")]
fn what_cannot_be_is_refused_in_one_line(#[case] line: &str, #[case] expected: &str) {
    let text = complaint(&kublk(line));
    assert!(text.starts_with("kublk: ") && text.contains(expected), "{text}");
}

#[test]
fn options_cluster_and_files_may_stand_between_them() {
    // Refused for the combination of a cluster, so the cluster was read.
    let text = complaint(&kublk("add /tmp/a -zgt loop /tmp/b -q4"));
    assert!(text.contains("too many data copy modes"), "{text}");
}
