//! `ublk man` and `ublk completions`: made from the command line itself, so that neither can tell of an
//! option that is not there, or forget one that is.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Failure;
use crate::out;

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for the command and each subcommand into this folder; the command's own page goes to
    /// standard output unless given.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
    /// Write them into this folder, under the name that the shell looks for; to standard output unless
    /// given.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes manual pages.
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    match &args.dir {
        Some(dir) => {
            make(dir)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(|error| cannot(dir, &error))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            out::text(&String::from_utf8_lossy(&page))
        }
    }
}

/// Writes a shell's completions.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    match &args.dir {
        Some(dir) => {
            make(dir)?;
            let made = clap_complete::generate_to(args.shell, &mut command, "ublk", dir);
            made.map(|_| ()).map_err(|error| cannot(dir, &error))
        }
        None => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut command, "ublk", &mut script);
            out::text(&String::from_utf8_lossy(&script))
        }
    }
}

fn make(dir: &PathBuf) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| cannot(dir, &error))
}

fn cannot(dir: &std::path::Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot write into {}: {error}", dir.display()))
}
