//! The file of a matrix: one line for each kernel and scenario, so that what changed in it can be read in a diff.

use serde::{Deserialize, Serialize};

use super::{MATRIX_VERSION, Matrix};

/// Why a text is no matrix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatrixError {
    /// Of another major version.
    #[error(
        "the matrix has schema version {found}, this program reads {MATRIX_VERSION}; render its report again"
    )]
    Version {
        /// What it says.
        found: String,
    },
    /// Another shape.
    #[error("not a matrix: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A row that has not one cell for each kernel.
    #[error("not a matrix: {scenario} has {cells} cells and there are {columns} kernels")]
    Ragged {
        /// Its scenario.
        scenario: String,
        /// How many it has.
        cells: usize,
        /// How many it should have.
        columns: usize,
    },
}

/// The text of a `matrix.json`, with a final newline.
///
/// # Errors
/// What the serializer says; there is nothing in a matrix that it refuses.
pub fn to_json(matrix: &Matrix) -> Result<String, MatrixError> {
    let whole = serde_json::to_value(matrix)?;
    let mut out = String::from("{\n");
    let fields = whole.as_object().into_iter().flatten();
    let mut first = true;
    for (name, value) in fields {
        if !std::mem::take(&mut first) {
            out.push_str(",\n");
        }
        out.push_str(&format!("{}: {}", serde_json::to_string(name)?, lines(value)?));
    }
    out.push_str("\n}\n");
    Ok(out)
}

/// A list with one line for each entry; anything else on one line.
fn lines(value: &serde_json::Value) -> Result<String, MatrixError> {
    fn text(value: &impl Serialize) -> Result<String, MatrixError> {
        Ok(serde_json::to_string(value)?)
    }
    let Some(entries) = value.as_array().filter(|entries| !entries.is_empty()) else {
        return text(value);
    };
    let entries = entries.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[\n{}\n]", entries.join(",\n")))
}

/// Reads the text of a `matrix.json`.
///
/// # Errors
/// [`MatrixError`].
pub fn parse_matrix(text: &str) -> Result<Matrix, MatrixError> {
    /// The version alone, before the rest is believed to have a known shape.
    #[derive(Deserialize)]
    struct Version {
        schema_version: String,
    }
    let Version { schema_version: found } = serde_json::from_str(text)?;
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if major(&found) != major(MATRIX_VERSION) {
        return Err(MatrixError::Version { found });
    }
    let matrix: Matrix = serde_json::from_str(text)?;
    let columns = matrix.columns.len();
    match matrix.rows.iter().find(|row| row.cells.len() != columns) {
        Some(row) => Err(MatrixError::Ragged {
            scenario: row.scenario.clone(),
            cells: row.cells.len(),
            columns,
        }),
        None => Ok(matrix),
    }
}
