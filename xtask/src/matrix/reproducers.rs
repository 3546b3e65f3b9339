//! A file for each red cell that `replay` runs again: somebody who sees it on a page should not have to know how a run is
//! typed.

use std::path::{Path, PathBuf};

use reports::matrix::Matrix;
use scenarios::model::Reproducer;

use crate::error::Error;

/// Writes the files into `folder/reproducers`, and takes away those that were there. Says which command runs each.
///
/// # Errors
/// What the file system says.
pub(crate) fn write(matrix: &Matrix, folder: &Path) -> Result<Vec<String>, Error> {
    let folder = folder.join("reproducers");
    if folder.exists() {
        vmimage::fsio::remove_tree(&folder).map_err(Error::infrastructure)?;
    }
    let mut commands = Vec::new();
    for row in &matrix.rows {
        for (cell, column) in row.cells.iter().zip(&matrix.columns) {
            if !cell.is_red() || column.is_dead() {
                continue;
            }
            let found = Reproducer {
                format: scenarios::model::FORMAT,
                scenario: row.scenario.clone(),
                kernel: column.release.clone().unwrap_or_default(),
                seed: matrix.run.seed,
                commit: matrix.run.commit.clone(),
                observed: cell.told(),
                ..Reproducer::default()
            };
            let path = path(&folder, &column.kernel, &row.scenario);
            let text = serde_json::to_string_pretty(&found).map_err(Error::infrastructure)? + "\n";
            crate::workspace::write(&path, text)?;
            commands.push(format!(
                "cargo xtask replay --kernel {} {}",
                column.kernel,
                path.display()
            ));
        }
    }
    Ok(commands)
}

fn path(folder: &Path, kernel: &str, scenario: &str) -> PathBuf {
    folder.join(kernel).join(format!("{}.json", scenario.replace('/', "-")))
}
