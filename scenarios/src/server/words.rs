//! The placeholders in an adapter's commands: what a server can be told is what it is asked for.

use std::fmt;

/// One placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The program's place in the guest.
    Program,
    /// The number of the device.
    Id,
    /// The file that keeps the bytes.
    File,
    /// The size of the device in bytes.
    Size,
    /// The same in MiB.
    SizeMib,
    /// Hardware queues.
    Queues,
    /// Tags of each queue.
    Depth,
    /// The logical block in bytes.
    Block,
}

const ALL: [Word; 8] = [
    Word::Program,
    Word::Id,
    Word::File,
    Word::Size,
    Word::SizeMib,
    Word::Queues,
    Word::Depth,
    Word::Block,
];

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program => "{program}",
            Self::Id => "{id}",
            Self::File => "{file}",
            Self::Size => "{size}",
            Self::SizeMib => "{size_mib}",
            Self::Queues => "{queues}",
            Self::Depth => "{depth}",
            Self::Block => "{block}",
        })
    }
}

/// What the placeholders stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) program: String,
    pub(super) id: u32,
    pub(super) file: String,
    pub(super) size_bytes: u64,
    pub(super) queues: u16,
    pub(super) depth: u16,
    pub(super) block_bytes: u32,
}

impl Values {
    fn of(&self, word: Word) -> String {
        match word {
            Word::Program => self.program.clone(),
            Word::Id => self.id.to_string(),
            Word::File => self.file.clone(),
            Word::Size => self.size_bytes.to_string(),
            Word::SizeMib => (self.size_bytes >> 20).to_string(),
            Word::Queues => self.queues.to_string(),
            Word::Depth => self.depth.to_string(),
            Word::Block => self.block_bytes.to_string(),
        }
    }

    /// The words with everything put in.
    pub(super) fn fill(&self, argv: &[String]) -> Vec<String> {
        let fill = |text: &String| {
            ALL.iter()
                .fold(text.clone(), |text, word| text.replace(&word.to_string(), &self.of(*word)))
        };
        argv.iter().map(fill).collect()
    }
}

/// Whether any of the words holds it.
pub(super) fn has(argv: &[String], word: Word) -> bool {
    argv.iter().any(|text| text.contains(&word.to_string()))
}

/// Names the first placeholder that there is not. Braces around anything but a name are a script's own.
pub(super) fn check(argv: &[String]) -> Result<(), String> {
    for text in argv {
        for (at, _) in text.match_indices('{') {
            let Some(end) = text[at..].find('}') else { continue };
            let name = &text[at..=at + end];
            let inner = &name[1..name.len() - 1];
            let named =
                !inner.is_empty() && inner.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            // `${x}` is the shell's.
            let shell = text[..at].ends_with('$');
            if named && !shell && !ALL.iter().any(|word| word.to_string() == name) {
                let all: Vec<String> = ALL.iter().map(ToString::to_string).collect();
                return Err(format!("there is no placeholder {name}; there are {}", all.join(" ")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_placeholder_is_filled_wherever_it_stands() {
        let values = Values {
            program: "/bin/x".into(),
            id: 7,
            file: "/tmp/f".into(),
            size_bytes: 8 << 20,
            queues: 2,
            depth: 64,
            block_bytes: 512,
        };
        let argv = words(&[
            "{program}",
            "--id={id}",
            "{size}/{size_mib}",
            "{queues}{depth}",
            "{file}",
            "{block}",
        ]);
        let filled = ["/bin/x", "--id=7", "8388608/8", "264", "/tmp/f", "512"];
        assert_eq!(values.fill(&argv), filled);
    }

    #[test]
    fn a_placeholder_that_there_is_not_is_named() {
        assert!(check(&words(&["{program}", "{ id }", "{}", "${HOME}", "{1,2}"])).is_ok());
        assert!(
            check(&words(&["--q={queue}"])).unwrap_err().contains("{queue}; there are {program}")
        );
        assert!(has(&words(&["--q={queues}"]), Word::Queues) && !has(&words(&["q"]), Word::Queues));
    }
}
