//! The standard library of another architecture's guests. rustup has it for every toolchain; it is added when it is
//! first needed, and where that fails the command to type is said.

use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::workspace::{self, run_interruptible};

/// Sees to it that programs can be built for `target`.
///
/// # Errors
/// When its standard library is not there and rustup does not add it.
pub(crate) fn require(target: &str) -> Result<(), Error> {
    if is_there(target) {
        return Ok(());
    }
    let mut command = Command::new("rustup");
    command.current_dir(workspace::root()).args(["target", "add", target]);
    let said = match run_interruptible(&mut command) {
        Ok((status, _)) if status.success() && is_there(target) => return Ok(()),
        Ok((_, said)) => reason(&said),
        Err(error) if crate::interrupt::requested() => return Err(error),
        Err(error) => error.to_string(),
    };
    Err(Error::infrastructure(format!(
        "Rust cannot build for {target} ({said}): run `rustup target add {target}` where there is a network"
    )))
}

fn is_there(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut ask = Command::new(rustc);
    ask.current_dir(workspace::root()).args(["--print", "target-libdir", "--target", target]);
    // rustc prints the folder whether it is there or not.
    ask.output().is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(folder.trim()).is_dir()
    })
}

/// The line of rustup's that says most.
fn reason(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line =
        lines().find_map(|line| line.strip_prefix("error: ")).or_else(|| lines().next_back());
    line.unwrap_or("rustup said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_own_target_is_there_and_an_invented_one_is_not() {
        assert!(is_there(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH)));
        assert!(!is_there("pdp11-unknown-unix"));
    }

    #[test]
    fn the_error_of_rustup_is_one_line() {
        let said = "info: downloading\nerror: could not download file\n\nCaused by:\n  dns\n";
        assert_eq!(reason(said), "could not download file");
        assert_eq!(reason("one\ntwo\n"), "two");
        assert_eq!(reason(""), "rustup said nothing");
    }
}
