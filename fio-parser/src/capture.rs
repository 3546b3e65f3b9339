//! What one fio process printed, parsed and still whole: documents, diagnostics, exit status.
//!
//! A number may be used only if the document, the text around it and the exit status all agree that
//! the run worked, so the three are kept together.

use crate::document::{self, SliceError, Slices};
use crate::finding::{Finding, capture_findings};
use crate::output::FioOutput;
use crate::summary::{Refused, Summary};
use crate::walk::FieldError;

/// How much deviation from fio's format is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Unknown fields are listed, control characters in strings repaired, invalid UTF-8 replaced.
    #[default]
    Lenient,
    /// All three are errors.
    Strict,
}

/// Why output could not be parsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The output was not looked at.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// No document; the diagnostics say why fio gave none.
    #[error("no JSON in fio's output; run fio with --output-format=json (it said: {said})", said = quote(diagnostics))]
    NoDocument {
        /// What fio printed instead.
        diagnostics: Vec<String>,
    },
    /// The last document has no end: fio was killed, or its output cut.
    #[error(
        "fio's document that begins at line {line} has no end; was fio killed, or its output cut?"
    )]
    Truncated {
        /// First line of the document, from 1.
        line: usize,
        /// Complete documents before it.
        complete_documents: usize,
    },
    /// A document that is not JSON.
    #[error("document {index} of fio's output is not JSON")]
    Json {
        /// Position among the documents, from 0.
        index: usize,
        /// What the JSON reader says, with the position inside the document.
        source: serde_json::Error,
    },
    /// A document that is JSON and not fio's.
    #[error("document {index} of fio's output is not as fio writes it")]
    Field {
        /// Position among the documents, from 0.
        index: usize,
        /// Which field.
        source: FieldError,
    },
    /// Unknown fields, in strict mode only.
    #[error("document {index} of fio's output has unknown fields: {}", names.join(", "))]
    UnknownFields {
        /// Position among the documents, from 0.
        index: usize,
        /// Their paths.
        names: Vec<String>,
    },
}

/// Shows the end of what fio said, where the reason usually is.
fn quote(diagnostics: &[String]) -> &str {
    diagnostics.last().map_or("nothing", String::as_str)
}

/// Output of one fio process.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// Complete documents, at least one.
    documents: Vec<FioOutput>,
    diagnostics: Vec<String>,
    truncated_at_line: Option<usize>,
    exit_status: Option<i32>,
}

/// Parses the last document, whatever came before it, leniently.
///
/// # Errors
/// [`ParseError`], in particular [`ParseError::Truncated`] when the output ends inside a document: the
/// one before it is not what the run came to.
pub fn parse_last(output: &[u8]) -> Result<FioOutput, ParseError> {
    let slices = document::slice(output)?;
    if let Some(line) = slices.truncated_at_line {
        return Err(ParseError::Truncated { line, complete_documents: slices.documents.len() });
    }
    match slices.documents.last() {
        Some(bytes) => parse_document(slices.documents.len() - 1, bytes, Mode::Lenient),
        None => Err(no_document(slices)),
    }
}

impl Capture {
    /// Parses all complete documents. A truncated one at the end is remembered as a finding, so that
    /// evidence of a killed run is not lost; [`Self::summary`] refuses it.
    ///
    /// # Errors
    /// [`ParseError`]; `Truncated` and `NoDocument` only without any complete document.
    pub fn parse(output: &[u8], mode: Mode) -> Result<Self, ParseError> {
        let slices = document::slice(output)?;
        if slices.documents.is_empty() {
            return Err(no_document(slices));
        }
        let documents = slices
            .documents
            .iter()
            .enumerate()
            .map(|(index, bytes)| parse_document(index, bytes, mode))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            documents,
            diagnostics: owned(slices.diagnostics),
            truncated_at_line: slices.truncated_at_line,
            exit_status: None,
        })
    }

    /// Adds the exit status of the process (use a negative signal number for a death by signal).
    #[must_use]
    pub fn with_exit_status(mut self, exit_status: i32) -> Self {
        self.exit_status = Some(exit_status);
        self
    }

    /// All complete documents, oldest first.
    #[must_use]
    pub fn documents(&self) -> &[FioOutput] {
        &self.documents
    }

    /// The last complete document. When [`Self::truncated_at_line`] is set it is not the final one.
    #[must_use]
    pub fn last(&self) -> &FioOutput {
        // `parse` made no capture without a document, and nothing removes one.
        &self.documents[self.documents.len() - 1]
    }

    /// Lines fio printed around the JSON.
    #[must_use]
    pub fn diagnostics(&self) -> &[String] {
        &self.diagnostics
    }

    /// Where a document begins whose end is missing.
    #[must_use]
    pub fn truncated_at_line(&self) -> Option<usize> {
        self.truncated_at_line
    }

    /// The exit status, where it was given.
    #[must_use]
    pub fn exit_status(&self) -> Option<i32> {
        self.exit_status
    }

    /// Everything that is wrong with the run, worst first.
    #[must_use]
    pub fn validate(&self) -> Vec<Finding> {
        capture_findings(self)
    }

    /// The numbers of the last document.
    ///
    /// # Errors
    /// [`Refused`] with all findings when one of them is an error: a failed run has no numbers.
    pub fn summary(&self) -> Result<Summary, Refused> {
        Summary::of(self.last(), self.validate())
    }
}

fn no_document(slices: Slices<'_>) -> ParseError {
    match slices.truncated_at_line {
        Some(line) => ParseError::Truncated { line, complete_documents: 0 },
        None => ParseError::NoDocument { diagnostics: owned(slices.diagnostics) },
    }
}

fn owned(lines: Vec<std::borrow::Cow<'_, str>>) -> Vec<String> {
    lines.into_iter().map(std::borrow::Cow::into_owned).collect()
}

fn parse_document(index: usize, bytes: &[u8], mode: Mode) -> Result<FioOutput, ParseError> {
    let value = match mode {
        Mode::Strict => serde_json::from_slice(bytes),
        Mode::Lenient => {
            let text = String::from_utf8_lossy(bytes);
            serde_json::from_str(&document::escape_control_characters(&text))
        }
    }
    .map_err(|source| ParseError::Json { index, source })?;
    let output =
        FioOutput::from_value(value).map_err(|source| ParseError::Field { index, source })?;
    if mode == Mode::Strict && !output.unknown_fields.is_empty() {
        return Err(ParseError::UnknownFields { index, names: output.unknown_fields });
    }
    Ok(output)
}
