//! What executes the guest. `/dev/kvm` may exist, open and create machines, and still not run a kernel (as
//! on nested or partly emulated hosts), so its existence proves nothing: it is believed after it has run a
//! boot sector that computes, once, with a short limit, and the answer is remembered.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boot_sector;
use super::death;
use super::end::VmEnd;
use super::program::{QemuProgram, QemuVersion};
use super::spec::with_path;
use super::supervise::{Launch, LaunchError, Supervised, Watched};

/// Time the boot sector gets. Hardware runs it in a fraction of this, QEMU's own start and firmware
/// included; an accelerator that needs longer is no help even where it works.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// QEMU's messages are read for their last line only.
const STDERR_LIMIT_BYTES: u64 = 1 << 20;

/// Answers kept in the file; the oldest go first. One per QEMU and host kernel.
const ANSWERS_MAX: usize = 16;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// The CPU, by way of the host's kernel.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// An accelerator and why it is the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What to use.
    pub accelerator: Accelerator,
    /// Why, for people.
    pub reason: String,
    /// Whether this is the answer of an earlier probe.
    pub remembered: bool,
}

/// Finds out whether KVM runs a guest with this QEMU on this host, or recalls it from `memory`, a JSON file
/// that is made if missing; removing it is how to ask again. Never fails: what cannot be shown to work is
/// not used. Takes 2 s at most, where it boots.
#[must_use]
pub fn choose(program: &QemuProgram, memory: &Path) -> Choice {
    let host_release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let probe = Probe {
        program,
        device: Path::new("/dev/kvm"),
        host_release: host_release.trim(),
        limit: PROBE_LIMIT,
    };
    probe.choose(memory)
}

/// One remembered answer and what it holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    qemu_sha256: String,
    qemu_version: QemuVersion,
    host_release: String,
    /// Of the sector that was asked: what a shorter one showed counts no more.
    sector_steps: u32,
    accelerator: Accelerator,
    reason: String,
}

struct Probe<'a> {
    program: &'a QemuProgram,
    device: &'a Path,
    host_release: &'a str,
    limit: Duration,
}

impl Probe<'_> {
    fn choose(&self, memory: &Path) -> Choice {
        let fresh = |accelerator, reason| Choice { accelerator, reason, remembered: false };
        // Not remembered: it costs nothing to ask, and permissions change without a trace.
        if let Err(error) = OpenOptions::new().read(true).write(true).open(self.device) {
            let reason = format!("{} cannot be opened: {error}", self.device.display());
            return fresh(Accelerator::Tcg, reason);
        }
        let mut answers = recall(memory);
        if let Some(known) = answers.iter().find(|answer| self.is_answered_by(answer)) {
            let reason = format!("{} (remembered in {})", known.reason, memory.display());
            return Choice { accelerator: known.accelerator, reason, remembered: true };
        }
        let (accelerator, reason) = match self.boot() {
            Ok(answer) => answer,
            Err(why) => return fresh(Accelerator::Tcg, format!("KVM could not be probed: {why}")),
        };
        answers.push(self.answer(accelerator, &reason));
        answers.drain(..answers.len().saturating_sub(ANSWERS_MAX));
        match remember(memory, &answers) {
            Ok(()) => fresh(accelerator, reason),
            Err(error) => fresh(accelerator, format!("{reason} (not remembered: {error})")),
        }
    }

    fn answer(&self, accelerator: Accelerator, reason: &str) -> Answer {
        Answer {
            qemu_sha256: self.program.sha256.clone(),
            qemu_version: self.program.version,
            host_release: self.host_release.to_owned(),
            sector_steps: boot_sector::STEPS,
            accelerator,
            reason: reason.to_owned(),
        }
    }

    fn is_answered_by(&self, answer: &Answer) -> bool {
        *answer == self.answer(answer.accelerator, &answer.reason)
    }

    /// Boots the sector under KVM; an error means that nothing was learnt about KVM.
    fn boot(&self) -> Result<(Accelerator, String), String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let run = boot_sector_in(dir.path(), self.program, "kvm", "host", self.limit);
        let run = run.map_err(|error| error.to_string())?;
        match run.end {
            SectorEnd::Signalled => Ok((Accelerator::Kvm, "KVM ran a boot sector".into())),
            SectorEnd::OutOfTime => {
                let limit_s = self.limit.as_secs_f32();
                let reason = format!("KVM did not run a boot sector within {limit_s} s");
                Ok((Accelerator::Tcg, reason))
            }
            SectorEnd::Other(VmEnd::Exited { .. } | VmEnd::StderrFlood { .. }) => {
                let reason = format!("KVM did not run a boot sector: {}", run.detail);
                Ok((Accelerator::Tcg, reason))
            }
            SectorEnd::Other(end) => Err(end.to_string()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum SectorEnd {
    Signalled,
    OutOfTime,
    Other(VmEnd),
}

struct SectorRun {
    end: SectorEnd,
    /// QEMU's last message, or how it ended.
    detail: String,
}

fn boot_sector_in(
    dir: &Path,
    program: &QemuProgram,
    accelerator: &str,
    cpu: &str,
    limit: Duration,
) -> io::Result<SectorRun> {
    let (sector, stderr) = (dir.join("sector"), dir.join("stderr"));
    fs::write(&sector, boot_sector::image())?;
    let mut command = death::tied(&program.program)?;
    command.args(sector_arguments(program, &sector, accelerator, cpu));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&stderr)?);
    let limit_bytes = STDERR_LIMIT_BYTES;
    let flood = VmEnd::StderrFlood { limit_bytes };
    let watched = vec![Watched { path: stderr.clone(), limit_bytes, end: flood }];
    let child = Supervised::start(Launch { command, own_group: true, watched });
    let child = child.map_err(|error| match error {
        LaunchError::Interrupted => io::Error::other(VmEnd::Interrupted.to_string()),
        LaunchError::Io(error) => error,
    })?;
    let end = match child.wait(limit) {
        None => SectorEnd::OutOfTime,
        Some(VmEnd::Exited { status }) if status.code() == Some(boot_sector::GOOD_EXIT_CODE) => {
            SectorEnd::Signalled
        }
        Some(end) => SectorEnd::Other(end),
    };
    let detail = super::vm::last_line(&stderr).unwrap_or_else(|| match &end {
        SectorEnd::Other(end) => end.to_string(),
        _ => String::new(),
    });
    Ok(SectorRun { end, detail })
}

fn sector_arguments(
    program: &QemuProgram,
    sector: &Path,
    accelerator: &str,
    cpu: &str,
) -> Vec<OsString> {
    let mut args = program.prefix_args.clone();
    args.extend(program.firmware_args.iter().cloned());
    let exit = format!("isa-debug-exit,iobase={:#x},iosize=4", boot_sector::EXIT_PORT);
    let fixed = ["-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none"];
    args.extend(fixed.map(OsString::from));
    let chosen = ["-no-reboot", "-m", "32", "-accel", accelerator, "-cpu", cpu, "-device", &exit];
    args.extend(chosen.map(OsString::from));
    args.push("-drive".into());
    args.push(with_path("if=floppy,format=raw,readonly=on,file=", sector, ""));
    args
}

/// The answers in `memory`; a file that is missing or damaged holds none, and costs one probe.
fn recall(memory: &Path) -> Vec<Answer> {
    fs::read(memory).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// Replaces the file in one step, so that a reader or a crash never meets half of it.
fn remember(memory: &Path, answers: &[Answer]) -> io::Result<()> {
    let dir: PathBuf = match memory.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => ".".into(),
    };
    fs::create_dir_all(&dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer_pretty(&mut file, answers)?;
    file.write_all(b"\n")?;
    file.persist(memory).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests;
