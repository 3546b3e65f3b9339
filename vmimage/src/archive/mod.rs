//! The distribution's package archive as a source of kernels and programs. It is signed, mirrored
//! near every machine, and keeps several kernels of many series; what it lacks is a way to use it
//! without root and without touching the machine's own lists. This module is that way.

mod apt;
mod families;
mod record;
mod sources;
mod spec;
pub mod version;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apt::Apt;
pub use families::{Distribution, Family};
pub use record::{Deb, LockEntry, Record};
pub use sources::{Source, parse_deb822, parse_one_line};
pub use spec::ArchiveSpec;

use crate::arch::Arch;
use crate::cache::{Cache, CacheError, Key};
use crate::command::{self, CommandError};
use crate::fsio::{self, At, IoError};

/// Lists older than this are fetched again before use.
const LISTS_MAX_AGE: Duration = Duration::from_secs(6 * 3600);

/// Lists older than this are fetched again when something is not found in them.
const LISTS_MAX_AGE_ON_MISS: Duration = Duration::from_secs(10 * 60);

/// How to go on without an archive, said wherever there is none.
const BRING_YOUR_OWN: &str = "bring your own with --qemu, --kernel BZIMAGE --modules DIR and --fio";

/// Why the archive could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A tool of apt or dpkg is not on `PATH`.
    #[error("`{tool}` is not on PATH, so nothing can be downloaded: {BRING_YOUR_OWN}")]
    NoApt {
        /// The missing tool.
        tool: String,
    },
    /// The machine is no Debian or Ubuntu, or its apt has no source of it.
    #[error(
        "apt on this machine has no source for {release}: name an archive with --archive URI --suite S --keyring FILE, or {BRING_YOUR_OWN}"
    )]
    NoSource {
        /// The release that was looked for.
        release: String,
    },
    /// `--archive` without `--suite`, or the reverse.
    #[error("an archive named by hand needs both --archive URI and --suite S (and --keyring FILE)")]
    HalfSpec,
    /// The keyring named by hand is not there.
    #[error("the archive keyring {} does not exist: give --keyring an existing file", path.display())]
    NoKeyring {
        /// The path given.
        path: PathBuf,
    },
    /// There are no lists and none could be fetched.
    #[error(
        "no package lists could be fetched ({reason}): check the network and apt's proxy settings, or {BRING_YOUR_OWN}"
    )]
    NoLists {
        /// What apt said.
        reason: String,
    },
    /// apt could not answer a question about the index.
    #[error("apt cannot resolve {what} in {family}: {reason}")]
    Query {
        /// What was asked.
        what: String,
        /// The family it was asked in.
        family: String,
        /// What apt said.
        reason: String,
    },
    /// A package could not be downloaded.
    #[error("cannot download {what} from {family}: {reason}: run again when the network is back")]
    Download {
        /// The package, or the first of several.
        what: String,
        /// The family it was to come from.
        family: String,
        /// What apt said.
        reason: String,
    },
    /// The index names a package file that the archive no longer has.
    #[error(
        "{family} lists {what} but no longer has its file ({reason}): run again to use fresh lists, or name another version"
    )]
    Gone {
        /// The package, or the first of several.
        what: String,
        /// The family that lists it.
        family: String,
        /// What apt said.
        reason: String,
    },
    /// A downloaded file is not the one the index names.
    #[error("{package} has SHA-256 {found} where the signed index says {expected}: run again")]
    WrongHash {
        /// The package's name.
        package: String,
        /// The file's hash.
        found: String,
        /// The index's hash.
        expected: String,
    },
    /// A package file could not be unpacked.
    #[error("cannot unpack {}: {reason}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// What dpkg-deb said.
        reason: String,
    },
    /// apt's configuration syntax cannot hold the cache's path.
    #[error("apt cannot work in {} (a space or quote in its path): name another cache directory", path.display())]
    BadCachePath {
        /// The path.
        path: PathBuf,
    },
    /// A family that is not there was named; a bug of the caller.
    #[error("bug: there is no package family `{name}`")]
    NoFamily {
        /// The name given.
        name: String,
    },
    /// A child process gave no answer.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The cache could not serve.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A package archive. Opening one costs nothing; lists are fetched when something is first asked.
pub struct Archive {
    cache: Cache,
    spec: ArchiveSpec,
    arch: Arch,
    state: OnceLock<State>,
}

struct State {
    dir: PathBuf,
    all: Apt,
    families: Vec<(Family, Apt)>,
}

impl State {
    fn stamp(&self) -> PathBuf {
        self.dir.join("fetched-at-unix-s")
    }

    fn answers(&self) -> PathBuf {
        self.dir.join("answers")
    }

    fn age(&self) -> Option<Duration> {
        let fetched_s: u64 = fs::read_to_string(self.stamp()).ok()?.trim().parse().ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        // A stamp from the future (a clock set back) counts as old.
        now.checked_sub(Duration::from_secs(fetched_s))
    }
}

impl Archive {
    /// An archive's packages for one architecture. Lists and answers are kept in `cache`.
    pub fn open(cache: &Cache, spec: ArchiveSpec, arch: Arch) -> Archive {
        Archive { cache: cache.clone(), spec, arch, state: OnceLock::new() }
    }

    /// The same archive's packages for another architecture.
    pub fn of_arch(&self, arch: Arch) -> Archive {
        Archive::open(&self.cache, self.spec.clone(), arch)
    }

    /// The architecture its packages are for.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The cache it was opened with.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The names of the families that can be served, the machine's own release first, newer ones
    /// after it. Fetches the lists if they are missing or old.
    pub fn families(&self) -> Result<Vec<String>, ArchiveError> {
        Ok(self.state()?.families.iter().map(|(f, _)| f.name.clone()).collect())
    }

    /// Fetches the lists again, whatever their age. A failure is an error even with old lists there.
    pub fn refresh(&mut self) -> Result<(), ArchiveError> {
        self.state = OnceLock::new();
        let state = self.prepare()?;
        self.update(&state)
    }

    /// After something was not found: fetches the lists again unless they are minutes old, and says
    /// whether it is worth asking again.
    pub fn refresh_after_miss(&self) -> Result<bool, ArchiveError> {
        let state = self.state()?;
        if state.age().is_some_and(|age| age < LISTS_MAX_AGE_ON_MISS) {
            return Ok(false);
        }
        Ok(self.update(state).is_ok())
    }

    fn state(&self) -> Result<&State, ArchiveError> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let mut state = self.prepare()?;
        if state.age().is_none_or(|age| age > LISTS_MAX_AGE) {
            let lock = format!("apt-{}", state.dir.file_name().unwrap_or_default().display());
            self.cache.locked(&lock, || {
                // Another process may have fetched them while we waited.
                if state.age().is_some_and(|age| age <= LISTS_MAX_AGE) {
                    return Ok(());
                }
                self.update_or_go_on(&state)
            })?;
        }
        self.drop_absent_families(&mut state)?;
        Ok(self.state.get_or_init(|| state))
    }

    fn prepare(&self) -> Result<State, ArchiveError> {
        apt::require_tools()?;
        let families = self.wanted_families()?;
        let mut all: Vec<Source> = families.iter().flat_map(|f| f.sources.clone()).collect();
        // experimental is seen together with sid, and apt warns about a source it knows already.
        let mut seen = BTreeSet::new();
        for source in &mut all {
            source.suites.retain(|suite| seen.insert((source.uris.clone(), suite.clone())));
        }
        all.retain(|source| !source.suites.is_empty());
        let key = Key::new(all.iter().map(|s| s.stanza(self.arch.facts().debian)));
        let dir = self.cache.root().join("apt").join(&key.hash()[..12]);
        let lists = dir.join("lists");
        let families = families
            .into_iter()
            .map(|family| {
                let own = dir.join("family").join(&family.name);
                let apt = Apt::write(&own, &lists, &family.sources, self.arch)?;
                Ok((family, apt))
            })
            .collect::<Result<Vec<_>, ArchiveError>>()?;
        let all = Apt::write(&dir.join("all"), &lists, &all, self.arch)?;
        fsio::create_dir_all(&dir.join("answers"))?;
        Ok(State { dir, all, families })
    }

    fn wanted_families(&self) -> Result<Vec<Family>, ArchiveError> {
        if let Some(path) = self.spec.keyring.as_ref().filter(|path| !path.is_file()) {
            return Err(ArchiveError::NoKeyring { path: path.clone() });
        }
        match (&self.spec.uri, &self.spec.suite) {
            (Some(uri), Some(suite)) => return Ok(families::of_spec(&self.spec, uri, suite)),
            (None, None) => {}
            _ => return Err(ArchiveError::HalfSpec),
        }
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let distribution = Distribution::parse(&os_release)
            .ok_or_else(|| ArchiveError::NoSource { release: "Debian or Ubuntu".into() })?;
        let configured = apt::configured_sources()?;
        families::of_machine(&distribution, &configured)
            .ok_or(ArchiveError::NoSource { release: distribution.codename })
    }

    fn update(&self, state: &State) -> Result<(), ArchiveError> {
        self.cache.progress().stage("lists", "fetching the archive's package lists");
        self.cache.require_space(400 << 20)?;
        let done = state.all.run("apt-get", &["-q", "update"], apt::UPDATE_LIMIT)?;
        // A suite that an archive does not have (404) is normal: not every release has backports.
        let broken = done
            .stderr
            .lines()
            .find(|l| l.contains("Failed to fetch") && !l.contains("404"))
            .or_else(|| {
                done.stderr.lines().find(|l| l.contains("signatures couldn't be verified"))
            });
        if let Some(line) = broken {
            return Err(ArchiveError::NoLists { reason: line.trim().to_owned() });
        }
        if self.suites_present(state)?.is_empty() {
            return Err(ArchiveError::NoLists { reason: apt::reason(&done) });
        }
        fsio::remove_tree(&state.answers())?;
        fsio::create_dir_all(&state.answers())?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        fsio::write_atomically(&state.stamp(), now_s.to_string().as_bytes())?;
        Ok(())
    }

    /// Old lists are better than none: a train has no network and the kernels are cached.
    fn update_or_go_on(&self, state: &State) -> Result<(), ArchiveError> {
        let Err(error) = self.update(state) else { return Ok(()) };
        if self.suites_present(state)?.is_empty() {
            return Err(error);
        }
        let age = state.age().map_or_else(
            || "incomplete".to_owned(),
            |age| format!("{} h old", age.as_secs() / 3600),
        );
        let reason = match &error {
            ArchiveError::NoLists { reason } => reason.clone(),
            other => other.to_string(),
        };
        let text =
            format!("using package lists that are {age}, no newer could be fetched: {reason}");
        self.cache.progress().note(&text);
        Ok(())
    }

    /// The suites whose lists are there, as apt sees it now.
    fn suites_present(&self, state: &State) -> Result<BTreeSet<String>, ArchiveError> {
        let args = ["indextargets", "--format", "$(RELEASE)", "Created-By: Packages"];
        let done = state.all.run("apt-get", &args, apt::QUERY_LIMIT)?;
        let lines = done.stdout.lines().map(str::trim);
        Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// The same, kept until the lists are next fetched.
    fn suites_known(&self, state: &State) -> Result<BTreeSet<String>, ArchiveError> {
        let kept = state.answers().join("suites");
        if let Ok(text) = fs::read_to_string(&kept) {
            return Ok(text.lines().map(str::to_owned).collect());
        }
        let suites = self.suites_present(state)?;
        let text: String = suites.iter().map(|s| format!("{s}\n")).collect();
        fsio::write_atomically(&kept, text.as_bytes())?;
        Ok(suites)
    }

    fn drop_absent_families(&self, state: &mut State) -> Result<(), ArchiveError> {
        let present = self.suites_known(state)?;
        let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut state.families)
            .into_iter()
            .partition(|(family, _)| present.contains(family.base_suite()));
        for (family, _) in dropped {
            self.cache.progress().note(&format!("the archive does not have {}", family.name));
        }
        state.families = kept;
        Ok(())
    }

    fn family(&self, name: &str) -> Result<(&State, &Apt), ArchiveError> {
        let state = self.state()?;
        let found = state.families.iter().find(|(family, _)| family.name == name);
        let (_, apt) = found.ok_or_else(|| ArchiveError::NoFamily { name: name.to_owned() })?;
        Ok((state, apt))
    }

    /// Standard output of a query, kept until the lists are next fetched: each costs a second.
    fn answer(&self, family: &str, program: &str, args: &[&str]) -> Result<String, ArchiveError> {
        let (state, apt) = self.family(family)?;
        let stamp = fs::read_to_string(state.stamp()).unwrap_or_default();
        let mut key = Key::new([stamp.as_str(), family, program]);
        args.iter().for_each(|arg| key.push(*arg));
        let kept = state.answers().join(key.hash());
        if let Ok(text) = fs::read_to_string(&kept) {
            return Ok(text);
        }
        let done = apt.run(program, args, apt::QUERY_LIMIT)?;
        let nothing_found = program == "apt-cache" && done.stderr.contains("No packages found");
        if !done.status.success() && !nothing_found {
            let what = args.last().copied().unwrap_or(program).to_owned();
            let (family, reason) = (family.to_owned(), apt::reason(&done));
            return Err(ArchiveError::Query { what, family, reason });
        }
        fsio::write_atomically(&kept, done.stdout.as_bytes())?;
        Ok(done.stdout)
    }

    /// Records of all versions of the packages whose name matches `regex` (POSIX extended).
    pub fn candidates(&self, family: &str, regex: &str) -> Result<Vec<Record>, ArchiveError> {
        let found = self.answer(family, "apt-cache", &["search", "--names-only", regex])?;
        let names: Vec<&str> = found.lines().filter_map(|l| l.split_whitespace().next()).collect();
        self.records(family, &names)
    }

    /// Records of all versions of the packages with these names; unknown names are left out.
    pub fn records(&self, family: &str, names: &[&str]) -> Result<Vec<Record>, ArchiveError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let args: Vec<&str> = ["show"].into_iter().chain(names.iter().copied()).collect();
        Ok(record::parse_records(&self.answer(family, "apt-cache", &args)?))
    }

    /// The versions of one package in each family, as (version, family, suite), families in order,
    /// apt's preferred version first within each.
    pub fn madison(&self, package: &str) -> Result<Vec<(String, String, String)>, ArchiveError> {
        let mut found = Vec::new();
        for family in self.families()? {
            let text = self.answer(&family, "apt-cache", &["madison", package])?;
            for line in text.lines() {
                let mut fields = line.split('|').map(str::trim);
                let (Some(name), Some(version), Some(from)) =
                    (fields.next(), fields.next(), fields.next())
                else {
                    continue;
                };
                let suite = from.split_whitespace().nth(1).and_then(|s| s.split('/').next());
                if let (true, Some(suite)) = (name == package, suite) {
                    found.push((version.to_owned(), family.clone(), suite.to_owned()));
                }
            }
        }
        Ok(found)
    }

    /// Everything that must be unpacked for `packages` to run, themselves included, resolved in one
    /// family from an empty system, without recommendations. `target_release` prefers one suite of
    /// the family (`trixie-backports`).
    pub fn closure(
        &self,
        family: &str,
        packages: &[&str],
        target_release: Option<&str>,
    ) -> Result<Vec<Record>, ArchiveError> {
        let mut args = vec!["install", "--print-uris", "-qq", "-y", "--no-install-recommends"];
        if let Some(target) = target_release {
            args.extend(["-t", target]);
        }
        args.extend(packages);
        let text = self.answer(family, "apt-get", &args)?;
        let wanted: Vec<(String, String)> = text
            .lines()
            .filter_map(|line| record::parse_file_name(line.split_whitespace().nth(1)?))
            .collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let mut records = self.records(family, &names)?;
        let mut seen = BTreeSet::new();
        records.retain(|r| {
            let id = (r.name.clone(), r.version.clone());
            wanted.contains(&id) && seen.insert(id)
        });
        if records.len() != wanted.len() || records.is_empty() {
            return Err(ArchiveError::Query {
                what: packages.join(" "),
                family: family.to_owned(),
                reason: format!("{} of {} packages have a record", records.len(), wanted.len()),
            });
        }
        Ok(records)
    }

    /// Downloads package files into `dest` and checks each against the signed index.
    pub fn download(
        &self,
        family: &str,
        records: &[Record],
        dest: &Path,
    ) -> Result<Vec<Deb>, ArchiveError> {
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        let (state, apt) = self.family(family)?;
        fsio::create_dir_all(dest)?;
        let total_bytes: u64 = records.iter().map(|r| r.size_bytes).sum();
        self.cache.require_space(total_bytes)?;
        let detail = match records.len() {
            1 => format!("{} {}", first.name, first.version),
            n => format!("{} and {} more packages", first.name, n - 1),
        };
        self.cache.progress().stage("download", &detail);
        let mut command = apt.command("apt-get", &["download", "-q"]);
        command.current_dir(dest);
        command.args(records.iter().map(|r| format!("{}={}", r.name, r.version)));
        let done = command::run_watched(&mut command, apt::DOWNLOAD_LIMIT, || {
            self.cache.progress().bytes(size_of_dir(dest), Some(total_bytes));
        })?;
        if !done.status.success() {
            self.cache.require_space(1 << 20)?;
            let (what, family, reason) = (detail, family.to_owned(), apt::reason(&done));
            if done.stderr.contains("404") {
                // The next run fetches fresh lists.
                let _ = fs::remove_file(state.stamp());
                return Err(ArchiveError::Gone { what, family, reason });
            }
            return Err(ArchiveError::Download { what, family, reason });
        }
        self.cache.progress().bytes(total_bytes, Some(total_bytes));
        verified_debs(records, family, dest)
    }

    /// Downloads packages below `dir` and unpacks them into `dir/root`, running nothing of them.
    /// Returns the root.
    pub fn unpack(
        &self,
        family: &str,
        records: &[Record],
        dir: &Path,
    ) -> Result<PathBuf, ArchiveError> {
        let unpacked_bytes: u64 = records.iter().map(|r| r.installed_bytes + r.size_bytes).sum();
        self.cache.require_space(unpacked_bytes)?;
        let root = dir.join("root");
        fsio::create_dir_all(&root)?;
        let debs = self.download(family, records, &dir.join("debs"))?;
        for deb in &debs {
            apt::unpack(&deb.path, &root)?;
        }
        fsio::remove_tree(&dir.join("debs"))?;
        Ok(root)
    }
}

/// The lock lines of packages that were used from one family.
pub fn lock_entries(family: &str, records: &[Record]) -> Vec<LockEntry> {
    let mut lock: Vec<LockEntry> = records
        .iter()
        .map(|r| LockEntry {
            name: r.name.clone(),
            version: r.version.clone(),
            sha256: r.sha256.clone(),
            origin: family.to_owned(),
        })
        .collect();
    lock.sort();
    lock
}

fn verified_debs(records: &[Record], family: &str, dest: &Path) -> Result<Vec<Deb>, ArchiveError> {
    let mut files = Vec::new();
    for found in fs::read_dir(dest).at("list", dest)?.flatten() {
        if let Some(id) = record::parse_file_name(&found.file_name().to_string_lossy()) {
            files.push((id, found.path()));
        }
    }
    records
        .iter()
        .map(|r| {
            let id = (r.name.clone(), r.version.clone());
            let path = files.iter().find(|(found, _)| *found == id).map(|(_, path)| path.clone());
            let path = path.ok_or_else(|| ArchiveError::Download {
                what: r.name.clone(),
                family: family.to_owned(),
                reason: "apt left no file".into(),
            })?;
            let found = fsio::sha256_file(&path)?;
            if found != r.sha256 {
                let expected = r.sha256.clone();
                return Err(ArchiveError::WrongHash { package: r.name.clone(), found, expected });
            }
            Ok(Deb { name: r.name.clone(), version: r.version.clone(), sha256: found, path })
        })
        .collect()
}

fn size_of_dir(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
}
