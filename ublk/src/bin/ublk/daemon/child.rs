//! The daemon's side: it leaves the terminal's session at once, and the caller's standard streams once
//! its device is live.

use std::fs::OpenOptions;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd;

use super::DaemonArgs;
use super::report::Report;
use crate::exit::{Exit, Failure};
use crate::out;

/// Through what a server says that it is live, or why it is not.
#[derive(Debug)]
pub(crate) enum Herald {
    /// Whoever started it looks at its standard output.
    Foreground,
    /// The process that started it waits for a report.
    Daemon {
        /// The report was given, and the parent is gone or about to go.
        reported: AtomicBool,
    },
}

impl Herald {
    /// The herald of this process. A daemon's leaves the terminal's session, so that no Ctrl-C and no
    /// hang-up that is meant for others reaches it.
    pub(crate) fn new(is_child: bool) -> Result<Self, Failure> {
        if !is_child {
            return Ok(Self::Foreground);
        }
        // Started through a link, it would be called "exe" in ps. Only a name: no reason to fail.
        let _ = nix::sys::prctl::set_name(c"ublk");
        unistd::setsid().map_err(|errno| {
            Failure::failed(format!("cannot leave the terminal's session: {errno}"))
        })?;
        Ok(Self::Daemon { reported: AtomicBool::new(false) })
    }

    /// Whether this process is the daemon, and not one that has to start it.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Self::Daemon { .. })
    }

    /// Says that the device is live. A daemon lets go of everything of its caller's.
    pub(crate) fn live(&self, line: &str, args: &DaemonArgs) -> Result<(), Failure> {
        let Self::Daemon { reported } = self else { return out::line(line) };
        // What can fail comes before the report, which promises that all went well.
        let away = |what: &'static str| {
            move |errno: nix::Error| Failure::failed(format!("cannot {what}: {errno}"))
        };
        unistd::chdir("/").map_err(away("leave the working directory"))?;
        if args.log.is_none() {
            let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
            unistd::dup2_stderr(&null).map_err(away("let go of standard error"))?;
        }
        let told = tell(&Report::Live { line: line.to_owned() });
        reported.store(true, Ordering::Relaxed);
        // With --log, standard error has been the log from the beginning.
        unistd::dup2_stdout(std::io::stderr()).map_err(away("let go of standard output"))?;
        told
    }

    /// Tells the parent of a failure; false where there is none that waits for it.
    pub(crate) fn failed(&self, exit: Exit, message: &str, hint: Option<&str>) -> bool {
        let Self::Daemon { reported } = self else { return false };
        let report = Report::Failed {
            exit: exit as u8,
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        };
        !reported.swap(true, Ordering::Relaxed) && tell(&report).is_ok()
    }
}

fn tell(report: &Report) -> Result<(), Failure> {
    out::json(report)
}
