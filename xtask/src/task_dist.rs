//! `dist`: what a package of the `ublk` command holds, in one folder: the program, its manual pages, and the
//! completions of each shell. The program writes both itself, so they are of its own command line.

use std::path::Path;
use std::process::Command;

use reports::report::ExitCode;

use crate::cli::DistArgs;
use crate::error::Error;
use crate::workspace;

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

pub(crate) fn run(args: &DistArgs) -> Result<ExitCode, Error> {
    let folder = args.output.clone().unwrap_or_else(|| workspace::root().join("target/dist"));
    // A target folder of its own, as the guest's programs have: where cargo's is nobody has to guess.
    let build = workspace::root().join("target/dist-build");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments =
        ["build", "--profile", "dist", "--package", "ublk", "--bin", "ublk", "--target-dir"];
    finish(Command::new(cargo).current_dir(workspace::root()).args(arguments).arg(&build))?;
    std::fs::create_dir_all(folder.join("bin")).map_err(Error::infrastructure)?;
    let program = folder.join("bin/ublk");
    std::fs::copy(build.join("dist/ublk"), &program).map_err(Error::infrastructure)?;
    write_pages(&program, &folder)?;
    anstream::println!("dist: {}", folder.display());
    Ok(ExitCode::Passed)
}

/// Under the names of the folders below a prefix such as `/usr`.
fn write_pages(program: &Path, folder: &Path) -> Result<(), Error> {
    finish(Command::new(program).arg("man").arg(folder.join("share/man/man1")))?;
    for (shell, below) in SHELLS.into_iter().zip([
        "share/bash-completion/completions",
        "share/zsh/site-functions",
        "share/fish/vendor_completions.d",
    ]) {
        finish(Command::new(program).args(["completions", shell]).arg(folder.join(below)))?;
    }
    Ok(())
}

fn finish(command: &mut Command) -> Result<(), Error> {
    let line = format!("{command:?}");
    let status = command
        .status()
        .map_err(|error| Error::infrastructure(format!("cannot start {line}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("{line} ended with {status}")))
}
