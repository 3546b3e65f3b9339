//! Makes the report out of plan and lines. Fail-closed: a visit without an answer, an answer without its
//! numbers, a number that fio itself does not stand by are errors of the run.

use std::collections::{BTreeMap, BTreeSet};

use fio_parser::Histogram;

use super::bench::{BenchPlace, BenchResult};
use super::event::{Counted, Measured, PerfEvent, PerfLine};
use super::lifecycle::Life;
use super::numbers::{jobs_of, percentiles};
use super::plan::{Cell, PerfPlan, Role, Subject, Visit};
use super::report::{
    CellResult, CountResult, DeviceFacts, HostLoad, PERF_SCHEMA_VERSION, PerfReport, SubjectResult,
};
use crate::report::{KernelHeader, RunHeader};
use crate::stats::{median, median_interval};

/// Everything the report is made of.
#[derive(Debug)]
pub struct PerfInput<'a> {
    /// Who ran what.
    pub run: &'a RunHeader,
    /// Which kernel.
    pub kernel: &'a KernelHeader,
    /// `instructions` or `wall`.
    pub clock: &'a str,
    /// CPUs of the guest.
    pub cpus: u32,
    /// I/Os in each sample.
    pub ios_per_sample: u64,
    /// Which compiler built our server.
    pub toolchain: Option<String>,
    /// How busy the host was.
    pub host_load: Option<HostLoad>,
    /// Rounds there and back, where the plan has them.
    pub mirrored_rounds: Option<u32>,
    /// The cells of each measuring visit.
    pub cells: &'a [Cell],
    /// What the guest was told to do.
    pub plan: &'a PerfPlan,
    /// The guest's lines, as they came.
    pub lines: &'a [String],
    /// Estimates of benches that ran on the host.
    pub host_benches: Vec<BenchResult>,
    /// What went wrong outside of the guest.
    pub host_errors: Vec<String>,
}

/// Samples and counts of one subject, before they are summed up.
#[derive(Debug, Default)]
struct Gathered {
    samples: BTreeMap<Cell, Vec<f64>>,
    latencies: BTreeMap<Cell, Histogram>,
    counts: Vec<CountResult>,
    idle_switches_per_s: Option<f64>,
    skipped: Option<String>,
    device: Option<DeviceFacts>,
}

/// The report of a run.
#[must_use]
pub fn fold(input: &PerfInput<'_>) -> PerfReport {
    let mut errors = input.host_errors.clone();
    let plan = input.plan;
    let mut gathered: Vec<Gathered> = plan.subjects.iter().map(|_| Gathered::default()).collect();
    let mut lives: BTreeMap<(usize, u16), Life> = BTreeMap::new();
    let Answers { visits: answers, benches } = answers(input, &mut errors);
    for (number, visit) in plan.visits.iter().enumerate() {
        let (Some(subject), Some(own)) =
            (plan.subjects.get(visit.subject), gathered.get_mut(visit.subject))
        else {
            errors.push(format!("visit {number} names subject {}, which is none", visit.subject));
            continue;
        };
        match answers.get(&number) {
            Some(PerfEvent::Skipped { probe, .. }) => own.skipped = Some(probe.clone()),
            Some(PerfEvent::Failed { reason, .. }) => {
                errors.push(format!("visit {number}, {}: {reason}", subject.id()));
            }
            Some(PerfEvent::Measured { measured, .. }) => {
                lives.entry((visit.subject, visit.depth)).or_default().take(measured);
                if visit.recover_argv.is_some() && measured.recovery_ns.is_none() {
                    errors.push(format!("visit {number}, {}: nobody took over", subject.id()));
                }
                if measured.device.is_some() {
                    own.device.clone_from(&measured.device);
                }
                if let Err(why) = take(own, input.cells, visit, subject, measured) {
                    errors.push(format!("visit {number}, {}: {why}", subject.id()));
                }
            }
            _ => errors.push(format!("visit {number}, {}: no answer", subject.id())),
        }
    }
    for (subject, own) in plan.subjects.iter().zip(&gathered) {
        // Half a comparison would look like a whole one.
        if let Some(why) = own.skipped.as_ref().filter(|_| !own.samples.is_empty()) {
            errors.push(format!("{} was skipped in some visits only: {why}", subject.id()));
        }
    }
    let medians = |own: &Gathered| -> BTreeMap<Cell, f64> {
        own.samples.iter().map(|(cell, samples)| (*cell, median(samples))).collect()
    };
    let all: Vec<(&Subject, BTreeMap<Cell, f64>)> =
        plan.subjects.iter().zip(gathered.iter().map(medians)).collect();
    let subjects = plan
        .subjects
        .iter()
        .zip(gathered)
        .map(|(subject, own)| result(subject, own, &all, input.run.seed))
        .collect();
    let start_up = lives
        .into_iter()
        .filter_map(|((subject, depth), life)| life.result(&plan.subjects[subject], depth));
    PerfReport {
        schema_version: PERF_SCHEMA_VERSION.to_owned(),
        run: input.run.clone(),
        kernel: input.kernel.clone(),
        clock: input.clock.to_owned(),
        cpus: input.cpus,
        ios_per_sample: input.ios_per_sample,
        toolchain: input.toolchain.clone(),
        host_load: input.host_load,
        mirrored_rounds: input.mirrored_rounds,
        start_up: start_up.collect(),
        subjects,
        benches: [benches, input.host_benches.clone()].concat(),
        comparisons: Vec::new(),
        errors,
    }
}

/// What the guest answered.
#[derive(Debug, Default)]
struct Answers {
    visits: BTreeMap<usize, PerfEvent>,
    benches: Vec<BenchResult>,
}

/// The one answer of each visit, and whatever is wrong with the stream itself.
fn answers(input: &PerfInput<'_>, errors: &mut Vec<String>) -> Answers {
    let mut answers = Answers::default();
    let (mut seq, mut finished, mut benched) = (0, false, BTreeSet::new());
    for text in input.lines {
        let line: PerfLine = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(error) => {
                errors.push(format!("a line of the guest cannot be read: {error}"));
                continue;
            }
        };
        if line.nonce != input.plan.nonce || line.seq != seq {
            errors.push(format!("line {} of another run, or out of order", line.seq));
            continue;
        }
        seq += 1;
        let visit = match &line.event {
            PerfEvent::Skipped { visit, .. }
            | PerfEvent::Measured { visit, .. }
            | PerfEvent::Failed { visit, .. } => *visit,
            PerfEvent::Refused { reason } => {
                errors.push(format!("the guest refused the plan: {reason}"));
                continue;
            }
            PerfEvent::Benched { bench, output } => {
                benched.insert(*bench);
                match BenchResult::parse(output, BenchPlace::Guest) {
                    Ok(found) => answers.benches.extend(found),
                    Err(why) => errors.push(format!("bench {bench}: {why}")),
                }
                continue;
            }
            PerfEvent::BenchFailed { bench, reason } => {
                benched.insert(*bench);
                errors.push(format!("bench {bench}: {reason}"));
                continue;
            }
            PerfEvent::Finished => {
                finished = true;
                continue;
            }
            PerfEvent::Ready { .. } | PerfEvent::Started { .. } => continue,
        };
        if answers.visits.insert(visit, line.event).is_some() {
            errors.push(format!("visit {visit} was answered twice"));
        }
    }
    for bench in (0..input.plan.benches.len()).filter(|bench| !benched.contains(bench)) {
        errors.push(format!("bench {bench}: no answer"));
    }
    if !finished {
        errors.push("the guest did not say that it is finished".into());
    }
    answers
}

/// Puts the numbers of one visit to the others of its subject.
fn take(
    own: &mut Gathered,
    cells: &[Cell],
    visit: &Visit,
    subject: &Subject,
    measured: &Measured,
) -> Result<(), String> {
    if visit.job_file.is_some() {
        let text = measured.fio.as_deref().ok_or("fio printed nothing")?;
        let jobs = jobs_of(text)?;
        for cell in cells {
            let name = cell.name();
            let job = jobs.get(&name).ok_or(format!("fio reports no job {name}"))?;
            own.samples.entry(*cell).or_default().push(job.iops);
            own.latencies.entry(*cell).or_default().merge(&job.latency);
        }
    }
    let Some(request) = &visit.count else { return Ok(()) };
    let idle = measured.idle_switches;
    own.idle_switches_per_s =
        idle.map(|switches| switches as f64 * 1000.0 / request.idle_ms.max(1) as f64);
    for (cell, _) in &request.jobs {
        let counted = measured.counted.iter().find(|counted| counted.cell == Some(*cell));
        let counted = counted.ok_or(format!("{} was not counted", cell.name()))?;
        own.counts.push(per_io(*cell, counted)?);
    }
    if subject.role != Role::Limit && idle.is_none() {
        return Err("the idle server was not watched".into());
    }
    Ok(())
}

fn per_io(cell: Cell, counted: &Counted) -> Result<CountResult, String> {
    let ios: u64 = jobs_of(&counted.fio)?.values().map(|job| job.ios).sum();
    if ios == 0 || counted.syscalls == 0 {
        // A server that made no system call was not seen, not thrifty.
        return Err(format!("{}: {ios} I/Os, {} system calls", cell.name(), counted.syscalls));
    }
    let per_io = |count: u64| count as f64 / ios as f64;
    let mut result = CountResult {
        cell,
        ios,
        enters_per_io: per_io(counted.enters),
        syscalls_per_io: per_io(counted.syscalls),
        switches_per_io: per_io(counted.voluntary_switches + counted.involuntary_switches),
        futexes: counted.futexes,
        allocations: counted.allocations,
        server_ns_per_io: None,
        client_ns_per_io: None,
    };
    if let Some(untraced) = &counted.untraced {
        let jobs = jobs_of(&untraced.fio)?;
        let ios: u64 = jobs.values().map(|job| job.ios).sum();
        if ios == 0 || untraced.server_cpu_ns == 0 {
            let cpu_ns = untraced.server_cpu_ns;
            return Err(format!("{}: {ios} I/Os, {cpu_ns} ns of the server", cell.name()));
        }
        let client_ns: Option<f64> = jobs.values().map(|job| job.cpu_ns).sum();
        result.server_ns_per_io = Some(untraced.server_cpu_ns as f64 / ios as f64);
        result.client_ns_per_io = client_ns.map(|sum| sum / ios as f64);
    }
    Ok(result)
}

fn result(
    subject: &Subject,
    own: Gathered,
    all: &[(&Subject, BTreeMap<Cell, f64>)],
    seed: u64,
) -> SubjectResult {
    let reference = |cell: &Cell| -> Option<f64> {
        let of_mode = |mode: &str| {
            let found = all.iter().find(|(s, medians)| {
                s.role == Role::Reference && s.mode == mode && medians.contains_key(cell)
            });
            found.and_then(|(_, medians)| medians.get(cell).copied())
        };
        of_mode(&subject.mode).or_else(|| of_mode("copy"))
    };
    let latencies = own.latencies;
    let cells = own.samples.into_iter().map(|(cell, samples_iops)| {
        let median_iops = median(&samples_iops);
        CellResult {
            cell,
            median_iops,
            interval_iops: median_interval(&samples_iops, seed),
            latency: latencies.get(&cell).map(percentiles).unwrap_or_default(),
            cost_ns_per_io: 1e9 / median_iops,
            ratio: reference(&cell).map(|reference| median_iops / reference),
            samples_iops,
        }
    });
    SubjectResult {
        name: subject.name.clone(),
        mode: subject.mode.clone(),
        role: subject.role,
        skipped: own.skipped,
        target: subject.target.clone(),
        version: None,
        note: None,
        device: own.device,
        cells: cells.collect(),
        counts: own.counts,
        idle_switches_per_s: own.idle_switches_per_s,
    }
}
