//! apt with a private state directory. The machine's own configuration is read first, so that proxies
//! and credentials keep working; then everything that would touch the machine is pointed into the
//! cache: lists, status, archives, logs, hooks. The dpkg status is empty, so a resolution starts from
//! nothing and does not depend on what the machine has installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::sources::{self, Source};
use super::{ArchiveError, families};
use crate::arch::Arch;
use crate::command::{self, CommandError, Finished};
use crate::fsio::{self, At, IoError};

/// For one query of an index; the slowest takes two seconds on a loaded machine.
pub(super) const QUERY_LIMIT: Duration = Duration::from_secs(120);

/// For fetching all lists, about 40 MB.
pub(super) const UPDATE_LIMIT: Duration = Duration::from_secs(600);

/// For fetching one set of packages, up to 100 MB.
pub(super) const DOWNLOAD_LIMIT: Duration = Duration::from_secs(1200);

/// The programs of apt and dpkg that are called.
const TOOLS: [&str; 4] = ["apt-get", "apt-cache", "apt-config", "dpkg-deb"];

/// Fails unless every tool is on `PATH`.
pub(super) fn require_tools() -> Result<(), ArchiveError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    match TOOLS.iter().find(|tool| !found(tool)) {
        Some(tool) => Err(ArchiveError::NoApt { tool: (*tool).to_owned() }),
        None => Ok(()),
    }
}

/// A configuration file of apt that sees a given set of sources.
#[derive(Debug, Clone)]
pub(super) struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Writes the configuration into `dir`, with lists shared in `lists`: apt names list files by
    /// their URI, so several configurations can each see their part of one directory.
    pub(super) fn write(
        dir: &Path,
        lists: &Path,
        sources: &[Source],
        arch: Arch,
    ) -> Result<Apt, ArchiveError> {
        let architecture = arch.facts().debian;
        for part in ["sources", "cache/archives/partial", "log"] {
            fsio::create_dir_all(&dir.join(part))?;
        }
        fsio::create_dir_all(&lists.join("partial"))?;
        let stanzas: String = sources.iter().map(|s| s.stanza(architecture)).collect();
        fsio::write_atomically(&dir.join("sources/archive.sources"), stanzas.as_bytes())?;
        let config = dir.join("apt.conf");
        if config.to_string_lossy().contains(['"', '\n', ' ']) {
            return Err(ArchiveError::BadCachePath { path: dir.to_owned() });
        }
        fsio::write_atomically(&config, config_text(dir, lists, architecture).as_bytes())?;
        Ok(Apt { config })
    }

    /// Runs one of apt's programs to its end, or kills it.
    pub(super) fn run(
        &self,
        program: &str,
        args: &[&str],
        limit: Duration,
    ) -> Result<Finished, CommandError> {
        command::run(&mut self.command(program, args), limit)
    }

    /// The command itself, for callers that set more of it.
    pub(super) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).args(args).env("LC_ALL", "C.UTF-8");
        command
    }
}

fn config_text(dir: &Path, lists: &Path, architecture: &str) -> String {
    let (dir, lists) = (dir.display(), lists.display());
    // `#clear` comes first: the machine's hooks (APT::Update::Post-Invoke and the like) would act on
    // the machine, and its index targets would fetch translations and application metadata.
    format!(
        r##"#clear APT::Update;
#clear APT::Architectures;
#clear APT::Install;
#clear DPkg;
#clear Acquire::IndexTargets;
#clear Acquire::Languages;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
APT::Default-Release "";
APT::Get::List-Cleanup "false";
APT::Install-Recommends "false";
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  flatDescription "$(RELEASE) Packages";
  Optional "0";
}};
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::PDiffs "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Debug::NoLocking "true";
Dir::State "{dir}";
Dir::State::lists "{lists}";
Dir::State::status "/dev/null";
Dir::State::extended_states "{dir}/extended_states";
Dir::Cache "{dir}/cache";
Dir::Cache::archives "{dir}/cache/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{dir}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "{dir}/log";
"##
    )
}

/// The archive entries the machine's apt is configured with.
pub(super) fn configured_sources() -> Result<Vec<Source>, ArchiveError> {
    let mut ask = Command::new("apt-config");
    ask.args(["shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]);
    let answer = command::run(&mut ask, QUERY_LIMIT)?.stdout;
    let value = |name: &str| {
        let line = answer.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))?;
        Some(PathBuf::from(line.trim_matches('\'')))
    };
    let mut files: Vec<PathBuf> = value("LIST").filter(|p| p.is_file()).into_iter().collect();
    if let Some(parts) = value("PARTS").filter(|p| p.is_dir()) {
        files.extend(source_files(&parts)?);
    }
    let mut found = Vec::new();
    for file in files {
        let text = fsio::read_text(&file)?;
        found.extend(match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => sources::parse_deb822(&text),
            _ => sources::parse_one_line(&text),
        });
    }
    Ok(found)
}

fn source_files(dir: &Path) -> Result<Vec<PathBuf>, IoError> {
    let entries = std::fs::read_dir(dir).at("list", dir)?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|path| families::is_source_file(path) && path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// The line of apt's standard error that says most: the first `E:`, else the first `W:`.
pub(super) fn reason(finished: &Finished) -> String {
    let lines = || finished.stderr.lines().map(str::trim);
    let starting = |mark: &str| lines().find_map(|l| l.strip_prefix(mark).map(str::trim));
    starting("E:")
        .or_else(|| starting("W:"))
        .or_else(|| lines().rfind(|l| !l.is_empty()))
        .map_or_else(|| format!("it ended with {}", finished.status), str::to_owned)
}

/// Unpacks a package file below `dir` without running anything of it.
pub(super) fn unpack(deb: &Path, dir: &Path) -> Result<(), ArchiveError> {
    fsio::create_dir_all(dir)?;
    let mut command = Command::new("dpkg-deb");
    command.arg("-x").arg(deb).arg(dir).env("LC_ALL", "C.UTF-8");
    let done = command::run(&mut command, UPDATE_LIMIT)?;
    if done.status.success() {
        return Ok(());
    }
    Err(ArchiveError::Unpack { package: deb.to_owned(), reason: reason(&done) })
}
