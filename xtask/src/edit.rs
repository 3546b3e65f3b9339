//! A change of a source file that is made in a copy of the tree: how a regression or a bug is planted without a line of
//! it in the product.
//!
//! A place that is no longer there, or there twice, is an error: what plants nothing would prove the opposite.

use crate::error::Error;

/// One change of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit {
    /// The file, from the root of the workspace.
    pub(crate) file: &'static str,
    /// A text that is in it once.
    pub(crate) at: &'static str,
    /// What becomes of it.
    pub(crate) put: Put,
}

/// Where the planted text goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put {
    /// A line before it.
    Before(&'static str),
    /// A line behind it.
    Behind(&'static str),
    /// In its place.
    Instead(&'static str),
}

impl Edit {
    /// The file's text with the change in it.
    pub(crate) fn apply(&self, text: &str) -> Result<String, Error> {
        let Self { file, at, put } = self;
        match text.matches(at).count() {
            1 => Ok(match put {
                Put::Before(line) => text.replace(at, &format!("{line}\n{at}")),
                Put::Behind(line) => text.replace(at, &format!("{at}\n{line}")),
                Put::Instead(other) => text.replace(at, other),
            }),
            count => Err(Error::failed(format!(
                "the place to plant at is {count} times in {file}, and has to be there once: {at:?}"
            ))),
        }
    }
}

/// The text of a file with every change of `edits` in it that is for it.
pub(crate) fn apply_all(file: &str, text: &str, edits: &[Edit]) -> Result<String, Error> {
    let mut own = edits.iter().filter(|edit| edit.file == file);
    own.try_fold(text.to_owned(), |text, edit| edit.apply(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_there_once_or_it_is_an_error() {
        let edit = |put| Edit { file: "a.rs", at: "two();", put };
        let text = "one();\ntwo();\n";
        assert_eq!(edit(Put::Before("x();")).apply(text).unwrap(), "one();\nx();\ntwo();\n");
        assert_eq!(edit(Put::Behind("x();")).apply(text).unwrap(), "one();\ntwo();\nx();\n");
        assert_eq!(edit(Put::Instead("x();")).apply(text).unwrap(), "one();\nx();\n");
        assert!(edit(Put::Instead("")).apply("two();two();").is_err());
        assert!(apply_all("a.rs", "nothing", &[edit(Put::Before(""))]).is_err());
        assert_eq!(apply_all("b.rs", "nothing", &[edit(Put::Before(""))]).unwrap(), "nothing");
    }
}
