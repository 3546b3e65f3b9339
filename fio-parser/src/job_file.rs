//! fio job files: built from values that were checked, rendered, and read back.
//!
//! fio's own reader accepts much that it then reads otherwise than written: it cuts every line at `;`
//! and `#`, takes `[globalfoo]` for `[global]` and any line that begins with `include` for a directive.
//! What would not survive that is refused here, where the error can name the option.

mod read;

use std::fmt;

/// Longest line, with a margin below the 8192 bytes after which fio 3.41 cuts one.
const LINE_BYTES_MAX: usize = 8000;
/// Longest job name that fio repeats whole in its output; a longer one could not be found there again.
const NAME_BYTES_MAX: usize = 127;

/// A job file: sections in order. Order matters, since `[global]` applies to the jobs after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFile {
    sections: Vec<Section>,
}

/// `[global]` or `[job name]` with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    name: String,
    options: Vec<JobOption>,
}

/// `key=value`, or `key` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOption {
    key: String,
    value: Option<String>,
}

/// What cannot be written into a job file, or read from one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobFileError {
    /// A job name fio would read differently.
    #[error("`{name}` cannot name a fio job: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// An option name fio would read differently.
    #[error("`{key}` cannot name a fio option: {reason}")]
    Key {
        /// The name.
        key: String,
        /// Why not.
        reason: &'static str,
    },
    /// A value fio would read differently.
    #[error("the value of fio option `{key}` cannot be written to a job file: {reason}")]
    Value {
        /// Name of the option.
        key: String,
        /// Why not.
        reason: &'static str,
    },
    /// An option before any section.
    #[error("line {line}: option outside of a section; put it under `[global]` or a job")]
    OutsideSection {
        /// Line, from 1.
        line: usize,
    },
    /// A line that begins with `[` and is no section.
    #[error("line {line}: a section is written `[name]`")]
    Header {
        /// Line, from 1.
        line: usize,
    },
    /// An `include` directive.
    #[error("line {line}: `include` is not followed; paste the other file in its place")]
    Include {
        /// Line, from 1.
        line: usize,
    },
    /// A name, key or value on this line is refused.
    #[error("line {line}: {source}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// Why.
        source: Box<JobFileError>,
    },
}

impl JobFile {
    /// An empty job file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a section.
    #[must_use]
    pub fn with(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// All sections, in order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The text fio reads; [`Self::parse`] of it gives the same job file.
    #[must_use]
    pub fn render(&self) -> String {
        self.to_string()
    }

    /// Reads a job file, dropping comments and blank lines.
    ///
    /// # Errors
    /// [`JobFileError`] with the line, for what fio refuses and for what it would read otherwise than
    /// it looks.
    pub fn parse(text: &str) -> Result<Self, JobFileError> {
        read::job_file(text)
    }
}

impl Section {
    const GLOBAL: &'static str = "global";

    /// A `[global]` section.
    #[must_use]
    pub fn global() -> Self {
        Self { name: Self::GLOBAL.to_owned(), options: Vec::new() }
    }

    /// A job of this name.
    ///
    /// # Errors
    /// [`JobFileError::Name`], also for every name that begins with `global`, which fio takes for the
    /// global section.
    pub fn job(name: impl Into<String>) -> Result<Self, JobFileError> {
        let name = name.into();
        let reason = if name.starts_with(Self::GLOBAL) {
            Some("fio takes every name that begins with `global` for the global section")
        } else if name.len() > NAME_BYTES_MAX {
            Some("it is longer than 127 bytes")
        } else if name.contains(['[', ']']) {
            Some("brackets end a section")
        } else {
            text_reason(&name)
        };
        match reason {
            Some(reason) => Err(JobFileError::Name { name, reason }),
            None => Ok(Self { name, options: Vec::new() }),
        }
    }

    /// Appends `key=value`.
    ///
    /// # Errors
    /// [`JobFileError::Key`] and [`JobFileError::Value`].
    pub fn set(self, key: &str, value: impl fmt::Display) -> Result<Self, JobFileError> {
        self.push(key, Some(value.to_string()))
    }

    /// Appends a bare `key`.
    ///
    /// # Errors
    /// [`JobFileError::Key`].
    pub fn flag(self, key: &str) -> Result<Self, JobFileError> {
        self.push(key, None)
    }

    fn push(mut self, key: &str, value: Option<String>) -> Result<Self, JobFileError> {
        if let Some(reason) = key_reason(key) {
            return Err(JobFileError::Key { key: key.to_owned(), reason });
        }
        let too_long =
            value.as_ref().is_some_and(|value| key.len() + 1 + value.len() > LINE_BYTES_MAX);
        let reason = match &value {
            Some(_) if too_long => Some("the line is longer than 8000 bytes"),
            Some(value) => text_reason(value),
            None => None,
        };
        if let Some(reason) = reason {
            return Err(JobFileError::Value { key: key.to_owned(), reason });
        }
        self.options.push(JobOption { key: key.to_owned(), value });
        Ok(self)
    }

    /// `global`, or the name of the job.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for `[global]`.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.name == Self::GLOBAL
    }

    /// Options in order. One key may be there twice; fio adds some up and takes the last of others.
    #[must_use]
    pub fn options(&self) -> &[JobOption] {
        &self.options
    }
}

impl JobOption {
    /// Name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Value, `None` for a bare option.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

fn key_reason(key: &str) -> Option<&'static str> {
    const KEY_BYTES_MAX: usize = 100;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        Some("it is empty or longer than 100 bytes")
    } else if !key.bytes().all(legal) {
        Some("only letters, digits, `_`, `-` and `.` are allowed")
    } else if key.starts_with("include") {
        Some("fio takes every line that begins with `include` for a directive")
    } else {
        None
    }
}

/// Why fio would not read this text as it stands.
fn text_reason(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("it is empty")
    } else if text.contains([';', '#']) {
        Some("`;` and `#` begin a comment anywhere in a line")
    } else if text.contains(char::is_control) {
        Some("it holds a line end or another control character")
    } else if text.trim() != text {
        Some("blanks at its ends would be lost")
    } else {
        None
    }
}

impl fmt::Display for JobFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, section) in self.sections.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            writeln!(out, "[{}]", section.name)?;
            for option in &section.options {
                writeln!(out, "{option}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for JobOption {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(out, "{}={value}", self.key),
            None => out.write_str(&self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn renders_sections_in_order() {
        let file = JobFile::new()
            .with(Section::global().set("bs", "4k").unwrap().flag("time_based").unwrap())
            .with(Section::job("rand rw").unwrap().set("iodepth", 32).unwrap());
        assert_eq!(file.render(), "[global]\nbs=4k\ntime_based\n\n[rand rw]\niodepth=32\n");
    }

    #[rstest]
    #[case("")]
    #[case("globalfoo")]
    #[case("a]b")]
    #[case("a;b")]
    #[case("a#b")]
    #[case(" a")]
    #[case("a\nb")]
    fn refuses_job_names(#[case] name: &str) {
        assert!(matches!(Section::job(name), Err(JobFileError::Name { .. })));
    }

    #[rstest]
    #[case("")]
    #[case("a b")]
    #[case("a=b")]
    #[case("[a")]
    #[case("include")]
    #[case("includes")]
    fn refuses_keys(#[case] key: &str) {
        assert!(matches!(Section::global().flag(key), Err(JobFileError::Key { .. })));
    }

    #[rstest]
    #[case("")]
    #[case("a # b")]
    #[case("x;y")]
    #[case("x ")]
    #[case("x\ny=z")]
    fn refuses_values(#[case] value: &str) {
        assert!(matches!(Section::global().set("k", value), Err(JobFileError::Value { .. })));
    }

    #[test]
    fn refuses_lines_fio_would_cut() {
        assert!(Section::global().set("k", "v".repeat(LINE_BYTES_MAX)).is_err());
        assert!(Section::job("n".repeat(NAME_BYTES_MAX + 1)).is_err());
        assert!(Section::job("n".repeat(NAME_BYTES_MAX)).is_ok());
    }
}
