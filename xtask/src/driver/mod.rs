//! From a run's records to the driver's coverage: counters out of the guest's lines, added up, read by gcov.

mod counters;
mod rows;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use counters::Counters;
use reports::driver::{DriverCoverage, Line, parse, shares};
use reports::event::{GuestEvent, GuestLine, Seen};
use vmimage::command;
use vmimage::kernel::DriverNotes;

use crate::error::Error;
use crate::run::Done;

/// The driver's source, as gcov names it at the end of a path.
const SOURCE: &str = "drivers/block/ublk_drv.c";
/// gcov reads one object; a second.
const GCOV_LIMIT: Duration = Duration::from_secs(60);
/// More than the counters of any driver.
const COUNTERS_BYTES_MAX: usize = 16 << 20;

/// The coverage of a run on a kernel whose notes these are.
pub(crate) fn coverage(done: &Done, notes: &DriverNotes) -> Result<DriverCoverage, Error> {
    let counters = counters_of(done)?;
    let Some(sum) = rows::sum(counters.values())? else {
        return Err(Error::failed(
            "no counters came out of the guest: name a kernel built with gcov",
        ));
    };
    let detail = lines_of(notes, &sum)?;
    let source = vmimage::fsio::sha256_file(&notes.source).map_err(Error::infrastructure)?;
    let known = source == scenarios::errno::SOURCE_SHA256;
    let claims =
        known.then(|| rows::claims(done, &counters, |sum| lines_of(notes, sum))).transpose()?;
    let (lines, branches) = shares(&detail);
    let planned = done.report.scenarios().map(|(_, scenario)| scenario.id.clone());
    Ok(DriverCoverage {
        kernel: done.report.kernels.first().map(|k| k.kernel.clone()).unwrap_or_default(),
        run_id: done.report.run.run_id.clone(),
        scenarios_counted: u32::try_from(counters.len()).unwrap_or(u32::MAX),
        scenarios_lost: planned.filter(|id| !counters.contains_key(id)).collect(),
        duration_ms: done.report.duration_ms,
        lines,
        branches,
        claims,
        detail,
    })
}

/// The counters of each scenario, of all boots in which it ran.
fn counters_of(done: &Done) -> Result<BTreeMap<String, Counters>, Error> {
    let mut found: BTreeMap<String, Counters> = BTreeMap::new();
    for record in &done.records {
        let Seen::Line { text } = &record.seen else { continue };
        // A line that does not parse is the fold's finding.
        let event = serde_json::from_str::<GuestLine>(text).map(|line| line.event);
        let Ok(GuestEvent::Counters { id, gcda }) = event else { continue };
        let one = decode(&gcda)?;
        match found.get_mut(&id) {
            Some(sum) => sum.add(&one).map_err(Error::failed)?,
            None => drop(found.insert(id, one)),
        }
    }
    Ok(found)
}

fn lines_of(notes: &DriverNotes, counters: &Counters) -> Result<Vec<Line>, Error> {
    parse(&gcov(notes, counters)?, SOURCE).map_err(Error::infrastructure)
}

fn decode(gcda: &str) -> Result<Counters, Error> {
    let broken = |error: &dyn std::fmt::Display| {
        Error::failed(format!("the guest's counters cannot be unpacked: {error}"))
    };
    let packed = BASE64_STANDARD.decode(gcda).map_err(|error| broken(&error))?;
    let bytes = miniz_oxide::inflate::decompress_to_vec_with_limit(&packed, COUNTERS_BYTES_MAX)
        .map_err(|error| broken(&error))?;
    Counters::parse(bytes).map_err(Error::failed)
}

/// gcov's answer about the driver, as JSON. gcov wants notes and counters beside each other, under one name.
fn gcov(notes: &DriverNotes, counters: &Counters) -> Result<String, Error> {
    let folder = tempfile::tempdir().map_err(Error::infrastructure)?;
    let at = |name: &str| folder.path().join(name);
    vmimage::fsio::copy(&notes.gcno, &at("driver.gcno")).map_err(Error::infrastructure)?;
    vmimage::fsio::write(&at("driver.gcda"), counters.bytes()).map_err(Error::infrastructure)?;
    let mut gcov = Command::new("gcov");
    gcov.args(["--json-format", "--stdout", "--branch-probabilities", "driver.gcda"]);
    gcov.current_dir(folder.path()).env("LC_ALL", "C.UTF-8");
    let done = command::run(&mut gcov, GCOV_LIMIT).map_err(|error| {
        Error::infrastructure(format!("{error}: gcov comes with gcc: apt-get install gcc"))
    })?;
    if done.status.success() && !done.stdout.is_empty() {
        return Ok(done.stdout);
    }
    let reason = done.stderr.lines().next().unwrap_or("it said nothing").to_owned();
    Err(Error::infrastructure(format!("gcov cannot read the driver's counters: {reason}")))
}

/// Writes `coverage.json` and `coverage.html` beside the report.
pub(crate) fn write(
    folder: &Path,
    coverage: &DriverCoverage,
    notes: &DriverNotes,
) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(coverage).map_err(Error::infrastructure)?;
    vmimage::fsio::write(&folder.join("coverage.json"), &json).map_err(Error::infrastructure)?;
    let source = vmimage::fsio::read_text(&notes.source).map_err(Error::infrastructure)?;
    let page = reports::html::driver_page(coverage, &source);
    vmimage::fsio::write(&folder.join("coverage.html"), page.as_bytes())
        .map_err(Error::infrastructure)
}
