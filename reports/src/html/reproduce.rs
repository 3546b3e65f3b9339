//! The command that does a run again, wherever the workspace is.

use crate::report::RunHeader;

/// Options that say where and how to report, and not what to run; the word after each goes with it.
const LEFT_OUT: [&str; 4] = ["--output", "--cache", "--into", "--previous"];

/// The command line of `run` with its seed, without what belongs to the machine it ran on.
pub(super) fn command(run: &RunHeader) -> String {
    let mut words = vec!["cargo".to_owned(), "xtask".to_owned()];
    let mut typed = run.command_line.iter().skip_while(|word| word.contains("xtask")).peekable();
    let mut seeded = false;
    while let Some(word) = typed.next() {
        let name = word.split('=').next().unwrap_or(word);
        if LEFT_OUT.contains(&name) {
            if !word.contains('=') {
                typed.next();
            }
            continue;
        }
        if word == "--json" {
            continue;
        }
        seeded |= name == "--seed";
        words.push(quoted(word));
    }
    let takes_a_seed = words.get(2).is_some_and(|task| {
        matches!(task.as_str(), "vm-e2e" | "vm-matrix" | "vm-perf" | "vm-compare" | "vm-debug")
    });
    if takes_a_seed && !seeded {
        words.push(format!("--seed {:#x}", run.seed));
    }
    words.join(" ")
}

/// `word` as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_of(words: &[&str]) -> String {
        let command_line = words.iter().map(|word| (*word).to_owned()).collect();
        command(&RunHeader { command_line, seed: 255, ..RunHeader::default() })
    }

    #[test]
    fn the_machine_is_left_out_and_the_seed_is_put_in() {
        let typed =
            ["target/debug/xtask", "vm-e2e", "--filter", "data/*", "--output", "o", "--json"];
        assert_eq!(command_of(&typed), "cargo xtask vm-e2e --filter 'data/*' --seed 0xff");
        assert_eq!(command_of(&["vm-e2e", "--output=o"]), "cargo xtask vm-e2e --seed 0xff");
        assert_eq!(command_of(&["xtask", "vm-perf", "--seed=7"]), "cargo xtask vm-perf --seed=7");
        assert_eq!(command_of(&["xtask", "vm-simple-e2e"]), "cargo xtask vm-simple-e2e");
    }

    #[test]
    fn a_shell_takes_a_word_for_one() {
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quoted(""), "''");
    }
}
