//! The fio job file of a visit, made from the template in `benches/fio`.
//!
//! All cells of a visit are sections of one file: fio's own start costs as much as a thousand I/Os, and a
//! device must be warm before its first number counts.

use fio_parser::{JobFile, JobFileError, Section};

use super::plan::{BLOCK_BYTES, Cell, Operation};

/// What every job has in common: block size, engine, range.
const TEMPLATE: &str = include_str!("../../../benches/fio/perf-4k.fio");
/// Name of the job whose numbers nobody looks at.
pub const WARM_UP: &str = "warm-up";

/// Why there is no job file.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the fio job file: {0}; look at benches/fio/perf-4k.fio")]
pub struct JobError(#[from] JobFileError);

/// A job file for `device` that does `ios` I/Os in each cell, in that order and one after another, and
/// `warm_up_ios` in both directions before them, unless that is 0.
///
/// # Errors
/// [`JobError`] when the template or a name is not what fio would read.
pub fn job_file(
    device: &str,
    cells: &[Cell],
    ios: u64,
    warm_up_ios: u64,
) -> Result<String, JobError> {
    let template = JobFile::parse(TEMPLATE)?;
    let mut file = JobFile::new();
    for section in template.sections() {
        let section = if section.is_global() {
            section.clone().set("filename", device)?
        } else {
            section.clone()
        };
        file = file.with(section);
    }
    if warm_up_ios > 0 {
        let warm_up = Section::job(WARM_UP)?
            .set("rw", "randrw")?
            .set("iodepth", 128)?
            .set("io_size", warm_up_ios * u64::from(BLOCK_BYTES))?;
        file = file.with(warm_up);
    }
    for cell in cells {
        file = file.with(section(cell, ios)?);
    }
    Ok(file.render())
}

fn section(cell: &Cell, ios: u64) -> Result<Section, JobError> {
    let rw = match cell.operation {
        Operation::Read => "randread",
        Operation::Write => "randwrite",
    };
    let jobs = cell.jobs.max(1);
    let section = Section::job(cell.name())?
        .flag("stonewall")?
        .set("rw", rw)?
        .set("bs", cell.block_bytes)?
        .set("iodepth", (cell.depth / jobs).max(1))?
        .set("io_size", ios / u64::from(jobs) * u64::from(cell.block_bytes))?;
    if jobs == 1 {
        return Ok(section);
    }
    // One job a CPU, so that each feeds a queue of its own.
    let section = section.set("numjobs", jobs)?.set("cpus_allowed", format!("0-{}", jobs - 1))?;
    Ok(section.set("cpus_allowed_policy", "split")?.flag("group_reporting")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_file_warms_up_and_then_measures_one_cell_at_a_time() {
        let read = Cell::new(Operation::Read, 32);
        let write = Cell { jobs: 4, ..Cell::new(Operation::Write, 128) };
        let text = job_file("/dev/ublkb1", &[read, write], 40_000, 1000).unwrap();
        let file = JobFile::parse(&text).unwrap();
        let names: Vec<_> = file.sections().iter().map(Section::name).collect();
        assert_eq!(names, ["global", "warm-up", "read-qd32", "write-qd128-jobs4"]);
        assert!(text.contains("filename=/dev/ublkb1"), "{text}");
        assert!(text.contains("io_size=163840000"), "{text}");
        assert!(text.contains("bs=4096\niodepth=32\nio_size=40960000\nnumjobs=4"), "{text}");
        assert_eq!(text.matches("stonewall").count(), 2);
    }
}
