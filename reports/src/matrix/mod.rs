//! Every scenario on every kernel as one table that can be kept: what holds where, what each kernel can do, and what has
//! changed since the table before.
//!
//! A [`Matrix`] is made from a [`Report`], decides nothing, and is small enough to be checked in: the report has the
//! evidence, the matrix what people compare over years.

mod cell;
mod changes;
mod column;
mod facts;
mod groups;
mod markdown;
mod mode;
mod paths;
mod store;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::{Report, ServerFacts, Status};

pub use cell::Cell;
pub use changes::{CellChange, Changes, Direction, KernelChange};
pub use column::Column;
pub use facts::{Fact, facts};
pub use groups::{Finding, Group, Tally, findings, groups};
pub use markdown::markdown;
pub(crate) use markdown::{kernel_changed, listed, provenance};
pub use mode::{DEFAULT as DEFAULT_MODE, family, of as mode_of};
pub use store::{MatrixError, parse_matrix, to_json};

/// `major.minor` of the format of `matrix.json`: a new optional field raises the minor number, anything else the major.
pub const MATRIX_VERSION: &str = "1.1";

/// Every scenario on every kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Matrix {
    /// [`MATRIX_VERSION`] of the writer.
    pub schema_version: String,
    /// The verdict of the run it was made from.
    pub status: Status,
    /// One line that says why.
    pub status_reason: String,
    /// Where it comes from.
    pub run: MatrixRun,
    /// What went wrong on no kernel in particular, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// The kernels, in the order they were asked for.
    pub columns: Vec<Column>,
    /// The scenarios, in the order in which they run.
    pub rows: Vec<Row>,
}

/// Where a matrix comes from: enough to make it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixRun {
    /// Commit of the suite, where it is known.
    pub commit: Option<String>,
    /// Whether the work tree differed from that commit.
    pub dirty: bool,
    /// Seed of every random choice.
    pub seed: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub started_at_unix_ms: u64,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Version of QEMU.
    pub qemu: String,
    /// Whose server was tested, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<MatrixServer>,
}

/// Whose server was tested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixServer {
    /// As its adapter names it.
    pub name: String,
    /// What names it on a command line: the same, or its adapter's file without the folder.
    pub argument: String,
    /// Release or origin of its program, where that is known.
    pub version: Option<String>,
}

/// One scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Catalogue id.
    pub scenario: String,
    /// What came out on each kernel, in the order of the columns.
    pub cells: Vec<Cell>,
}

impl Matrix {
    /// The matrix of a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let run = &report.run;
        let columns = report.kernels.iter().enumerate();
        let mut errors: Vec<String> = report
            .errors
            .iter()
            .filter(|error| error.kernel.is_none())
            .map(|error| cell::one_line(&paths::hidden(&error.message)))
            .collect();
        errors.extend(report.violations.iter().map(|violation| {
            cell::one_line(&format!("the record cannot be trusted: {}", violation.what))
        }));
        Self {
            schema_version: MATRIX_VERSION.to_owned(),
            status: report.status,
            status_reason: reason(report),
            run: MatrixRun {
                commit: run.commit.clone(),
                dirty: run.dirty,
                seed: run.seed,
                started_at_unix_ms: run.started_at_unix_ms,
                duration_ms: report.duration_ms,
                accelerator: run.accelerator.name.clone(),
                qemu: run.qemu.version.clone(),
                server: run.server.as_ref().map(server),
            },
            errors,
            columns: columns.map(|(index, kernel)| Column::of(report, index, kernel)).collect(),
            rows: rows(report),
        }
    }

    /// The command that runs a scenario again on these columns.
    #[must_use]
    pub fn reproducer(&self, row: &Row, columns: &[usize]) -> String {
        let others = self.rows.iter().filter(|other| other.scenario.contains(&row.scenario));
        // A filter is a part of an id; with a star it is matched as a whole.
        let filter = match others.count() {
            0 | 1 => row.scenario.clone(),
            _ => format!("'*{}'", row.scenario),
        };
        let columns: Vec<_> = columns.iter().filter_map(|at| self.columns.get(*at)).collect();
        let kernels: String =
            columns.iter().map(|column| format!(" --kernel {}", column.kernel)).collect();
        // A run has guests of one architecture.
        let more = columns.first().map_or_else(String::new, |column| column.more_options());
        let server = self.run.server.iter();
        let server: String = server.map(|own| format!(" --server {}", own.argument)).collect();
        let seed = self.run.seed;
        format!("cargo xtask vm-e2e{server}{kernels}{more} --filter {filter} --seed {seed:#x}")
    }

    /// The counts of one column.
    #[must_use]
    pub fn tally(&self, column: usize) -> Tally {
        Tally::of(self.rows.iter().filter_map(|row| row.cells.get(column)))
    }

    /// The names of these columns, for a sentence.
    #[must_use]
    pub fn names(&self, columns: &[usize]) -> String {
        let names = columns.iter().filter_map(|column| self.columns.get(*column));
        names.map(|column| column.kernel.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl Row {
    /// The family, as `startup`.
    #[must_use]
    pub fn family(&self) -> &str {
        family(&self.scenario)
    }

    /// The data mode, as `user-copy`.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        mode_of(&self.scenario)
    }
}

/// The folder of an adapter's file is nobody else's business.
fn server(facts: &ServerFacts) -> MatrixServer {
    let file = std::path::Path::new(&facts.argument).file_name();
    MatrixServer {
        name: facts.name.clone(),
        argument: file.unwrap_or_default().to_string_lossy().into_owned(),
        version: facts.version.clone(),
    }
}

/// A file's kernel is named by its path in a report's reason.
fn reason(report: &Report) -> String {
    let paths = report.kernels.iter().map(|kernel| kernel.kernel.spec.as_str());
    let shown = paths.filter(|spec| spec.contains('/')).fold(
        report.status_reason.clone(),
        |reason, path| {
            let name = std::path::Path::new(path).file_name().unwrap_or_default();
            reason.replace(path, &name.to_string_lossy())
        },
    );
    cell::one_line(&paths::hidden(&shown))
}

/// Scenarios in the order of the first kernel that has them; one that a kernel does not have was not run there.
fn rows(report: &Report) -> Vec<Row> {
    let mut ids: Vec<&str> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for (_, scenario) in report.scenarios() {
        if known.insert(scenario.id.as_str()) {
            ids.push(&scenario.id);
        }
    }
    let cell = |kernel: &crate::report::KernelReport, id: &str| {
        kernel.scenarios.iter().find(|s| s.id == id).map_or(Cell::NotRun, Cell::of)
    };
    let cells = |id: &str| report.kernels.iter().map(|kernel| cell(kernel, id)).collect();
    ids.into_iter().map(|id| Row { scenario: id.to_owned(), cells: cells(id) }).collect()
}
