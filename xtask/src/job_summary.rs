//! The page that a GitHub workflow shows of a job: a command that ends with a verdict puts its table there.

use std::fs::OpenOptions;
use std::io::Write;

use crate::error::Error;

/// Appends to the job summary where a workflow offers one.
pub(crate) fn append(markdown: &str) -> Result<(), Error> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else { return Ok(()) };
    let mut file =
        OpenOptions::new().append(true).create(true).open(&path).map_err(Error::infrastructure)?;
    file.write_all(markdown.as_bytes()).map_err(Error::infrastructure)
}
