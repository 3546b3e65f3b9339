//! The forms of a matrix: a page for a browser, one for the documentation, the data behind both, and a few lines for a
//! terminal.

use std::path::{Path, PathBuf};

use reports::matrix::{Changes, Direction, Matrix, markdown, parse_matrix, to_json};
use reports::report::Status;

use super::SECTION;
use crate::cli::MatrixPageArgs;
use crate::error::Error;
use crate::task_report::way;
use crate::{section, workspace};

/// The data of the matrix that is checked in.
fn kept() -> PathBuf {
    workspace::root().join("docs/matrix.json")
}

/// Refuses a page without the section before anything is run for it.
///
/// # Errors
/// When it cannot be read or has no such section.
pub(crate) fn check(args: &MatrixPageArgs) -> Result<(), Error> {
    args.into.as_deref().map_or(Ok(()), |page| section::check(page, SECTION))
}

/// The matrix to compare with: the one that was named, else that of the page, else the one that is checked in, if any.
///
/// # Errors
/// When it cannot be read or is none.
pub(crate) fn previous(
    args: &MatrixPageArgs,
    is_of_a_server: bool,
) -> Result<Option<Matrix>, Error> {
    let path = match (&args.previous, &args.into) {
        (Some(named), _) => named.clone(),
        (None, Some(page)) => page.with_extension("json"),
        // That one is of our whole suite, and says nothing of a server.
        (None, None) if is_of_a_server => return Ok(None),
        (None, None) => kept(),
    };
    if args.previous.is_none() && !path.exists() {
        return Ok(None);
    }
    let wrong =
        |error: &dyn std::fmt::Display| Error::usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    parse_matrix(&text).map(Some).map_err(|error| wrong(&error))
}

/// Writes `matrix.json`, `matrix.md` and `matrix.html` into `folder`, and the page of the documentation if one was named.
///
/// # Errors
/// What the file system says; or that this matrix is no documentation.
pub(crate) fn deliver(
    matrix: &Matrix,
    changes: Option<&Changes<'_>>,
    folder: &Path,
    args: &MatrixPageArgs,
) -> Result<(), Error> {
    let data = to_json(matrix).map_err(Error::infrastructure)?;
    let text = markdown(matrix, changes);
    let here = folder.canonicalize().map_err(Error::infrastructure)?;
    // A page that lies elsewhere has no way to the tree that will still be right when it is read.
    let root = workspace::root();
    let docs = here.starts_with(&root).then(|| way(&here, &root));
    let page = reports::html::matrix_page(matrix, changes, docs.as_deref());
    for (name, text) in [("matrix.json", &data), ("matrix.md", &text), ("matrix.html", &page)] {
        reports::write_file(&folder.join(name), text.as_bytes()).map_err(Error::infrastructure)?;
    }
    let Some(into) = &args.into else { return Ok(()) };
    if matches!(matrix.status, Status::Interrupted | Status::Invalid) {
        return Err(Error::usage(format!(
            "{} is left as it was: this matrix is {}, which is no documentation",
            into.display(),
            matrix.status.as_str()
        )));
    }
    section::replace(into, SECTION, &text)?;
    reports::write_file(&into.with_extension("json"), data.as_bytes())
        .map(drop)
        .map_err(Error::infrastructure)
}

/// A line for each kernel, what is red, and what got worse or better.
pub(crate) fn summary(matrix: &Matrix, changes: Option<&Changes<'_>>, red: &[String]) -> String {
    let mut lines = Vec::new();
    for (index, column) in matrix.columns.iter().enumerate() {
        let counts: Vec<String> = matrix
            .tally(index)
            .parts()
            .into_iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        let release = column.release.as_deref().unwrap_or("-");
        lines.push(format!("{:<20} {release:<32} {}", column.kernel, counts.join(", ")));
        lines.extend(column.error.iter().map(|error| format!("{:<20} error: {error}", "")));
    }
    lines.extend(matrix.errors.iter().map(|error| format!("error: {error}")));
    lines.push(format!("{}: {}", matrix.status.as_str(), matrix.status_reason));
    lines.extend(red.iter().map(|command| format!("red: {command}")));
    if let Some(changes) = changes {
        let count = |direction| changes.cells.iter().filter(|c| c.direction == direction).count();
        lines.push(format!(
            "since the matrix before: {} worse, {} better, {} otherwise",
            count(Direction::Worse),
            count(Direction::Better),
            count(Direction::Otherwise),
        ));
    }
    lines.join("\n")
}
