//! What was typed after `--server`, as an adapter: read, and refused in one line that names file, place and key.

use std::path::{Path, PathBuf};

use scenarios::server::Adapter;

use super::shipped;
use crate::error::Error;

/// An adapter that was named.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// As it was typed.
    pub(super) argument: String,
    pub(super) adapter: Adapter,
    /// What relative paths in it are relative to.
    pub(super) folder: PathBuf,
}

impl Typed {
    /// The shipped adapter of that name, or the file: what has a `/` or ends in `.toml` is one.
    ///
    /// # Errors
    /// When there is none, or something is wrong with it.
    pub(crate) fn read(argument: &str) -> Result<Self, Error> {
        if !argument.contains('/') && !argument.ends_with(".toml") {
            let text = shipped::text(argument).ok_or_else(|| {
                Error::usage(format!(
                    "there is no server `{argument}`: name one of {}, or an adapter's file (docs/testing-your-server.md)",
                    shipped::names()
                ))
            })?;
            let adapter = parse(&format!("the adapter {argument}"), text)?;
            return Ok(Self { argument: argument.to_owned(), adapter, folder: PathBuf::new() });
        }
        let path = Path::new(argument);
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("cannot read the adapter {argument}: {error}"))
        })?;
        let adapter = parse(argument, &text)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let typed = Self { argument: argument.to_owned(), adapter, folder };
        typed.check_files()?;
        Ok(typed)
    }

    /// Everything of this machine that is to go into the guest has to be here.
    fn check_files(&self) -> Result<(), Error> {
        let program = &self.adapter.program;
        let own = program.path.iter().map(|path| ("program.path", path));
        let more = program.files.values().map(|path| ("program.files", path));
        for (key, path) in own.chain(more) {
            let found = self.path(path);
            if !found.is_file() {
                let what = if found.exists() { "is no file" } else { "is not there" };
                let path = found.display();
                return Err(Error::usage(format!("{}: {key}: {path} {what}", self.argument)));
            }
        }
        Ok(())
    }

    /// A path of the adapter's.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

fn parse(name: &str, text: &str) -> Result<Adapter, Error> {
    let adapter: Adapter = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| {
            let before = text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
            let line = (before + 1).min(text.lines().count().max(1));
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
            format!(" line {line} (`{shown}`):")
        });
        let why = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        Error::usage(format!("{name}:{} {why}", line.unwrap_or_default()))
    })?;
    adapter.check().map_err(|error| Error::usage(format!("{name}: {error}")))?;
    Ok(adapter)
}

#[cfg(test)]
mod tests {
    use reports::report::ExitCode;

    use super::*;

    const SOUND: &str = r#"
name = "mine"
[program]
path = "server"
[start]
argv = ["{program}", "{id}", "{file}"]
device = "asked"
[stop]
signal = "TERM"
[can]
copy = []
"#;

    fn line_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(folder.path().join("server"), "").unwrap();
        std::fs::write(&path, text).unwrap();
        match Typed::read(path.to_str().unwrap()) {
            Ok(typed) => typed.adapter.name,
            Err(error) => {
                assert_eq!(error.code, ExitCode::Usage);
                let line = error.to_string();
                assert!(line.contains("mine.toml: ") && !line.contains('\n'), "{line}");
                line.split_once("mine.toml: ").unwrap().1.to_owned()
            }
        }
    }

    #[test]
    fn a_file_is_an_adapter() {
        assert_eq!(line_of(SOUND), "mine");
    }

    #[test]
    fn whatever_is_wrong_is_on_one_line_with_its_key() {
        for (was, is, says) in [
            ("[stop]", "[stpo]", "line 8 (`[stpo]`): unknown field `stpo`"),
            ("device =", "devise =", "line 7 (`devise = \"asked\"`): unknown field `devise`"),
            ("signal = \"TERM\"", "signal = \"KILL\"", "unknown variant `KILL`"),
            ("device = \"asked\"\n", "", "missing field `device`"),
            ("[can]\ncopy = []\n", "", "missing field `can`"),
            ("copy = []", "copy = [", "line 11"),
            ("copy = []", "teleport = []", "unknown variant `teleport`"),
            ("copy = []", "copy = \"yes\"", "line 11 (`copy = \"yes\"`): invalid type: string"),
            ("copy = []", "recovery = []", "can: no data mode"),
            ("{id}", "{idd}", "start.argv: there is no placeholder {idd}"),
            ("path = \"server\"", "path = \"serve\"", "program.path: "),
        ] {
            let line = line_of(&SOUND.replace(was, is));
            assert!(line.contains(says), "{line}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_a_usage_error() {
        for argument in ["nobody", "no/such/adapter.toml", "none.toml"] {
            let error = Typed::read(argument).unwrap_err();
            assert!(error.to_string().contains(argument) && error.code == ExitCode::Usage);
        }
    }
}
