//! The order of a run. Every repetition visits every subject once, in an order of its own, and measures the
//! cells in an order of its own: whatever changes in the guest over time changes for all alike.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use reports::perf::{
    Cell, CountRequest, JobError, Launch, Operation, PERF_PROTOCOL_VERSION, PerfPlan, Subject,
    Visit, job_file,
};

use super::subjects::DEPTH;

/// I/Os before the first that counts; a device is slow until its memory is there.
const WARM_UP_IOS: u64 = 4000;
/// How long an idle server is watched, in guest time.
const IDLE_MS: u64 = 10_000;
/// Depths of the start-up table.
const START_DEPTHS: &[u16] = &[1, 32, 128, 1024];

/// What a run is to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) repetitions: u32,
    pub(crate) ios: u64,
    pub(crate) count: bool,
    pub(crate) start_up: bool,
    pub(crate) seed: u64,
}

/// The cells of the table: random reads and writes, a few depths.
pub(crate) fn cells(depths: &[u16], jobs: u16) -> Vec<Cell> {
    let both = [Operation::Read, Operation::Write];
    both.into_iter()
        .flat_map(|operation| {
            depths.iter().map(move |&depth| Cell { jobs, ..Cell::new(operation, depth) })
        })
        .collect()
}

/// Lays out all visits.
pub(crate) fn plan(
    subjects: Vec<Subject>,
    cells: &[Cell],
    extent: &Extent,
    nonce: String,
) -> Result<PerfPlan, JobError> {
    let mut random = StdRng::seed_from_u64(extent.seed);
    let mut visits = Vec::new();
    let numbers: Vec<usize> = (0..subjects.len()).collect();
    for _ in 0..extent.repetitions {
        let mut order = numbers.clone();
        order.shuffle(&mut random);
        for subject in order {
            let mut cells = cells.to_vec();
            cells.shuffle(&mut random);
            let device = &subjects[subject].device;
            let job_file = Some(job_file(device, &cells, extent.ios, WARM_UP_IOS)?);
            visits.push(Visit { job_file, ..plain(&subjects, subject, DEPTH) });
        }
    }
    let servers = || {
        let is_server =
            |number: &&usize| matches!(subjects[**number].launch, Launch::Server { .. });
        numbers.iter().filter(is_server).copied()
    };
    if extent.count {
        for subject in servers() {
            let count = Some(count_request(&subjects[subject].device, cells, extent.ios)?);
            visits.push(Visit { count, ..plain(&subjects, subject, DEPTH) });
        }
    }
    if extent.start_up {
        for subject in servers().filter(|&number| subjects[number].mode == "copy") {
            for &depth in START_DEPTHS {
                visits.push(plain(&subjects, subject, depth));
            }
        }
    }
    let protocol_version = PERF_PROTOCOL_VERSION;
    Ok(PerfPlan { protocol_version, nonce, subjects, visits })
}

fn plain(subjects: &[Subject], subject: usize, depth: u16) -> Visit {
    let server = matches!(subjects[subject].launch, Launch::Server { .. });
    let extra_argv = if server { vec![depth.to_string()] } else { Vec::new() };
    Visit { subject, extra_argv, job_file: None, count: None, depth }
}

/// Reads are enough to count: a write's system calls are the same.
fn count_request(device: &str, cells: &[Cell], ios: u64) -> Result<CountRequest, JobError> {
    let reads = cells.iter().filter(|cell| cell.operation == Operation::Read);
    let jobs = reads
        .map(|cell| Ok((*cell, job_file(device, &[*cell], ios / 4, 0)?)))
        .collect::<Result<Vec<_>, JobError>>()?;
    Ok(CountRequest { jobs, idle_ms: IDLE_MS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::subjects::{Programs, all};

    #[test]
    fn every_repetition_measures_every_subject_once() {
        let own = std::env::current_exe().unwrap();
        let subjects = all(&Programs { ublk: own, ..Programs::default() }, 1);
        let count = subjects.len();
        let is_server = |subject: &&Subject| matches!(subject.launch, Launch::Server { .. });
        let servers = subjects.iter().filter(is_server).count();
        let extent = Extent { repetitions: 3, ios: 40_000, count: true, start_up: true, seed: 7 };
        let plan = plan(subjects, &cells(&[1, 32], 1), &extent, "n".into()).unwrap();
        for repetition in 0..3 {
            let visits = &plan.visits[repetition * count..(repetition + 1) * count];
            let mut seen: Vec<usize> = visits.iter().map(|visit| visit.subject).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
            assert!(visits.iter().all(|visit| visit.job_file.is_some()));
        }
        let rest = &plan.visits[3 * count..];
        assert_eq!(rest.iter().filter(|visit| visit.count.is_some()).count(), servers);
        assert_eq!(rest.len(), servers + START_DEPTHS.len());
    }
}
