//! The JSON Schemas of `report.json` and `perf.json`, made from the types so that the two cannot disagree.
//!
//! Copies are kept in `schema/` for readers in other languages; a test holds them to the types.

use schemars::Schema;

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

fn text(schema: &Schema) -> String {
    // A schema is a JSON value already, so the alternate form cannot fail as a serializer could.
    format!("{:#}\n", schema.as_value())
}
