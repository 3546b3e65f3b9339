//! Which QEMU runs the machine. It may be the system's, one the user named, or one unpacked into a
//! private folder and run through its own dynamic loader, so "the program" is more than a path: this is
//! the one value that says how to start it and what exactly it is, for the report.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::arch::Arch;
use crate::command::{self, CommandError};

/// The oldest QEMU that is trusted. 7.2 under TCG makes random oopses in guests that have no bug, which
/// is the worst lie a test harness can tell; 10.0 showed none in 170 boots.
pub const MIN_QEMU: QemuVersion = QemuVersion { major: 10, minor: 0, micro: 0 };

/// `--version` only links libraries and prints; far more than it needs on a loaded machine.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// A QEMU release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QemuVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number; 50 and above are development snapshots and release candidates.
    pub micro: u32,
}

impl QemuVersion {
    /// Reads the output of `qemu-system-x86_64 --version`; `None` where it is not QEMU's.
    #[must_use]
    pub fn parse(output: &str) -> Option<Self> {
        // A loader or a wrapper may print warnings first, so the line is looked for, not assumed.
        let rest = output.lines().find_map(|line| line.strip_prefix("QEMU emulator version "))?;
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let mut numbers = rest[..end].split('.').map(str::parse);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let micro = numbers.next().unwrap_or(Ok(0)).ok()?;
        numbers.next().is_none().then_some(Self { major, minor, micro })
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// A QEMU system emulator and how to start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QemuProgram {
    /// What is executed: QEMU itself, or the dynamic loader it is run through. It has to become QEMU by
    /// `exec`; a wrapper that forks would keep QEMU alive when its owner is killed.
    pub program: PathBuf,
    /// Arguments before all others, as `--library-path DIR /path/qemu-system-x86_64` for a loader.
    pub prefix_args: Vec<OsString>,
    /// Arguments that lead a relocated QEMU to its firmware, as `-L DIR`.
    pub firmware_args: Vec<OsString>,
    /// What `--version` said.
    pub version: QemuVersion,
    /// Where it comes from, for people: `PATH`, `--qemu`, a package and its version.
    pub origin: String,
    /// SHA-256 of the emulator's executable, in lowercase hexadecimal.
    pub sha256: String,
}

impl QemuProgram {
    /// Runs `--version` and hashes `executable`, the emulator itself (which is `program` unless that is a
    /// loader). A version below [`MIN_QEMU`] is not an error here: the caller may look for another one,
    /// see [`QemuProgram::require_minimum`].
    ///
    /// # Errors
    /// Where the program cannot be run, does not answer in 20 s, or is not QEMU.
    pub fn inspect(
        program: PathBuf,
        prefix_args: Vec<OsString>,
        firmware_args: Vec<OsString>,
        executable: &Path,
        origin: String,
    ) -> Result<Self, ProgramError> {
        let mut ask = Command::new(&program);
        ask.args(&prefix_args).arg("--version");
        let answer = command::run(&mut ask, VERSION_LIMIT)?;
        let version = QemuVersion::parse(&answer.stdout).ok_or_else(|| {
            let said =
                if answer.stdout.trim().is_empty() { &answer.stderr } else { &answer.stdout };
            let said = said.lines().next().unwrap_or_default().chars().take(120).collect();
            ProgramError::NotQemu { program: program.clone(), said }
        })?;
        let sha256 = sha256_of(executable)
            .map_err(|source| ProgramError::Unreadable { path: executable.to_owned(), source })?;
        Ok(Self { program, prefix_args, firmware_args, version, origin, sha256 })
    }

    /// Refuses a QEMU older than [`MIN_QEMU`].
    ///
    /// # Errors
    /// [`ProgramError::TooOld`].
    pub fn require_minimum(&self) -> Result<(), ProgramError> {
        if self.version < MIN_QEMU {
            let origin = self.origin.clone();
            return Err(ProgramError::TooOld { version: self.version, origin });
        }
        Ok(())
    }

    /// Refuses a QEMU that emulates another architecture.
    ///
    /// # Errors
    /// [`ProgramError::OtherArch`], and where the program cannot be run.
    pub fn require_machine(&self, arch: Arch) -> Result<(), ProgramError> {
        let mut ask = Command::new(&self.program);
        ask.args(&self.prefix_args).args(["-machine", "help"]);
        let answer = command::run(&mut ask, VERSION_LIMIT)?;
        let options = arch.facts().machine;
        let machine = options.split_once(',').map_or(options, |(machine, _)| machine);
        if has_machine(&answer.stdout, machine) {
            return Ok(());
        }
        Err(ProgramError::OtherArch { program: self.program.clone(), machine, arch })
    }
}

/// Whether the output of `-machine help` names a machine.
fn has_machine(output: &str, machine: &str) -> bool {
    output.lines().any(|line| line.split_whitespace().next() == Some(machine))
}

/// Why a program cannot be used as QEMU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It emulates something else.
    #[error(
        "QEMU {program} has no machine `{machine}`, so it is not for {arch} guests: name a {} with --qemu",
        arch.facts().emulator
    )]
    OtherArch {
        /// What was run.
        program: PathBuf,
        /// The machine that was looked for.
        machine: &'static str,
        /// What the guests are.
        arch: Arch,
    },
    /// It did not run.
    #[error("cannot ask QEMU for its version: {0}")]
    Run(#[from] CommandError),
    /// It ran and is something else.
    #[error(
        "`{program}` is not a QEMU system emulator, it says \"{said}\": name another with --qemu"
    )]
    NotQemu {
        /// What was run.
        program: PathBuf,
        /// The first line it printed.
        said: String,
    },
    /// Its executable cannot be hashed.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The executable.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not to be trusted.
    #[error(
        "QEMU {version} from {origin} is older than {MIN_QEMU} and makes guests crash at random"
    )]
    TooOld {
        /// Its version.
        version: QemuVersion,
        /// [`QemuProgram::origin`].
        origin: String,
    },
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => break,
            n => hasher.update(&block[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)\nCopyright", (10, 0, 13))]
    #[case("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\n", (7, 2, 22))]
    #[case("QEMU emulator version 10.1.50 (v10.1.0-123-gabcdef)\n", (10, 1, 50))]
    #[case("warning: locale\nQEMU emulator version 11.0.0\n", (11, 0, 0))]
    #[case("QEMU emulator version 10.2", (10, 2, 0))]
    fn versions_are_read(#[case] output: &str, #[case] want: (u32, u32, u32)) {
        let (major, minor, micro) = want;
        assert_eq!(QemuVersion::parse(output), Some(QemuVersion { major, minor, micro }));
    }

    #[rstest]
    #[case("")]
    #[case("QEMU emulator version unknown")]
    #[case("QEMU emulator version 10")]
    #[case("QEMU emulator version 10.0.1.2")]
    #[case("QEMU emulator version 99999999999.0.0")]
    #[case("qemu-img version 10.0.13")]
    fn other_output_is_no_version(#[case] output: &str) {
        assert_eq!(QemuVersion::parse(output), None);
    }

    #[test]
    fn versions_compare_by_number_not_by_text() {
        let nine = QemuVersion { major: 9, minor: 2, micro: 4 };
        assert!(nine < MIN_QEMU);
        assert!(QemuVersion { major: 10, minor: 0, micro: 13 } >= MIN_QEMU);
    }

    #[test]
    fn a_program_that_is_not_qemu_is_named_with_what_it_says() {
        let sh = |script: &str| {
            let args = vec!["-c".into(), script.into(), "qemu".into()];
            QemuProgram::inspect("sh".into(), args, vec![], Path::new("/bin/sh"), "test".into())
        };
        let error = sh("echo hello $1").unwrap_err().to_string();
        assert!(error.contains("it says \"hello --version\""), "{error}");
        let old = sh("echo QEMU emulator version 9.2.1").unwrap();
        assert_eq!(old.sha256.len(), 64);
        let error = old.require_minimum().unwrap_err().to_string();
        assert!(error.starts_with("QEMU 9.2.1 from test is older than 10.0.0"), "{error}");
    }
}
