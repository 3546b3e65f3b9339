//! The distribution's package archive as a source of kernels and programs. It is signed, mirrored
//! near every machine, and keeps several kernels of many series; what it lacks is a way to use it
//! without root and without touching the machine's own lists. This module is that way.

mod apt;
mod download;
mod error;
mod families;
mod record;
mod sources;
mod spec;
pub mod version;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apt::Apt;
pub use download::lock_entries;
pub use error::ArchiveError;
pub use families::{Distribution, Family};
pub use record::{Deb, LockEntry, Record};
pub use sources::{Source, parse_deb822, parse_one_line};
pub use spec::ArchiveSpec;

use crate::arch::Arch;
use crate::cache::{Cache, Key};
use crate::fsio;

/// Lists older than this are fetched again before use.
const LISTS_MAX_AGE: Duration = Duration::from_secs(6 * 3600);

/// Lists older than this are fetched again when something is not found in them.
const LISTS_MAX_AGE_ON_MISS: Duration = Duration::from_secs(10 * 60);

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
}
