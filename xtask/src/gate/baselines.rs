//! The baseline of a gate: where it lies, whether it can hold here, and what it wants measured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reports::gate::{Baseline, Kind, Refusal};
use reports::perf::{Cell, Operation};
use vmimage::kernel::{self, KernelError, KernelSpec};

use crate::cli::{GateArgs, PerfClock};
use crate::error::Error;
use crate::prepare::{Emulator, Workshop};
use crate::workspace;

/// What is measured where no baseline says it: both doors of the driver, alone and in a crowd.
const MODES: &[&str] = &["copy", "batch"];
const CELLS: &[Cell] = &[
    Cell::new(Operation::Read, 1),
    Cell::new(Operation::Read, 32),
    Cell::new(Operation::Write, 32),
];
const IOS: u64 = 40_000;

/// What a gate measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    pub(crate) modes: BTreeSet<String>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) ios: u64,
}

/// Where the baseline is.
pub(crate) fn path(args: &GateArgs) -> PathBuf {
    let of_clock = || {
        let name = format!("{}.json", args.measure.clock.as_str());
        workspace::root().join("reports/baselines").join(name)
    };
    args.baseline.clone().unwrap_or_else(of_clock)
}

/// The baseline, where there is one; a file that is no baseline is an error all the same.
pub(crate) fn load_if_there(path: &Path) -> Result<Option<Baseline>, Error> {
    if path.exists() { load(path).map(Some) } else { Ok(None) }
}

/// The baseline.
pub(crate) fn load(path: &Path) -> Result<Baseline, Error> {
    Baseline::load(path).map_err(|refusal| Error::refused(&refusal))
}

/// What the baseline has numbers of, else the usual; the command line has the last word on I/Os.
pub(crate) fn scope(baseline: Option<&Baseline>, ios: Option<u64>) -> Scope {
    let Some(baseline) = baseline else {
        let modes = MODES.iter().map(|mode| (*mode).to_owned()).collect();
        return Scope { modes, cells: CELLS.to_vec(), ios: ios.unwrap_or(IOS) };
    };
    let ids = || baseline.metrics.iter().map(|metric| &metric.id);
    let cells: BTreeSet<Cell> =
        ids().filter(|id| id.kind == Kind::Iops).map(|id| id.cell).collect();
    Scope {
        modes: ids().map(|id| id.mode.clone()).collect(),
        cells: cells.into_iter().collect(),
        ios: ios.unwrap_or(baseline.environment.ios_per_sample),
    }
}

/// The kernel to measure on: the one that was typed, else the baseline's very own.
pub(crate) fn kernel(
    args: &GateArgs,
    baseline: Option<&Baseline>,
    workshop: &Workshop,
) -> Result<String, Error> {
    if let Some(typed) = &args.kernel {
        return Ok(typed.clone());
    }
    let Some(release) = baseline.and_then(|b| b.environment.kernel_release.as_deref()) else {
        return Ok("newest".into());
    };
    let version = version_of(release);
    let spec = KernelSpec::parse(&version).map_err(Error::usage)?;
    match kernel::resolve(workshop.archive(), &spec) {
        Ok(_) => Ok(version),
        Err(error @ (KernelError::Unknown { .. } | KernelError::NotWhole { .. })) => {
            Err(Error::inconclusive(format!(
                "not comparable: the baseline is of kernel {release}, and {error}; conclusive would be \
                 --base REVISION --kernel newest, or a baseline accepted with another kernel"
            )))
        }
        Err(error) => Err(Error::infrastructure(error)),
    }
}

/// `7.3.4` of `7.3.4+deb13-cloud-amd64`.
fn version_of(release: &str) -> String {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    release[..end].trim_end_matches('.').to_owned()
}

/// Refuses a baseline of the other clock before anything is asked of an archive.
pub(crate) fn is_of_clock(baseline: &Baseline, clock: PerfClock) -> Result<(), Error> {
    let of = &baseline.environment.clock;
    if of == clock.as_str() {
        return Ok(());
    }
    let refusal = Refusal::Clock { baseline: of.clone(), here: clock.as_str().to_owned() };
    Err(Error::refused(&refusal))
}

/// Refuses before anything is built or booted what would be refused after it anyway.
pub(crate) fn holds_here(
    baseline: &Baseline,
    clock: PerfClock,
    emulator: &Emulator,
    kernel_release: &str,
) -> Result<(), Error> {
    let mut here = baseline.environment.clone();
    here.clock = clock.as_str().to_owned();
    here.accelerator = emulator.accelerator_facts().name;
    here.qemu = emulator.qemu_facts().version;
    here.kernel_release = Some(kernel_release.to_owned());
    here.toolchain = workspace::toolchain();
    baseline.holds_in(&here).map_err(|refusal| Error::refused(&refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_names_its_version() {
        assert_eq!(version_of("7.3.4+deb13-cloud-amd64"), "7.3.4");
        assert_eq!(version_of("6.12.63"), "6.12.63");
        assert_eq!(version_of("6.18.5-1-amd64"), "6.18.5");
    }

    #[test]
    fn without_a_baseline_the_usual_is_measured() {
        let scope = scope(None, None);
        assert_eq!((scope.modes.len(), scope.cells.len(), scope.ios), (2, 3, 40_000));
    }
}
