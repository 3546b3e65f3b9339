//! Kernels of our own: the archive's sources, a small configuration, and what watches the kernel while it runs.
//! A distribution builds nothing with KASAN, the lock validator or branch counters, and the driver's worst
//! bugs are silent without them. Sources stay in the cache, and there only what a report shows of them.

mod config;
mod failure;
mod make;
mod tools;

use std::path::{Path, PathBuf};

pub use failure::BuildError;
pub use tools::missing as missing_tools;

use super::instrument::{Instrument, Instruments};
use super::{Kernel, KernelError};
use crate::archive::{Archive, lock_entries};
use crate::cache::Key;
use crate::fsio;
use crate::source_package::SourcePackage;

/// Raise when what an entry holds, or the way it is built, changes.
const LAYOUT: &str = "built kernel layout 1";

/// What the tree, its objects and the result take at the most.
const SPACE_BYTES: u64 = 6 << 30;

/// The driver whose branches are counted, below the kernel tree and without its ending.
const DRIVER: &str = "drivers/block/ublk_drv";

/// A kernel to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The sources.
    pub source: SourcePackage,
    /// What watches the kernel.
    pub with: Instruments,
}

/// What makes a number of the driver's counters: gcov's notes and the source they are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverNotes {
    /// `ublk_drv.gcno`, from the compiler.
    pub gcno: PathBuf,
    /// `ublk_drv.c`, as it was compiled.
    pub source: PathBuf,
}

impl Recipe {
    /// The release its `uname -r` will print, as far as the package's version tells.
    #[must_use]
    pub fn release(&self) -> String {
        let upstream = crate::archive::version::upstream(&self.source.record.version);
        format!("{upstream}{}", self.with.local_version())
    }
}

/// The kernel, built first if the cache does not have it: minutes, with progress.
pub(super) fn fetch(archive: &Archive, recipe: &Recipe) -> Result<Kernel, KernelError> {
    let fragment = config::fragment(&recipe.with);
    let lock = lock_entries(&recipe.source.family, std::slice::from_ref(&recipe.source.record));
    let mut key = Key::new([LAYOUT, &fragment, &tools::compiler()?]);
    lock.iter().for_each(|l| key.push(format!("{} {} {}", l.name, l.version, l.sha256)));
    let entry = archive.cache().get_or_build("built-kernel", &key, &["vmlinuz"], |tmp| {
        let toolbox = tools::provide(archive)?;
        archive.cache().require_space(SPACE_BYTES)?;
        let work = tmp.join("work");
        make::Build { archive, recipe, fragment: &fragment, toolbox: &toolbox, work: &work }
            .run()
            .and_then(|tree| lay_out(recipe, &tree, tmp))?;
        Ok::<_, KernelError>(fsio::remove_tree(&work)?)
    })?;
    let notes = DriverNotes { gcno: entry.path("driver.gcno"), source: entry.path("driver.c") };
    Ok(Kernel {
        release: fsio::read_text(&entry.path("release"))?.trim().to_owned(),
        vmlinuz: entry.path("vmlinuz"),
        vmlinuz_sha256: entry.sha256("vmlinuz").unwrap_or_default().to_owned(),
        modules_dir: Some(entry.path("modules")),
        config: Some(entry.path("config")),
        config_sha256: entry.sha256("config").map(str::to_owned),
        identity: key.hash(),
        driver_notes: recipe.with.has(Instrument::Gcov).then_some(notes),
        lock,
    })
}

/// The notes in a build tree of the user's own, where its driver was built to count. `source` is the link to the
/// sources of a tree that was built apart from them.
pub(super) fn notes_of_tree(tree: &Path) -> Option<DriverNotes> {
    let gcno = tree.join(format!("{DRIVER}.gcno"));
    let sources = [tree.to_owned(), tree.join("source")].map(|dir| dir.join(format!("{DRIVER}.c")));
    let source = sources.into_iter().find(|path| path.is_file())?;
    gcno.is_file().then_some(DriverNotes { gcno, source })
}

/// Moves what is kept out of the built tree.
fn lay_out(recipe: &Recipe, tree: &Path, to: &Path) -> Result<(), KernelError> {
    let release = fsio::read_text(&tree.join("include/config/kernel.release"))?.trim().to_owned();
    fsio::write(&to.join("release"), release.as_bytes())?;
    fsio::rename(&tree.join("arch/x86/boot/bzImage"), &to.join("vmlinuz"))?;
    fsio::rename(&tree.join(".config"), &to.join("config"))?;
    fsio::rename(&make::installed(tree, &release), &to.join("modules"))?;
    if recipe.with.has(Instrument::Gcov) {
        fsio::rename(&tree.join(format!("{DRIVER}.gcno")), &to.join("driver.gcno"))?;
        fsio::rename(&tree.join(format!("{DRIVER}.c")), &to.join("driver.c"))?;
    }
    Ok(())
}
