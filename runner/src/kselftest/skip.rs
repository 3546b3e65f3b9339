//! Why a script skipped. Most say nothing; but they all ask the same two questions first, so those are
//! asked again here and the answers are written down.

use std::path::PathBuf;
use std::process::Command;

use scenarios::kselftest::Selftest;

use super::script::Ended;

/// The answer of the first question that the guest cannot satisfy, else the script's own last words.
pub(super) fn reason(test: &Selftest, ended: &Ended) -> String {
    let text = std::fs::read_to_string(test.script()).unwrap_or_default();
    if let Some(name) = asked(&text, "_have_program ").find(|name| !on_path(name)) {
        return format!("the program {name} is not in the guest");
    }
    let features = features(test);
    if let Some(name) = asked(&text, "_have_feature ").find(|name| !features.contains(name)) {
        return format!("`kublk features` does not show {name}");
    }
    let own = |line: &&String| !line.contains("selftest: ") && !line.contains("[SKIP]");
    match ended.lines.iter().rev().find(own) {
        Some(line) => format!("it says: {line}"),
        None => "it does not say why".to_owned(),
    }
}

/// The words after `question` in a script.
fn asked<'t>(text: &'t str, question: &str) -> impl Iterator<Item = &'t str> {
    let question = question.to_owned();
    text.lines().flat_map(move |line| {
        line.match_indices(&question)
            .map(|(at, _)| line[at + question.len()..].trim_start_matches('"'))
            .map(|rest| rest.split(['"', ' ', ';', ')']).next().unwrap_or_default())
            .filter(|word| !word.is_empty() && !word.starts_with('$'))
            .collect::<Vec<_>>()
    })
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir: PathBuf| dir.join(name)).any(|file| file.is_file())
}

fn features(test: &Selftest) -> String {
    let output = Command::new(test.server.folder().join("kublk")).arg("features").output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_a_script() {
        let text = "if ! _have_program bpftrace; then\n_have_feature \"ZONED\" && _have_feature \"USER_COPY\"; x\nif ! _have_program sfdisk || ! _have_program blockdev; then\n_have_program \"$1\"";
        let programs: Vec<_> = asked(text, "_have_program ").collect();
        assert_eq!(programs, ["bpftrace", "sfdisk", "blockdev"]);
        let features: Vec<_> = asked(text, "_have_feature ").collect();
        assert_eq!(features, ["ZONED", "USER_COPY"]);
    }
}
