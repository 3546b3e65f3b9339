//! Planted as `ublk/src/mutant.rs` by `cargo xtask mutants`, and part of no other build: the one switch of all mutants.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether this process has that bug: the environment's `UBLK_MUTANT` names it.
pub fn is(name: &str) -> bool {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("UBLK_MUTANT").ok()).as_deref() == Some(name)
}

/// Whether this is one of every `n` times that a process with that bug asks. One bug is chosen at a time, so one
/// count is enough.
pub fn every(name: &str, n: u64) -> bool {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    is(name) && ASKED.fetch_add(1, Ordering::Relaxed) % n == n - 1
}
