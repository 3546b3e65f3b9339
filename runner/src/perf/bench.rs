//! A program of criterion benches as a process: its estimates are on its standard output.

use std::process::{Command, Stdio};

use reports::perf::BenchRequest;

/// Criterion keeps files of its own beside where it runs.
const FOLDER: &str = "/tmp";
/// What a complaint is cut to.
const COMPLAINT_BYTES_MAX: usize = 2000;

/// Runs the program to its end. The host's deadline is the bound, as for fio.
pub(super) fn run(request: &BenchRequest) -> Result<String, String> {
    let program = &request.program;
    let output = Command::new(program)
        .args(&request.arguments)
        .current_dir(FOLDER)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let kept: String = said.chars().take(COMPLAINT_BYTES_MAX).collect();
    Err(format!("{program} ended with {}: {}", output.status, kept.trim()))
}
