//! The `ublk` command: adds, deletes, lists and watches ublk devices. Thin; what it does is in the library.

mod add;
mod cli;
mod daemon;
mod del;
mod devices;
mod doctor;
mod exit;
mod features;
mod integrity;
mod kublk;
mod life;
mod list;
mod out;
mod pages;
mod pidfile;
mod plane;
mod quiesce;
mod recover;
mod resize;
mod signals;
mod size;
mod stats;
mod stop;
mod targets;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use daemon::Herald;
use exit::{Exit, Failure};

fn main() -> ExitCode {
    if let Some((is_child, line)) = kublk::arguments() {
        return kublk::main(is_child, line);
    }
    let (is_daemon, line) = daemon::command_line();
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, and go to stdout. A reader that has gone needs none.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let name = cli.command.name();
    let (herald, done) = match Herald::new(is_daemon) {
        Ok(herald) => {
            let done = run(cli.command, &herald);
            (herald, done)
        }
        Err(failure) => (Herald::Foreground, Err(failure)),
    };
    match done {
        Ok(()) => Exit::Ok.into(),
        // As `head` wants it: whoever read our output has seen enough.
        Err(Failure::BrokenPipe) => Exit::Ok.into(),
        Err(Failure::Failed { exit, message, hint }) => {
            if !herald.failed(exit, &message, hint.as_deref()) {
                complain(name, &message, hint.as_deref());
            }
            exit.into()
        }
    }
}

fn run(command: Command, herald: &Herald) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add::run(&args, herald),
        Command::Recover(args) => recover::run(args, herald),
        Command::Quiesce(args) => quiesce::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Resize(args) => resize::run(&args),
        Command::Del(args) => del::run(&args),
        Command::List(args) => list::run(&args),
        Command::Features(args) => features::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Man(args) => pages::man(&args),
        Command::Completions(args) => pages::completions(&args),
    }
}

/// One line whatever an error's text contains; and nowhere to report a closed stderr.
fn complain(name: &str, message: &str, hint: Option<&str>) {
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    let line = format!("ublk: {name}: {message}{hint}").replace('\n', " ");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}
