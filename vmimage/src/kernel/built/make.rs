//! The build itself: unpack, configure, compile, install the modules. Each step has a limit, and all of them
//! together less than another process waits for the lock of the entry.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failure::BuildError;
use super::tools::Toolbox;
use super::{DRIVER, Recipe, config};
use crate::archive::Archive;
use crate::command::CommandError;
use crate::fsio;
use crate::kernel::KernelError;
use crate::kernel::instrument::Instrument;
use crate::process_group;

/// Unpacking takes 20 s on an idle core.
const UNPACK_LIMIT: Duration = Duration::from_secs(300);
/// Configuring takes 5 s.
const CONFIGURE_LIMIT: Duration = Duration::from_secs(120);
/// Compiling takes up to 22 minutes of CPU, half of that on two idle cores; more with others at work on them.
const COMPILE_LIMIT: Duration = Duration::from_secs(50 * 60);
/// Copying the modules takes a second.
const INSTALL_LIMIT: Duration = Duration::from_secs(120);

/// Bytes of a log that are searched for the reason.
const LOG_BYTES_MAX: usize = 4 << 20;

/// One build.
pub(super) struct Build<'a> {
    pub(super) archive: &'a Archive,
    pub(super) recipe: &'a Recipe,
    pub(super) fragment: &'a str,
    pub(super) toolbox: &'a Toolbox,
    /// An empty folder on a disk with room.
    pub(super) work: &'a Path,
}

/// Where the modules of a built tree are.
pub(super) fn installed(tree: &Path, release: &str) -> PathBuf {
    tree.join("installed/lib/modules").join(release)
}

impl Build<'_> {
    /// Builds everything; returns the tree.
    pub(super) fn run(&self) -> Result<PathBuf, KernelError> {
        let tree = self.unpack()?;
        self.configure(&tree)?;
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut compile = self.make(&tree);
        compile.arg(format!("-j{jobs}")).args(["bzImage", "modules"]);
        self.step("compiling the kernel", COMPILE_LIMIT, &mut compile)?;
        let mut install = self.make(&tree);
        // There are no symbols worth a depmod: the image is made from each module's own list.
        install.args(["modules_install", "INSTALL_MOD_PATH=installed", "DEPMOD=true"]);
        self.step("installing the modules", INSTALL_LIMIT, &mut install)?;
        self.without_links(&tree)?;
        Ok(tree)
    }

    fn unpack(&self) -> Result<PathBuf, KernelError> {
        let source = &self.recipe.source;
        let records = std::slice::from_ref(&source.record);
        let root = self.archive.unpack(&source.family, records, self.work)?;
        let tree = source.tree();
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(root.join("usr/src").join(format!("{tree}.tar.xz")));
        tar.arg("-C").arg(self.work).env("LC_ALL", "C.UTF-8");
        self.step("unpacking the sources", UNPACK_LIMIT, &mut tar)?;
        fsio::remove_tree(&root)?;
        Ok(self.work.join(tree))
    }

    fn configure(&self, tree: &Path) -> Result<(), KernelError> {
        let asked = self.work.join("fragment");
        fsio::write(&asked, config::plain(self.fragment).as_bytes())?;
        let mut make = self.make(tree);
        make.arg("allnoconfig").env("KCONFIG_ALLCONFIG", &asked);
        self.step("configuring the kernel", CONFIGURE_LIMIT, &mut make)?;
        let made = fsio::read_text(&tree.join(".config"))?;
        let options = config::unmet(self.fragment, &made, &self.recipe.source.series);
        if options.is_empty() {
            return Ok(());
        }
        Err(BuildError::Config { tree: self.recipe.source.tree(), options }.into())
    }

    fn make(&self, tree: &Path) -> Command {
        let mut make = self.toolbox.make(tree);
        // Equal inputs, equal kernels.
        make.args(["KBUILD_BUILD_USER=ublk", "KBUILD_BUILD_HOST=ublk"]);
        make.arg("KBUILD_BUILD_TIMESTAMP=1970-01-01");
        let driver = DRIVER.rsplit('/').next().unwrap_or(DRIVER);
        if self.recipe.with.has(Instrument::Gcov) {
            make.arg(format!("GCOV_PROFILE_{driver}.o=y"));
        }
        if self.recipe.with.has(Instrument::Kcov) {
            make.arg(format!("KCOV_INSTRUMENT_{driver}.o=y"));
        }
        make
    }

    /// Runs one step with its progress; its output is kept beside the tree, and after a failure in the cache.
    fn step(
        &self,
        step: &'static str,
        limit: Duration,
        command: &mut Command,
    ) -> Result<(), KernelError> {
        let progress = self.archive.cache().progress();
        progress.stage(&format!("kernel {}", self.recipe.release()), step);
        let log = self.work.join("log");
        let mut watch = Watch::of(&log);
        let status = process_group::run(command, &log, limit, || {
            if let Some(last) = watch.advance() {
                progress.steps(watch.lines, &last);
            }
        });
        let status = match status {
            Ok(status) => status,
            Err(error @ CommandError::TimedOut { .. }) => {
                self.keep(&log)?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        if status.success() {
            return Ok(());
        }
        let reason = reason(&fsio::read_text(&log)?);
        let reason = reason.unwrap_or_else(|| format!("it ended with {status}"));
        Err(BuildError::Failed { step, reason, log: self.keep(&log)? }.into())
    }

    fn keep(&self, log: &Path) -> Result<PathBuf, KernelError> {
        let kept = self.archive.cache().root().join("kernel-build-failed.log");
        fsio::rename(log, &kept)?;
        Ok(kept)
    }

    /// The links to the tree, which is about to be removed.
    fn without_links(&self, tree: &Path) -> Result<(), KernelError> {
        let release = fsio::read_text(&tree.join("include/config/kernel.release"))?;
        for name in ["build", "source"] {
            // Which of them there is depends on the series.
            let _ = std::fs::remove_file(installed(tree, release.trim()).join(name));
        }
        Ok(())
    }
}

/// Follows a growing log.
struct Watch {
    reader: Option<BufReader<File>>,
    log: PathBuf,
    lines: u64,
}

impl Watch {
    fn of(log: &Path) -> Self {
        Self { reader: None, log: log.to_owned(), lines: 0 }
    }

    /// The last whole line since the last time.
    fn advance(&mut self) -> Option<String> {
        if self.reader.is_none() {
            self.reader = File::open(&self.log).ok().map(BufReader::new);
        }
        let reader = self.reader.as_mut()?;
        let mut last = None;
        let mut line = String::new();
        while matches!(reader.read_line(&mut line), Ok(1..)) {
            self.lines += 1;
            last = Some(line.split_whitespace().collect::<Vec<_>>().join(" "));
            line.clear();
        }
        last
    }
}

/// The compiler's or the linker's first error, else the last line that make itself says.
fn reason(log: &str) -> Option<String> {
    let start = log.len().saturating_sub(LOG_BYTES_MAX);
    let log = log.get(start..).unwrap_or(log);
    let lines = || log.lines().map(str::trim);
    let of_a_tool = |line: &&str| {
        [" error: ", ": undefined reference", "not found", "No space left"]
            .iter()
            .any(|mark| line.contains(mark))
    };
    let found = lines().find(of_a_tool).or_else(|| lines().rfind(|line| line.contains("***")));
    found.or_else(|| lines().rfind(|line| !line.is_empty())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_tools_own() {
        let log =
            "  CC a.o\na.c:1:2: error: no\nmake[2]: *** [a.o] Error 1\nmake: *** [all] Error 2\n";
        assert_eq!(reason(log).as_deref(), Some("a.c:1:2: error: no"));
        let log = "  LEX x\n/bin/sh: 1: flex: not found\nmake: *** [x] Error 127\n";
        assert_eq!(reason(log).as_deref(), Some("/bin/sh: 1: flex: not found"));
        assert_eq!(reason("make: *** [all] Error 2\n").as_deref(), Some("make: *** [all] Error 2"));
        assert_eq!(reason(""), None);
    }

    #[test]
    fn a_log_is_followed_line_by_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watch = Watch::of(file.path());
        assert_eq!(watch.advance(), None);
        std::fs::write(file.path(), "  CC   a.o\n  CC   b.o\n").unwrap();
        assert_eq!((watch.advance().as_deref(), watch.lines), (Some("CC b.o"), 2));
        assert_eq!(watch.advance(), None);
    }
}
