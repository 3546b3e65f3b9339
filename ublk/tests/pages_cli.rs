//! Manual pages and completions: made, and of everything that `--help` offers.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rstest::rstest;

fn ublk(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_ublk")).args(args).stdin(Stdio::null()).output();
    let output = output.expect("the command can be started");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(args: &[&str]) -> String {
    String::from_utf8(ublk(args).stdout).expect("text")
}

/// The names below a heading of `--help`, as people see them.
fn offered(args: &[&str]) -> Vec<String> {
    let help = text(&[args, &["--help"]].concat());
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

fn long_options(args: &[&str]) -> Vec<String> {
    let help = text(&[args, &["--help"]].concat());
    let words = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let name = |word: &str| word.trim_end_matches([',', '.', ';', ')', '`']).to_owned();
    words.map(name).filter(|word| !word.is_empty()).collect()
}

#[test]
fn every_subcommand_has_a_page_with_its_options() {
    let dir = tempfile::tempdir().expect("a folder");
    let below = dir.path().join("man/man1");
    ublk(&["man", &below.display().to_string()]);
    let page = |name: &str| {
        let path = below.join(format!("{name}.1"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let (whole, commands) = (page("ublk"), offered(&[]));
    for name in ["add", "del", "list", "features", "stats", "doctor", "man", "completions"] {
        assert!(commands.iter().any(|offered| offered == name), "{name} in {commands:?}");
    }
    for name in commands.iter().filter(|name| *name != "help") {
        assert!(whole.contains(&format!("ublk\\-{name}(1)")), "{name} in the whole");
        let own = page(&format!("ublk-{name}"));
        for option in long_options(&[name]) {
            assert!(own.contains(&option.replace('-', "\\-")), "--{option} in ublk-{name}");
        }
    }
    for name in offered(&["add"]).iter().filter(|name| *name != "help") {
        assert!(page(&format!("ublk-add-{name}")).contains("\\-\\-daemon"), "{name}");
    }
    assert!(text(&["man"]).contains(".TH ublk 1"));
}

#[rstest]
#[case("bash", "ublk.bash")]
#[case("zsh", "_ublk")]
#[case("fish", "ublk.fish")]
#[case("elvish", "ublk.elv")]
#[case("powershell", "_ublk.ps1")]
fn a_shell_completes_every_subcommand_and_nothing_hidden(#[case] shell: &str, #[case] file: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    ublk(&["completions", shell, &dir.path().display().to_string()]);
    let script = fs::read_to_string(dir.path().join(file)).expect("the file the shell looks for");
    assert_eq!(script, text(&["completions", shell]));
    for name in offered(&[]) {
        assert!(script.contains(&name), "{name} for {shell}");
    }
    for option in ["prometheus", "daemon", "pidfile", "latency"] {
        assert!(script.contains(option), "--{option} for {shell}");
    }
    assert!(!script.contains("daemon-child"));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let below = file.path().join("man").display().to_string();
    assert!(!Path::new(&below).exists());
    let output = Command::new(env!("CARGO_BIN_EXE_ublk")).args(["man", &below]).output();
    let output = output.expect("started");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&below));
}
