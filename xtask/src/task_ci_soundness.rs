//! The steps of `ci` that look for undefined behaviour and lost hand-overs: Miri over what needs no kernel,
//! and loom over what threads hand to each other. Which tests each can run is said here and nowhere else.

use std::process::Command;

use crate::error::Error;
use crate::workspace;

/// What Miri runs: the protocol, the buffers and their turns, the whole queue on the double of the driver,
/// and the public face of that. The rest of the library talks to a kernel, or fences memory with pages that
/// nobody may touch, and Miri has neither.
const MIRI_TESTS: &[&str] = &[
    "tag::",
    "sys::buffers",
    "sys::gate",
    "sys::memory",
    "sys::user_data",
    "queue::descriptor",
    "queue::hostile_tests",
    "queue::mode_tests",
    "queue::task",
    "queue::tests",
    "testing::hint_tests",
    "testing::tests",
    "uapi::batch",
    "uapi::flags",
    "uapi::io",
    "uapi::op",
    "uapi::zone",
];

/// Models have this name, for nothing else of the library can run under `--cfg loom`.
const LOOM_TESTS: &str = "loom_tests";

/// Why Miri cannot be run here; none where it can.
pub(crate) fn miri_is_missing() -> Option<String> {
    let probe = ["run", "nightly", "cargo", "miri", "--version"];
    let found = Command::new("rustup").args(probe).output();
    match found {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some(
            "no nightly toolchain with it: rustup toolchain install nightly --component miri,rust-src"
                .into(),
        ),
        Err(error) => Some(format!("rustup, which finds the nightly toolchain: {error}")),
    }
}

/// The library's tests that Miri can run, and the programs that must not compile: only nightly looks at the
/// reason for which they do not.
pub(crate) fn miri() -> Result<(), Error> {
    let mut tests = vec!["run", "nightly", "cargo", "miri", "test", "-p", "ublk", "--lib", "--"];
    tests.extend(MIRI_TESTS);
    // The payload of a target's panic is leaked on purpose: its drop might panic too.
    run(Command::new("rustup").env("MIRIFLAGS", "-Zmiri-ignore-leaks").args(tests))?;
    let programs = ["run", "nightly", "cargo", "miri", "test", "-p", "ublk", "--doc", "soundness"];
    run(Command::new("rustup").args(programs))
}

/// Every interleaving of each model. In a folder of its own, because the flag makes another build of all.
pub(crate) fn loom() -> Result<(), Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let test = ["test", "-p", "ublk", "--lib", "--target-dir", "target/loom", LOOM_TESTS];
    // Nobody debugs that build, and without the debug information it takes half the time.
    let environment = [("RUSTFLAGS", "--cfg loom"), ("CARGO_PROFILE_DEV_DEBUG", "0")];
    run(Command::new(cargo).envs(environment).args(test))
}

fn run(command: &mut Command) -> Result<(), Error> {
    let status = command
        .current_dir(workspace::root())
        .status()
        .map_err(|error| Error::infrastructure(format!("cannot start {command:?}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("{command:?} ended with {status}")))
}
