//! `report merge`: the parts of a run that several hosts shared, as one report with one verdict.

use std::path::{Path, PathBuf};

use reports::event::Record;
use reports::render;
use reports::report::{ExitCode, Report};

use crate::cli::MergeArgs;
use crate::error::Error;
use crate::run::Done;
use crate::task_report::load;
use crate::task_vm_e2e::show;
use crate::{environment, job_summary, workspace};

pub(crate) fn run(args: &MergeArgs) -> Result<ExitCode, Error> {
    let parts: Vec<(PathBuf, Report)> =
        load(&args.parts)?.into_iter().filter_map(|loaded| loaded.into_run()).collect();
    let reports: Vec<Report> = parts.iter().map(|(_, report)| report.clone()).collect();
    let merged = reports::merge(&reports).map_err(Error::usage)?;
    let folder = args.output.clone().unwrap_or_else(|| {
        workspace::root().join("artifacts").join(format!("merged-{}", environment::unix_ms()))
    });
    reports::write_report(&folder, &merged).map_err(Error::infrastructure)?;
    keep_records(&parts, &folder)?;
    let done = Done { report: merged, records: Vec::<Record>::new(), folder };
    show(&done, args.json)?;
    job_summary::append(&render::markdown(&done.report))?;
    Ok(done.report.exit_code())
}

/// Each part's own record: times in it are of that part, so they are not put into one.
fn keep_records(parts: &[(PathBuf, Report)], folder: &Path) -> Result<(), Error> {
    for (from, report) in parts {
        let record = from.join("events.jsonl");
        if record.is_file() {
            let name = format!("events-{}.jsonl", report.run.run_id);
            vmimage::fsio::copy(&record, &folder.join(name)).map_err(Error::infrastructure)?;
        }
    }
    Ok(())
}
