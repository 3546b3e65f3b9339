//! What a daemon tells the process that started it: one line of JSON, once.

use serde::{Deserialize, Serialize};

/// The only word between the two. Both are the same executable, so it needs no version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// The device is live; `line` is what a server in the foreground would print now.
    Live {
        /// Without a newline at its end.
        line: String,
    },
    /// It will not be live, and nothing is left of it.
    Failed {
        /// The exit code.
        exit: u8,
        /// A sentence fragment.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}
