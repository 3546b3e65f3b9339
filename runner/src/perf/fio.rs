//! fio as a process: a job file in, JSON+ out, whose histograms can be added up over samples.

use std::process::Command;

const FIO: &str = "/usr/bin/fio";
const JOB_FILE: &str = "/tmp/perf.fio";
/// What a complaint is cut to.
const COMPLAINT_BYTES_MAX: usize = 2000;

/// Runs a job file to its end. The host's deadline is the bound: a fio that hangs ends the machine.
pub(super) fn run(job: &str) -> Result<String, String> {
    std::fs::write(JOB_FILE, job).map_err(|error| format!("cannot write {JOB_FILE}: {error}"))?;
    let output = Command::new(FIO)
        .args([JOB_FILE, "--output-format=json+"])
        .output()
        .map_err(|error| format!("cannot start {FIO}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.push_str(&text);
    let kept: String = said.chars().take(COMPLAINT_BYTES_MAX).collect();
    Err(format!("fio ended with {}: {kept}", output.status))
}
