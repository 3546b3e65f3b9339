//! The JSON Schema of `report.json`, made from the types so that the two cannot disagree.
//!
//! A copy is kept in `schema/report.schema.json` for readers in other languages; a test holds it to the
//! types.

use crate::report::Report;

/// The JSON Schema of `report.json`, pretty-printed, with a final newline.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Report);
    // A schema is a JSON value already, so the alternate form cannot fail as a serializer could.
    format!("{:#}\n", schema.as_value())
}
