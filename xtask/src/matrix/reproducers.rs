//! A file for each red cell that `replay` runs again: somebody who sees it on a page should not have to know how a run is
//! typed.

use std::path::{Path, PathBuf};

use reports::matrix::Matrix;
use reports::report::Report;
use scenarios::model::Reproducer;

use crate::error::Error;

/// Writes the files into `folder/reproducers`, and takes away those that were there. Says which command runs each.
///
/// # Errors
/// What the file system says.
pub(crate) fn write(matrix: &Matrix, report: &Report, folder: &Path) -> Result<Vec<String>, Error> {
    let folder = folder.join("reproducers");
    if folder.exists() {
        vmimage::fsio::remove_tree(&folder).map_err(Error::infrastructure)?;
    }
    let mut commands = Vec::new();
    for row in &matrix.rows {
        let cells = row.cells.iter().zip(&matrix.columns).enumerate();
        for (index, (cell, column)) in cells {
            if !cell.is_red() || column.is_dead() {
                continue;
            }
            // What the scenario itself has cut down is better than all of it.
            let own = shrunk(report, index, &row.scenario).unwrap_or_else(|| Reproducer {
                format: scenarios::model::FORMAT,
                scenario: row.scenario.clone(),
                observed: cell.told(),
                ..Reproducer::default()
            });
            let found = Reproducer {
                kernel: column.release.clone().unwrap_or_default(),
                server: report.run.server.as_ref().map(|server| server.argument.clone()),
                seed: matrix.run.seed,
                commit: matrix.run.commit.clone(),
                ..own
            };
            let path = path(&folder, &column.kernel, &row.scenario);
            let text = serde_json::to_string_pretty(&found).map_err(Error::infrastructure)? + "\n";
            crate::workspace::write(&path, text)?;
            commands.push(format!(
                "cargo xtask replay --kernel {}{} {}",
                column.kernel,
                column.more_options(),
                path.display()
            ));
        }
    }
    Ok(commands)
}

/// The case that a scenario left beside its verdict, where it did.
fn shrunk(report: &Report, kernel: usize, scenario: &str) -> Option<Reproducer> {
    let own = report.kernels.get(kernel)?.scenarios.iter().find(|one| one.id == scenario)?;
    let mut left = own.evidence.iter().filter(|one| one.name.starts_with("reproducer"));
    left.find_map(|one| serde_json::from_str(&one.text).ok())
}

fn path(folder: &Path, kernel: &str, scenario: &str) -> PathBuf {
    folder.join(kernel).join(format!("{}.json", scenario.replace('/', "-")))
}
