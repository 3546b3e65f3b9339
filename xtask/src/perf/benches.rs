//! The criterion benches: one program, run in the guest, where it counts instructions and has a control
//! device, and on the host, where the CPU is a real one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reports::perf::{BenchPlace, BenchRequest, BenchResult};
use vmimage::initramfs::Content;
use vmimage::userland::GuestFile;

use crate::error::Error;
use crate::workspace;

const GUEST: &str = "/opt/perf/benches";
/// Under the instruction clock a sample is as good as another, and each second costs ten.
const IN_GUEST: &str = "--bench --output-format bencher --discard-baseline --noplot \
                        --warm-up-time 0.02 --measurement-time 0.1 --sample-size 10";
const ON_HOST: &str = "--bench --output-format bencher --discard-baseline --noplot \
                       --warm-up-time 0.5 --measurement-time 2 --sample-size 50";

/// Builds the program, as `ublk` is built that is measured.
pub(crate) fn build() -> Result<PathBuf, Error> {
    workspace::build_measured_benches()
}

/// The program as a file of the guest.
pub(crate) fn guest_file(program: &Path) -> GuestFile {
    let content = Content::Path(program.to_owned());
    GuestFile { guest: GUEST.to_owned(), content, mode: 0o755 }
}

/// What the guest is told to run.
pub(crate) fn in_guest() -> BenchRequest {
    BenchRequest { program: GUEST.to_owned(), arguments: words(IN_GUEST) }
}

/// Runs it here.
pub(crate) fn on_host(program: &Path) -> Result<Vec<BenchResult>, String> {
    let folder = program.parent().unwrap_or(Path::new("."));
    let output = Command::new(program)
        .args(words(ON_HOST))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start the benches: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("no reason");
        return Err(format!("the benches ended with {} on the host: {first}", output.status));
    }
    BenchResult::parse(&String::from_utf8_lossy(&output.stdout), BenchPlace::Host)
        .map_err(|why| format!("the benches on the host: {why}"))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
