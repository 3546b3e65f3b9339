//! A headless Chromium that is asked what it sees: pages as a reader has them, measured and photographed.
//!
//! Only for `report-shots`, which skips where there is none. The devtools protocol is spoken over the
//! browser's pipe: no port is opened, and nothing but JSON is needed. A crate for browsers would bring a
//! WebSocket client, an async runtime and a downloader for five commands.

mod process;
mod tab;

pub(crate) use process::Chromium;
pub(crate) use tab::{Paper, Screen, Tab};

use std::path::{Path, PathBuf};

/// Names under which distributions have it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The Chromium of this machine's `PATH`.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let there = |name: &str| folders.iter().map(|f| f.join(name)).find(|path| is_program(path));
    NAMES.into_iter().find_map(there)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}
