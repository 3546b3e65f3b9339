//! The `ublk` command: adds, deletes and lists ublk devices. Thin; what it does is in the library.

mod add;
mod cli;
mod del;
mod devices;
mod exit;
mod features;
mod list;
mod mode;
mod out;
mod signals;
mod size;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, and go to stdout. A reader that has gone needs none.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let (name, done) = match cli.command {
        Command::Add(args) => ("add", add::run(args)),
        Command::Del(args) => ("del", del::run(&args)),
        Command::List(args) => ("list", list::run(&args)),
        Command::Features(args) => ("features", features::run(&args)),
    };
    match done {
        Ok(()) => Exit::Ok.into(),
        // As `head` wants it: whoever read our output has seen enough.
        Err(Failure::BrokenPipe) => Exit::Ok.into(),
        Err(Failure::Failed { exit, message, hint }) => {
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            // One line whatever an error's text contains; and nowhere to report a closed stderr.
            let line = format!("ublk: {name}: {message}{hint}").replace('\n', " ");
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
            exit.into()
        }
    }
}
