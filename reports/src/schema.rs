//! The JSON Schemas of `report.json`, `perf.json`, `matrix.json` and a gate's baseline, made from the types so that the two cannot disagree.
//!
//! Copies are kept in `schema/` for readers in other languages; a test holds them to the types.

use schemars::Schema;

use crate::gate::Baseline;
use crate::matrix::Matrix;
use crate::perf::PerfReport;
use crate::report::Report;

/// The JSON Schema of `report.json`, pretty-printed, with a final newline.
#[must_use]
pub fn schema() -> String {
    text(&schemars::schema_for!(Report))
}

/// The JSON Schema of `perf.json`, pretty-printed, with a final newline.
#[must_use]
pub fn perf_schema() -> String {
    text(&schemars::schema_for!(PerfReport))
}

/// The JSON Schema of a baseline in `reports/baselines`, pretty-printed, with a final newline.
#[must_use]
pub fn baseline_schema() -> String {
    text(&schemars::schema_for!(Baseline))
}

/// The JSON Schema of `matrix.json`, pretty-printed, with a final newline.
#[must_use]
pub fn matrix_schema() -> String {
    text(&schemars::schema_for!(Matrix))
}

fn text(schema: &Schema) -> String {
    // A schema is a JSON value already, so the alternate form cannot fail as a serializer could.
    format!("{:#}\n", schema.as_value())
}
