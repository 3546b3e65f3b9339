//! The forms a report takes: for a terminal, for CI, for other tools.
//!
//! A renderer formats; it decides nothing and hides nothing. The same report gives the same bytes.

mod excerpt;
mod junit;
mod ktap;
mod markdown;
mod palette;
mod progress;
mod terminal;
pub(crate) mod words;

pub use junit::{JunitError, junit};
pub use ktap::ktap;
pub(crate) use markdown::cell as escaped;
pub use markdown::markdown;
pub use palette::Palette;
pub use progress::trouble;
pub use terminal::terminal;
