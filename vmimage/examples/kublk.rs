//! Fetches and builds the kernel's selftest server as `cargo xtask kselftest` does, and prints where it
//! is: for people who want to run or measure it by hand.
//!
//! `cargo run -p vmimage --example kublk -- CACHE_DIR [SERIES]`

use std::path::PathBuf;
use std::sync::Arc;

use vmimage::arch::Arch;
use vmimage::archive::{Archive, ArchiveSpec};
use vmimage::cache::Cache;
use vmimage::progress::Recorded;
use vmimage::selftests;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let root: PathBuf = args.next().ok_or("usage: kublk CACHE_DIR [SERIES]")?.into();
    let cache = Cache::open(root, Arc::new(Recorded::default()))?;
    let archive = Archive::open(&cache, ArchiveSpec::from_env(), Arch::X86_64);
    let found = selftests::kublk(&archive, args.next().as_deref())?;
    println!("kublk of {}: {}", found.series, found.kublk.display());
    println!("metadata_size: {}", found.metadata_size.display());
    println!("{} scripts in {}", found.tests.len(), found.scripts.display());
    for lock in &found.lock {
        println!("  {} {} {} {}", lock.name, lock.version, &lock.sha256[..16], lock.origin);
    }
    Ok(())
}
