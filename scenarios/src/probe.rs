//! Questions to the running kernel that decide whether a scenario can run here.
//!
//! A skip is decided by one of these and by nothing else, and its answer is printed: a version number
//! says what somebody believed, a probe says what is so.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::context::{Context, During, Stop};

/// The image's folder of modules.
const MODULES: &str = "/modules";

/// For each module that is not loaded at boot: its name and the files to load, in order. Written by the
/// image builder.
const MODULES_ON_DEMAND: &str = "/modules/on-demand";

/// Loads the module `name` with what it depends on; `parameters` go to the module itself. A module that is
/// built into the kernel is there already.
///
/// # Errors
/// [`Stop::Skip`] with the probe when the image does not have the module; [`Stop::Error`] when it has
/// and it cannot be loaded.
pub fn load_module(name: &str, parameters: &str) -> Result<(), Stop> {
    if Path::new("/sys/module").join(name).exists() {
        return Ok(());
    }
    // Only the image has a folder for modules; on another machine they are its owner's to load.
    if !Path::new(MODULES).exists() {
        return Err(Stop::skip(format_args!("module {name}"), "not loaded"));
    }
    let list =
        fs::read_to_string(MODULES_ON_DEMAND).during(format_args!("read {MODULES_ON_DEMAND}"))?;
    let Some(files) = list.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    else {
        return Err(Stop::skip(format_args!("module {name}"), "neither loaded nor in the image"));
    };
    let files: Vec<&str> = files.split_whitespace().collect();
    for (number, path) in files.iter().enumerate() {
        let given = if number + 1 == files.len() { parameters } else { "" };
        let given = std::ffi::CString::new(given).during("spell module parameters")?;
        let file = fs::File::open(path).during(format_args!("open {path}"))?;
        match nix::kmod::finit_module(&file, &given, nix::kmod::ModuleInitFlags::empty()) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(Stop::error(format_args!("failed to load {path}: {error}"))),
        }
    }
    Ok(())
}

/// Skips unless the program `path` is in the image.
///
/// # Errors
/// [`Stop::Skip`] when it is not.
pub fn program(path: &str) -> Result<(), Stop> {
    if Path::new(path).exists() {
        Ok(())
    } else {
        Err(Stop::skip(format_args!("program {path}"), "not in the guest image"))
    }
}

/// Runs a program of the image and keeps its output as evidence when it fails.
///
/// # Errors
/// [`Stop::Error`] when it cannot be started; [`Stop::Fail`] when it exits with another code than 0.
pub fn run(context: &mut Context, program: &str, arguments: &[&str]) -> Result<String, Stop> {
    let output =
        Command::new(program).args(arguments).output().during(format_args!("start {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let both = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    context.evidence("program-output", &both);
    Err(Stop::fail(
        reports::event::FailureKind::Operation,
        format_args!(
            "{program} {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            both.lines().last().unwrap_or("no output")
        ),
    ))
}
