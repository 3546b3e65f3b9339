//! How somebody else's server is called: the words that start, stop and recover it, and what it says it can do.
//!
//! An adapter is a file of the server's author. What it says is not believed, only used: every scenario asks the kernel and
//! the bytes. What it does not say is not guessed, so that a wrong file is refused before a machine is booted for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ability::Ability;
use super::words::{self, Word};

/// One server, as its adapter file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// What it is called in plans and reports.
    pub name: String,
    /// Which program of it is run, in a line for people.
    #[serde(default)]
    pub about: String,
    /// What is put into the guest.
    pub program: Program,
    /// How a device comes up.
    pub start: Start,
    /// How a device goes.
    pub stop: Ending,
    /// What kills it, where SIGKILL for each of its processes is not it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<Ending>,
    /// How the next server takes over from one that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recover: Option<Recover>,
    /// What it can do, with the words that ask for it; none where it does so anyhow.
    pub can: BTreeMap<Ability, Vec<String>>,
    /// What it cannot do, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lacks: BTreeMap<Ability, String>,
}

/// What is put into the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// A server that this tree knows how to build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// A program or script of this machine, relative to the adapter file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Other files of this machine, by their places in the guest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// A server that this tree knows how to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Ours.
    Ublk,
    /// The kernel's own, of its selftests.
    Kublk,
    /// The command by libublk's author.
    Rublk,
    /// The file server among libublk's examples.
    Libublk,
}

/// How a device comes up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The command. It stays, or ends with 0 and leaves a daemon.
    pub argv: Vec<String>,
    /// How the device's number is known.
    pub device: Finding,
}

/// How the number of a device that was started is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It was asked for, with `{id}`.
    Asked,
    /// The command prints `ublkbN` or `ublkcN`.
    Printed,
    /// A node of a number that was not there before.
    Appears,
}

/// How a device goes: a command, or a signal for the process that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// The signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<EndingSignal>,
}

/// A signal that asks a server to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EndingSignal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGHUP.
    Hup,
    /// SIGQUIT.
    Quit,
}

/// How the next server takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// The command.
    pub argv: Vec<String>,
    /// Whether the words of `can` that the start was given follow here, too.
    #[serde(default)]
    pub repeat_words: bool,
}

/// What is wrong with an adapter: the key and why, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct AdapterError {
    /// The key, as `start.argv`.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

fn wrong(key: &str, why: impl Into<String>) -> AdapterError {
    AdapterError { key: key.to_owned(), why: why.into() }
}

impl Adapter {
    /// Checks what one key says against the others.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), AdapterError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(wrong("name", "a name is of a-z, 0-9, `-`, `_` and `.`"));
        }
        match (&self.program.source, &self.program.path) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => return Err(wrong("program", "name a `source` or a `path`")),
            (Some(_), Some(_)) => {
                return Err(wrong("program", "`source` and `path` are both there: which is it?"));
            }
        }
        if let Some(guest) = self.program.files.keys().find(|guest| !guest.starts_with('/')) {
            return Err(wrong("program.files", format!("`{guest}` is no absolute guest path")));
        }
        self.check_words()?;
        self.check_abilities()
    }

    fn check_words(&self) -> Result<(), AdapterError> {
        for (key, argv) in self.commands() {
            if argv.is_empty() {
                return Err(wrong(&key, "there is no word in it"));
            }
            words::check(argv).map_err(|why| wrong(&key, why))?;
        }
        for (ability, more) in &self.can {
            words::check(more).map_err(|why| wrong(&format!("can.{ability}"), why))?;
        }
        for (key, ending) in [("stop", Some(&self.stop)), ("kill", self.kill.as_ref())] {
            let Some(ending) = ending else { continue };
            if ending.argv.is_some() == ending.signal.is_some() {
                return Err(wrong(key, "it is either an `argv` or a `signal`"));
            }
        }
        if self.start.device == Finding::Asked && !self.takes(Word::Id) {
            return Err(wrong("start.device", "`asked` needs {id} in start.argv"));
        }
        if !self.takes(Word::File) && !self.takes(Word::Size) && !self.takes(Word::SizeMib) {
            let why = "it has neither {file} nor {size}: nothing says how large the device is";
            return Err(wrong("start.argv", why));
        }
        Ok(())
    }

    fn check_abilities(&self) -> Result<(), AdapterError> {
        if let Some(ability) = self.can.keys().find(|ability| self.lacks.contains_key(ability)) {
            return Err(wrong(&format!("lacks.{ability}"), "it is under `can`, too"));
        }
        if !Ability::MODES.iter().any(|mode| self.can.contains_key(mode)) {
            let modes: Vec<String> = Ability::MODES.iter().map(ToString::to_string).collect();
            return Err(wrong("can", format!("no data mode: name one of {}", modes.join(", "))));
        }
        if self.can.contains_key(&Ability::Fua) && !self.can.contains_key(&Ability::Flush) {
            return Err(wrong("can.fua", "the kernel knows no fua without `flush`"));
        }
        let recovers = Ability::RECOVERIES.iter().find(|one| self.can.contains_key(one));
        match (recovers, &self.recover) {
            (Some(ability), None) => {
                Err(wrong(&format!("can.{ability}"), "it needs a [recover] with an `argv`"))
            }
            (None, Some(_)) => {
                Err(wrong("recover", "no recovery is under `can`, so nothing would use it"))
            }
            (Some(_), Some(_)) if !self.takes(Word::File) => {
                Err(wrong("recover", "without {file} the next server cannot have the bytes"))
            }
            _ => Ok(()),
        }
    }

    /// Every command with its key.
    fn commands(&self) -> Vec<(String, &[String])> {
        let mut all = vec![("start.argv".to_owned(), &self.start.argv[..])];
        let stop = self.stop.argv.iter().map(|argv| ("stop.argv", argv));
        let kill = self.kill.iter().filter_map(|kill| Some(("kill.argv", kill.argv.as_ref()?)));
        let recover = self.recover.iter().map(|recover| ("recover.argv", &recover.argv));
        all.extend(stop.chain(kill).chain(recover).map(|(key, argv)| (key.to_owned(), &argv[..])));
        all
    }

    /// Whether the start is told it.
    #[must_use]
    pub fn takes(&self, word: Word) -> bool {
        words::has(&self.start.argv, word)
    }

    /// The data mode of scenarios that ask for none: the first that it can.
    #[must_use]
    pub fn usual_mode(&self) -> Ability {
        let first = Ability::MODES.iter().find(|mode| self.can.contains_key(mode));
        first.copied().unwrap_or(Ability::Copy)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An adapter that nothing is wrong with.
    pub(in crate::server) fn sound() -> Adapter {
        let text = serde_json::json!({
            "name": "mine",
            "program": {"path": "target/release/mine"},
            "start": {"argv": ["{program}", "add", "{id}", "{file}"], "device": "asked"},
            "stop": {"signal": "TERM"},
            "can": {"copy": [], "flush": []},
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_sound_adapter_passes() {
        sound().check().unwrap();
        assert_eq!(sound().usual_mode(), Ability::Copy);
    }

    #[test]
    fn every_contradiction_names_its_key() {
        type Change = fn(&mut Adapter);
        let changes: [(&str, Change); 15] = [
            ("name: a name is of", |a| a.name = "My Server".into()),
            ("program: name a `source`", |a| a.program.path = None),
            ("program: `source` and `path`", |a| a.program.source = Some(Source::Ublk)),
            ("program.files: `etc/x`", |a| {
                a.program.files.insert("etc/x".into(), "x".into());
            }),
            ("start.argv: there is no word", |a| a.start.argv.clear()),
            ("start.argv: there is no placeholder {fil}", |a| a.start.argv.push("{fil}".into())),
            ("can.flush: there is no placeholder {x}", |a| {
                a.can.insert(Ability::Flush, vec!["--{x}".into()]);
            }),
            ("stop: it is either", |a| a.stop.argv = Some(vec!["x".into()])),
            ("stop: it is either", |a| a.stop.signal = None),
            ("start.device: `asked` needs {id}", |a| a.start.argv.retain(|word| word != "{id}")),
            ("start.argv: it has neither {file} nor {size}", |a| {
                a.start.argv.retain(|word| word != "{file}");
            }),
            ("lacks.flush: it is under `can`, too", |a| {
                a.lacks.insert(Ability::Flush, "no".into());
            }),
            ("can: no data mode", |a| drop(a.can.remove(&Ability::Copy))),
            ("can.fua: ", |a| {
                a.can.remove(&Ability::Flush);
                a.can.insert(Ability::Fua, Vec::new());
            }),
            ("can.recovery: it needs a [recover]", |a| {
                a.can.insert(Ability::Recovery, Vec::new());
            }),
        ];
        for (says, change) in changes {
            let mut adapter = sound();
            change(&mut adapter);
            let line = adapter.check().unwrap_err().to_string();
            assert!(line.starts_with(says) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_recovery_nobody_uses_is_a_contradiction() {
        let mut adapter = sound();
        adapter.recover = Some(Recover { argv: vec!["x".into()], repeat_words: false });
        assert!(adapter.check().unwrap_err().to_string().starts_with("recover: "));
        adapter.can.insert(Ability::Recovery, Vec::new());
        adapter.check().unwrap();
    }
}
