//! The `kublk` personality: the command line and the output of the kernel's own selftest server, on top
//! of this library. The kernel's scripts in `tools/testing/selftests/ublk` run on it unchanged, which is
//! the driver's authors judging our server. Called as `kublk`, or as `ublk kublk`.

mod add;
mod commands;
mod dump;
mod halffetch;
mod options;
mod set_params;
mod targets;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::daemon::{CHILD_OPTION, Herald};
use crate::exit::{Exit, Failure};
use options::Options;

/// The name that chooses this personality, as a program and as a subcommand.
pub(crate) const NAME: &str = "kublk";

/// What follows `kublk` on the command line, if it was called at all: by that name, or as a subcommand.
pub(crate) fn arguments() -> Option<Vec<OsString>> {
    let mut line = std::env::args_os();
    let program = line.next()?;
    if std::path::Path::new(&program).file_name()? == NAME {
        return Some(line.collect());
    }
    // The daemon of `ublk kublk add` has the option of its kind before the subcommand.
    let mut line = line.peekable();
    let child = OsString::from(format!("--{CHILD_OPTION}"));
    let is_child = line.next_if(|word| *word == child);
    (line.next()? == NAME).then(|| is_child.into_iter().chain(line).collect())
}

/// Runs one command. Exit code 0 or 1; the original's other codes are truncated errnos.
pub(crate) fn main(mut line: Vec<OsString>) -> ExitCode {
    let child = OsString::from(format!("--{CHILD_OPTION}"));
    let is_child = line.first() == Some(&child);
    if is_child {
        line.remove(0);
    }
    let herald = match Herald::new(is_child) {
        Ok(herald) => herald,
        Err(failure) => return report(None, failure),
    };
    let done = run(line, &herald);
    match done {
        Ok(()) | Err(Failure::BrokenPipe) => Exit::Ok.into(),
        Err(failure) => report(Some(&herald), failure),
    }
}

fn run(line: Vec<OsString>, herald: &Herald) -> Result<(), Failure> {
    let mut line = line.into_iter();
    let Some(command) = line.next() else {
        return Err(Failure::usage("no command is given: try `kublk help`"));
    };
    let options = Options::parse(line)?;
    match command.to_str().unwrap_or_default() {
        "add" => add::run(&options, add::Kind::Add, herald),
        "recover" => add::run(&options, add::Kind::Recover, herald),
        "del" => commands::del(&options),
        "stop" => commands::stop(&options),
        "list" => commands::list(&options),
        "features" => commands::features(),
        "update_size" => commands::update_size(&options),
        "quiesce" => commands::quiesce(&options),
        "set_params" => set_params::run(&options),
        "help" => usage::print(),
        other => {
            usage::print()?;
            Err(Failure::usage(format!("there is no command {other:?}")))
        }
    }
}

/// One line on standard error, or to the process that waits for a daemon.
fn report(herald: Option<&Herald>, failure: Failure) -> ExitCode {
    let Failure::Failed { message, hint, .. } = failure else { return Exit::Ok.into() };
    if herald.is_some_and(|herald| herald.failed(Exit::Failed, &message, hint.as_deref())) {
        return Exit::Failed.into();
    }
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    let line = format!("kublk: {message}{hint}").replace('\n', " ");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
    Exit::Failed.into()
}
