//! Standard output: every line is flushed at once, for a script waits for it, and a reader that hung up
//! is told apart from a real error.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::Failure;

/// Prints one line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(Failure::failed)?)
}

/// Prints a warning; the work goes on.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "ublk: warning: {text}");
}
