//! The order of a run. Every repetition visits every subject once, in an order of its own, and measures the
//! cells in an order of its own: whatever changes in the guest over time changes for all alike.
//!
//! Where time is the host's that is not enough, for a host drifts: there each round goes through the
//! subjects of a mode there and back, so that a drift takes from each as much as it gives.

use std::collections::BTreeSet;

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

/// In which order subjects are visited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Everybody once a repetition, in an order of its own.
    Shuffled { repetitions: u32 },
    /// The subjects of a mode there and back: `A B C C B A`.
    Mirrored { rounds: u32 },
}

/// What a run is to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) order: Order,
    pub(crate) ios: u64,
    pub(crate) count: bool,
    pub(crate) start_up: bool,
    pub(crate) recovery: bool,
    pub(crate) seed: u64,
}

/// The cells of the table: random reads and writes, of a few lengths, at a few depths.
pub(crate) fn cells(depths: &[u16], block_bytes: &[u32], jobs: u16) -> Vec<Cell> {
    let mut cells = Vec::new();
    for operation in [Operation::Read, Operation::Write] {
        for &block_bytes in block_bytes {
            let of = |&depth: &u16| Cell { jobs, block_bytes, ..Cell::new(operation, depth) };
            cells.extend(depths.iter().map(of));
        }
    }
    cells
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
    for subject in order(&subjects, extent.order, &mut random) {
        let mut cells = cells.to_vec();
        cells.shuffle(&mut random);
        let device = &subjects[subject].device;
        let job_file = Some(job_file(device, &cells, extent.ios, WARM_UP_IOS)?);
        visits.push(Visit { job_file, ..plain(&subjects, subject, DEPTH) });
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
    if extent.recovery {
        for subject in servers().filter(|&number| subjects[number].mode == "copy") {
            visits.extend(recovery(&subjects, subject));
        }
    }
    let protocol_version = PERF_PROTOCOL_VERSION;
    Ok(PerfPlan { protocol_version, nonce, subjects, visits, benches: Vec::new() })
}

/// Whom each measuring visit is to.
fn order(subjects: &[Subject], order: Order, random: &mut StdRng) -> Vec<usize> {
    let mut visits = Vec::new();
    match order {
        Order::Shuffled { repetitions } => {
            for _ in 0..repetitions {
                let mut all: Vec<usize> = (0..subjects.len()).collect();
                all.shuffle(random);
                visits.extend(all);
            }
        }
        Order::Mirrored { rounds } => {
            let modes: BTreeSet<&str> = subjects.iter().map(|s| s.mode.as_str()).collect();
            let mut modes: Vec<&str> = modes.into_iter().collect();
            for _ in 0..rounds {
                modes.shuffle(random);
                for mode in &modes {
                    let of_mode = |number: &usize| subjects[*number].mode == *mode;
                    let mut there: Vec<usize> = (0..subjects.len()).filter(of_mode).collect();
                    there.shuffle(random);
                    visits.extend(there.iter().copied());
                    visits.extend(there.iter().rev().copied());
                }
            }
        }
    }
    visits
}

fn plain(subjects: &[Subject], subject: usize, depth: u16) -> Visit {
    let server = matches!(subjects[subject].launch, Launch::Server { .. });
    let extra_argv = if server { vec![depth.to_string()] } else { Vec::new() };
    Visit { subject, extra_argv, job_file: None, count: None, depth, recover_argv: None }
}

/// A visit whose server is killed and replaced; none where nobody knows how to ask for that.
fn recovery(subjects: &[Subject], subject: usize) -> Option<Visit> {
    let recovery = super::subjects::recovery(&subjects[subject])?;
    let mut visit = plain(subjects, subject, DEPTH);
    visit.extra_argv.extend(recovery.add);
    visit.recover_argv = Some(recovery.take_over);
    Some(visit)
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
    use crate::cli::PerfTarget;
    use crate::perf::subjects::{Programs, all};

    #[test]
    fn every_repetition_measures_every_subject_once() {
        let own = std::env::current_exe().unwrap();
        let subjects = all(&Programs { ublk: own, ..Programs::default() }, &[PerfTarget::Null], 1);
        let count = subjects.len();
        let is_server = |subject: &&Subject| matches!(subject.launch, Launch::Server { .. });
        let servers = subjects.iter().filter(is_server).count();
        let extent = Extent {
            order: Order::Shuffled { repetitions: 3 },
            ios: 40_000,
            count: true,
            start_up: true,
            recovery: true,
            seed: 7,
        };
        let plan = plan(subjects, &cells(&[1, 32], &[4096], 1), &extent, "n".into()).unwrap();
        for repetition in 0..3 {
            let visits = &plan.visits[repetition * count..(repetition + 1) * count];
            let mut seen: Vec<usize> = visits.iter().map(|visit| visit.subject).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
            assert!(visits.iter().all(|visit| visit.job_file.is_some()));
        }
        let rest = &plan.visits[3 * count..];
        assert_eq!(rest.iter().filter(|visit| visit.count.is_some()).count(), servers);
        let killed = rest.iter().filter(|visit| visit.recover_argv.is_some()).count();
        assert_eq!((rest.len(), killed), (servers + START_DEPTHS.len() + 1, 1));
    }

    #[test]
    fn a_mirrored_round_is_the_same_read_backwards() {
        let own = std::env::current_exe().unwrap();
        let programs = Programs { ublk: own.clone(), base: Some(own), ..Programs::default() };
        let mut subjects = all(&programs, &[PerfTarget::Null], 1);
        subjects.retain(|subject| subject.mode == "copy" || subject.mode == "batch");
        assert_eq!(subjects.len(), 6, "ours, base and control in two modes");
        let extent = Extent {
            order: Order::Mirrored { rounds: 2 },
            ios: 1000,
            count: false,
            start_up: false,
            recovery: false,
            seed: 7,
        };
        let plan = plan(subjects, &cells(&[1], &[4096], 1), &extent, "n".into()).unwrap();
        assert_eq!(plan.visits.len(), 2 * 2 * 6);
        for round in plan.visits.chunks(6) {
            let there: Vec<usize> = round.iter().map(|visit| visit.subject).collect();
            let back: Vec<usize> = there.iter().rev().copied().collect();
            assert_eq!(there, back);
            let mode = |visit: &Visit| plan.subjects[visit.subject].mode.clone();
            assert!(round.iter().all(|visit| mode(visit) == mode(&round[0])));
        }
    }
}
