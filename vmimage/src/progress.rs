//! A download or a build can take minutes and must not look like a hang, yet a library that prints
//! cannot be used under a progress bar or in a test. So the caller hands in this trait.

use std::sync::Mutex;

/// Receives what a long operation is doing. Called from the thread that does the work.
pub trait Progress: Send + Sync {
    /// A new step begins: a short verb phrase (`download`) and what it is about (`linux-image-…`).
    fn stage(&self, name: &str, detail: &str);

    /// `done_bytes` of `total_bytes` of the current stage; the total is `None` where it is unknown.
    fn bytes(&self, done_bytes: u64, total_bytes: Option<u64>);

    /// `done` steps of the current stage, of which nobody knows the number; the last was `what`. Called often.
    fn steps(&self, done: u64, what: &str) {
        let _ = (done, what);
    }

    /// Something the user should see although it is not an error: stale lists, a rebuilt entry.
    fn note(&self, text: &str);
}

/// Drops everything, for callers that want silence.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _name: &str, _detail: &str) {}
    fn bytes(&self, _done_bytes: u64, _total_bytes: Option<u64>) {}
    fn note(&self, _text: &str) {}
}

/// Keeps stages and notes as lines, so that a test or a log can read what happened.
#[derive(Debug, Default)]
pub struct Recorded {
    lines: Mutex<Vec<String>>,
}

impl Recorded {
    /// The lines so far, oldest first, each starting with `stage ` or `note `.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }

    fn push(&self, line: String) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(line);
        }
    }
}

impl Progress for Recorded {
    fn stage(&self, name: &str, detail: &str) {
        self.push(format!("stage {name}: {detail}"));
    }

    fn bytes(&self, _done_bytes: u64, _total_bytes: Option<u64>) {}

    fn note(&self, text: &str) {
        self.push(format!("note {text}"));
    }
}
