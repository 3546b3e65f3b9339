//! The kernels of a matrix that are done, a file each: what an interruption does not take away.

use std::path::{Path, PathBuf};

use reports::plan::Expectation;
use reports::report::{ExitCode, Report, Status};
use scenarios::kernel::KernelRelease;

use super::course::{Course, Kernel};
use crate::error::Error;

/// The files of done kernels in a matrix's folder.
#[derive(Debug)]
pub(crate) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// In the folder of a matrix.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.join("parts") }
    }

    /// Whether a kernel with this report is done: somebody looked at all of it, and what broke was not the host's.
    pub(crate) fn is_done(report: &Report) -> bool {
        report.status != Status::Interrupted && report.exit_code() != ExitCode::Infrastructure
    }

    /// Keeps the report of one kernel; whoever looks for it finds a whole one or none.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn keep(&self, report: &Report) -> Result<(), Error> {
        let Some(kernel) = report.kernels.first() else { return Ok(()) };
        vmimage::fsio::create_dir_all(&self.folder).map_err(Error::infrastructure)?;
        let text = serde_json::to_string_pretty(report).map_err(Error::infrastructure)? + "\n";
        reports::write_file(&self.path(&kernel.kernel.spec), text.as_bytes())
            .map(drop)
            .map_err(Error::infrastructure)
    }

    /// The report of a kernel that is done, if it is.
    ///
    /// # Errors
    /// When it cannot be read, or is of another run than `course`.
    pub(crate) fn find(&self, course: &Course, kernel: &Kernel) -> Result<Option<Report>, Error> {
        let path = self.path(&kernel.spec);
        if !path.exists() {
            return Ok(None);
        }
        let refused = |why: &dyn std::fmt::Display| {
            Error::usage(format!(
                "cannot keep {}: {why}; remove it or name another --output",
                path.display()
            ))
        };
        let report = reports::load(&path).map_err(|error| refused(&error))?;
        match differs(&report, course, kernel) {
            None => Ok(Some(report)),
            Some(why) => Err(refused(&why)),
        }
    }

    /// One file for each kernel as it was typed. Different kernels may not share one, whatever is in their names.
    fn path(&self, spec: &str) -> PathBuf {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".,+-_".contains(c);
        if spec.chars().all(plain) {
            return self.folder.join(format!("{spec}.json"));
        }
        let name: String = spec.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        let hash = reports::fnv1a(spec.bytes());
        let tail = name.len().saturating_sub(40);
        self.folder.join(format!("{}-{hash:016x}.json", &name[tail..]))
    }
}

/// Why a report is not of this kernel of this course.
fn differs(report: &Report, course: &Course, kernel: &Kernel) -> Option<String> {
    let [own] = &report.kernels[..] else {
        return Some(format!("it has {} kernels, not one", report.kernels.len()));
    };
    let run = &report.run;
    let server = |argument: Option<&String>| argument.map_or("not named", |name| name).to_owned();
    let commit = |commit: &Option<String>| commit.clone().unwrap_or_else(|| "unknown".to_owned());
    for (what, was, is) in [
        ("kernel", own.kernel.spec.clone(), kernel.spec.clone()),
        ("commit", commit(&run.commit), commit(&course.commit)),
        (
            "server",
            server(run.server.as_ref().map(|server| &server.argument)),
            server(course.server.as_ref()),
        ),
        ("seed", format!("{:#x}", run.seed), format!("{:#x}", course.seed)),
    ] {
        if was != is {
            return Some(format!("its {what} is {was}, not {is}"));
        }
    }
    if run.dirty || course.dirty {
        return Some("the tree had local changes, and nobody knows which".to_owned());
    }
    if !own.scenarios.iter().map(|scenario| &scenario.id).eq(&course.scenarios) {
        return Some("its scenarios are other ones".to_owned());
    }
    if let Some(identity) = &kernel.identity
        && let Some(is) = identity_of(own)
        && is != *identity
    {
        return Some(format!("its release is {is}, not {identity}"));
    }
    expects_otherwise(own)
}

/// What a report says its kernel was: the release, or the hash of a file. Nothing for a kernel that was built here, which
/// is named before it is made.
fn identity_of(own: &reports::report::KernelReport) -> Option<String> {
    if !own.kernel.instruments.is_empty() || own.kernel.spec.contains('+') {
        return None;
    }
    let of_file = || own.kernel.packages.iter().find(|entry| entry.origin == "file");
    own.kernel.release.clone().or_else(|| of_file().map(|entry| entry.sha256.clone()))
}

/// The plan is of the same commit, and yet its file could have been made by hand.
fn expects_otherwise(own: &reports::report::KernelReport) -> Option<String> {
    let release = own.kernel.release.as_deref().and_then(KernelRelease::parse);
    let other = own.scenarios.iter().find(|done| {
        let planned = scenarios::catalogue::find(&done.id);
        let expected = planned.map(|scenario| scenario.expectation(release));
        // What is no scenario of the catalogue expects to pass.
        expected.unwrap_or(Expectation::Pass) != done.expect
    })?;
    Some(format!("its plan expects something else of {}", other.id))
}

#[cfg(test)]
mod tests {
    use reports::plan::PlannedScenario;
    use reports::report::{KernelHeader, RunHeader};
    use reports::{KernelInput, RunInput, fold};

    use super::*;

    const ID: &str = "startup/fetch-twice";

    fn course() -> Course {
        let kernel = Kernel { spec: "7.3".into(), identity: Some("7.3.4-a".into()) };
        Course {
            format: 1,
            commit: Some("abc".into()),
            dirty: false,
            seed: 7,
            kernels: vec![kernel],
            server: None,
            scenarios: vec![ID.into()],
        }
    }

    /// A kernel whose machine never came up; what matters here is what it was to be.
    fn report(change: impl FnOnce(&mut RunHeader, &mut KernelInput), interrupted: bool) -> Report {
        let mut run = RunHeader { seed: 7, commit: Some("abc".into()), ..RunHeader::default() };
        let header = KernelHeader {
            spec: "7.3".into(),
            release: Some("7.3.4-a".into()),
            ..KernelHeader::default()
        };
        let planned =
            vec![PlannedScenario { id: ID.into(), budget_ms: 1, expect: Expectation::Pass }];
        let mut input = KernelInput { header, planned, ..KernelInput::default() };
        change(&mut run, &mut input);
        let kernels = [input];
        fold(&RunInput {
            run: &run,
            kernels: &kernels,
            records: &[],
            host_errors: &[],
            interrupted,
        })
    }

    #[test]
    fn what_is_kept_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (parts, course) = (Parts::in_folder(folder.path()), course());
        let kernel = &course.kernels[0];
        assert_eq!(parts.find(&course, kernel).unwrap(), None);
        let whole = report(|_, _| (), false);
        parts.keep(&whole).unwrap();
        assert_eq!(parts.find(&course, kernel).unwrap(), Some(whole));
        let text = std::fs::read_to_string(parts.path("7.3")).unwrap();
        std::fs::write(parts.path("7.3"), &text[..text.len() / 2]).unwrap();
        let line = parts.find(&course, kernel).unwrap_err().to_string();
        assert!(line.contains("ends in the middle") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_part_of_another_run_is_refused_in_one_line() {
        type Change = fn(&mut RunHeader, &mut KernelInput);
        let changes: [(&str, Change); 6] = [
            ("its commit is def, not abc", |run, _| run.commit = Some("def".into())),
            ("its seed is 0x8, not 0x7", |run, _| run.seed = 8),
            ("local changes", |run, _| run.dirty = true),
            ("its release is 7.3.3-a, not 7.3.4-a", |_, kernel| {
                kernel.header.release = Some("7.3.3-a".into());
            }),
            ("its scenarios are other ones", |_, kernel| kernel.planned[0].id = "a/b".into()),
            ("expects something else of startup/fetch-twice", |_, kernel| {
                kernel.planned[0].expect = Expectation::KnownBug { reference: "docs/x.md".into() };
            }),
        ];
        for (says, change) in changes {
            let folder = tempfile::tempdir().unwrap();
            let (parts, course) = (Parts::in_folder(folder.path()), course());
            parts.keep(&report(change, false)).unwrap();
            let error = parts.find(&course, &course.kernels[0]).unwrap_err();
            let line = error.to_string();
            assert!(line.contains(says) && !line.contains('\n'), "{line}");
            assert_eq!(error.code, ExitCode::Usage);
        }
    }

    #[test]
    fn an_interrupted_kernel_and_a_broken_host_are_not_done() {
        assert!(!Parts::is_done(&report(|_, _| (), true)));
        let gone = |_: &mut RunHeader, kernel: &mut KernelInput| {
            kernel.setup_error = Some("no network".into());
        };
        assert!(!Parts::is_done(&report(gone, false)));
    }

    #[test]
    fn each_kernel_has_a_file_of_its_own() {
        let parts = Parts::in_folder(Path::new("m"));
        assert_eq!(parts.path("7.3+kasan,lockdep"), Path::new("m/parts/7.3+kasan,lockdep.json"));
        let (a, b) = (parts.path("/a/b"), parts.path("/a_b"));
        assert!(a != b && a.parent() == Some(Path::new("m/parts")), "{}", a.display());
    }
}
