//! A server in the background, without `fork`: the command starts itself again, and the child says over
//! its standard output that the device is live, or why not. So whoever typed the command hears of a
//! failure that happened in another process, with its reason and its exit code.
//!
//! A subcommand that serves calls [`launch`] first where its [`DaemonArgs`] want a daemon and its
//! [`Herald`] is not the child's, and says [`Herald::live`] when its device is live. The rest is here.

mod child;
mod parent;
mod report;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

pub(crate) use child::Herald;
pub(crate) use parent::launch;

/// The first word of the command line with which the command starts itself again. Not an option to clap,
/// whose completions would offer even a hidden one.
const CHILD_OPTION: &str = "--daemon-child";

/// The command line as the user typed it, and whether this process is the daemon.
pub(crate) fn command_line() -> (bool, Vec<OsString>) {
    let mut line: Vec<OsString> = std::env::args_os().collect();
    let is_daemon = line.get(1).is_some_and(|word| word == CHILD_OPTION);
    if is_daemon {
        line.remove(1);
    }
    (is_daemon, line)
}

/// Options of every subcommand that serves.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Serve in the background; the command returns when the device is live, or with the reason why not.
    #[arg(long)]
    pub(crate) daemon: bool,
    /// Append what the daemon says to this file; nobody hears it unless given.
    #[arg(long, value_name = "FILE", requires = "daemon")]
    pub(crate) log: Option<PathBuf>,
    /// Keep the server's process id in this file as long as it serves.
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
}
