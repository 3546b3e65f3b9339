//! Standard output: every line is flushed at once, for a script waits for it, and a reader that hung up
//! is told apart from a real error. What is not a terminal gets no colour.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::Failure;

/// Prints one line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    self::text(&format!("{text}\n"))
}

/// Prints lines that end with a newline each.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    // Past the stream that takes colours out: what looks like one in here is data.
    let mut text = serde_json::to_string(value).map_err(Failure::failed)?;
    text.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints a warning; the work goes on.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "ublk: warning: {text}");
}

/// Text that stands out.
pub(crate) fn bold(text: &str) -> String {
    styled(anstyle::Style::new().bold(), text)
}

/// Text that is well.
pub(crate) fn good(text: &str) -> String {
    styled(anstyle::AnsiColor::Green.on_default(), text)
}

/// Text that deserves a look.
pub(crate) fn caution(text: &str) -> String {
    styled(anstyle::AnsiColor::Yellow.on_default(), text)
}

/// Text that tells of a trouble.
pub(crate) fn bad(text: &str) -> String {
    styled(anstyle::AnsiColor::Red.on_default().bold(), text)
}

fn styled(style: anstyle::Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
