//! A run: kernels are prepared one after another, their plans are done by machines side by side, one fold
//! at the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use rand::Rng;
use reports::budget::Budgets;
use reports::event::Record;
use reports::plan::{DebugOptions, Expectation, PlannedScenario};
use reports::report::{ExitCode, KernelHeader, Report, RunHeader};
use reports::{KernelInput, Partition, Recorder, RunInput, fold};
use scenarios::kernel::KernelRelease;
use scenarios::kselftest::Selftest;

use crate::cli::{MachineArgs, SourceArgs};
use crate::error::Error;
use crate::prepare::Workshop;
use crate::progress::Terminal;
use crate::servers::Server;
use crate::shard::{Floor, Shard, Tally, deal, default_jobs};
use crate::{environment, interrupt, workspace};

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) kernels: Vec<String>,
    pub(crate) scenarios: Vec<&'static scenarios::Scenario>,
    /// Scripts to run after them; their image needs an [`Outfit`](crate::prepare::Outfit).
    pub(crate) selftests: &'a [Selftest],
    pub(crate) seed: Option<u64>,
    /// The cells that are done here, where several hosts share the run; none is all.
    pub(crate) partition: Option<Partition>,
    pub(crate) debug: DebugOptions,
    /// For the model's scenarios: `scenarios::model::Input` as JSON.
    pub(crate) model_input: Option<String>,
    /// Whose server the server family is asked of; its programs are in the workshop's images already.
    pub(crate) server: Option<&'a Server>,
    pub(crate) output: Option<&'a Path>,
    /// Machines at once; none chooses by the host's CPUs and free memory.
    pub(crate) jobs: Option<usize>,
    /// Stops at the first red scenario; what is left is not run, as after an interruption.
    pub(crate) until_red: bool,
    pub(crate) machine: &'a MachineArgs,
    pub(crate) sources: &'a SourceArgs,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) report: Report,
    /// What it was folded from.
    pub(crate) records: Vec<Record>,
    pub(crate) folder: PathBuf,
}

/// What else a run of many kernels wants.
#[derive(Clone, Copy, Default)]
pub(crate) struct Many<'a> {
    /// Whether a kernel that there is none of is an error of its own, and the others are still run.
    pub(crate) goes_on: bool,
    /// Given the report of each kernel alone, as soon as its last machine is done.
    pub(crate) finished: Option<&'a (dyn Fn(&Report) + Sync)>,
}

/// Runs the whole request. An error means that there is not even a report.
pub(crate) fn run(request: &Request<'_>, progress: &Arc<Terminal>) -> Result<Done, Error> {
    let mut workshop = Workshop::open(request.sources, request.machine.arch, progress)?;
    run_in(&mut workshop, request, progress)
}

/// The same in a workshop that is open already, with an outfit of its own maybe.
pub(crate) fn run_in(
    workshop: &mut Workshop,
    request: &Request<'_>,
    progress: &Arc<Terminal>,
) -> Result<Done, Error> {
    run_many(workshop, request, Many::default(), progress)
}

/// The same for a run of many kernels.
pub(crate) fn run_many(
    workshop: &mut Workshop,
    request: &Request<'_>,
    many: Many<'_>,
    progress: &Arc<Terminal>,
) -> Result<Done, Error> {
    let started_at_unix_ms = environment::unix_ms();
    let run_id = format!("run-{started_at_unix_ms}");
    let folder = match request.output {
        Some(path) => path.to_owned(),
        None => workspace::root().join("artifacts").join(&run_id),
    };
    for typed in &request.kernels {
        match workshop.resolve(typed) {
            // Preparing it says so once more, in the report.
            Err(error) if many.goes_on && error.code != ExitCode::Usage => drop(error),
            resolved => drop(resolved?),
        }
    }
    let emulator = workshop.emulator(request.machine.accel)?;
    std::fs::create_dir_all(&folder).map_err(|error| {
        Error::infrastructure(format!("cannot make {}: {error}", folder.display()))
    })?;
    progress.line(&format!(
        "QEMU {} ({}), {}: {}",
        emulator.program.version, emulator.program.origin, emulator.accelerator, emulator.reason
    ));
    let seed = request.seed.unwrap_or_else(|| rand::rng().random());
    let recorder = Recorder::create(&folder).map_err(Error::infrastructure)?;
    let floor = Floor {
        emulator: &emulator,
        machine: request.machine,
        debug: &request.debug,
        model_input: request.model_input.as_deref(),
        server: request.server.map(Server::input),
        seed,
        folder: &folder,
        recorder: &recorder,
        progress,
        until_red: request.until_red,
        red: AtomicBool::new(false),
    };
    let (commit, dirty) = workspace::commit();
    let header = RunHeader {
        run_id,
        seed,
        commit: Some(commit).filter(|commit| commit != "unknown"),
        dirty,
        started_at_unix_ms,
        command_line: std::env::args().collect(),
        partition: request.partition,
        server: request.server.map(|server| server.facts.clone()),
        accelerator: emulator.accelerator_facts(),
        qemu: emulator.qemu_facts(),
        host: environment::host(),
    };
    let (kernels, host_errors) = run_kernels(workshop, request, &floor, &header, many);
    let records = recorder.finish();
    let report = fold(&RunInput {
        run: &header,
        kernels: &kernels,
        records: &records,
        host_errors: &host_errors,
        interrupted: interrupt::requested(),
    });
    reports::write_all(&folder, &report, &records).map_err(Error::infrastructure)?;
    progress.clear();
    Ok(Done { report, records, folder })
}

/// Prepares each kernel and has its shards worked on meanwhile. The plans, and what broke on the way.
fn run_kernels(
    workshop: &mut Workshop,
    request: &Request<'_>,
    floor: &Floor<'_>,
    run: &RunHeader,
    many: Many<'_>,
) -> (Vec<KernelInput>, Vec<String>) {
    let jobs = request.jobs.unwrap_or_else(|| {
        default_jobs(environment::cpus(), environment::available_mib(), request.machine.memory_mib)
    });
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    let kernels = Mutex::new(Vec::new());
    let mut host_errors = Vec::new();
    let finished = |index: u32| {
        let kernels = kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(tell), Some(input)) = (many.finished, kernels.get(index as usize)) {
            tell(&alone(run, input, index, floor.recorder));
        }
    };
    std::thread::scope(|scope| {
        let work = || floor.work(&receiver, &finished);
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for (index, typed) in (0..).zip(&request.kernels) {
            let (input, shards) = if interrupt::requested() {
                // What nobody got to is in the report as not run.
                (unprepared(request, floor, typed, None), Vec::new())
            } else {
                prepare(workshop, request, floor, typed, index, jobs)
            };
            kernels.lock().unwrap_or_else(PoisonError::into_inner).push(input);
            if shards.is_empty() {
                finished(index);
            }
            // The workers outlive the sender, so nothing is lost here.
            shards.into_iter().for_each(|shard| drop(sender.send(shard)));
        }
        drop(sender);
        for worker in workers {
            if worker.join().is_err() {
                host_errors.push("a thread that watched a machine panicked".to_owned());
            }
        }
    });
    (kernels.into_inner().unwrap_or_else(PoisonError::into_inner), host_errors)
}

/// What follows for one kernel, as if the run had no other.
fn alone(run: &RunHeader, input: &KernelInput, index: u32, recorder: &Recorder) -> Report {
    let own: Vec<Record> = recorder.of_kernel(index, |own| {
        own.iter().map(|record| Record { kernel: 0, ..(*record).clone() }).collect()
    });
    fold(&RunInput {
        run,
        kernels: std::slice::from_ref(input),
        records: &own,
        host_errors: &[],
        interrupted: interrupt::requested(),
    })
}

/// A kernel that is not booted, because of `setup_error` or because nobody got to it.
fn unprepared(
    request: &Request<'_>,
    floor: &Floor<'_>,
    typed: &str,
    setup_error: Option<String>,
) -> KernelInput {
    let header = KernelHeader { spec: typed.to_owned(), ..KernelHeader::default() };
    let (planned, whole) = plan_of(request, &floor.budgets(), typed, None);
    KernelInput { header, planned, whole, setup_error }
}

/// One kernel's plan, and the shards of it, if the kernel can be had.
fn prepare(
    workshop: &mut Workshop,
    request: &Request<'_>,
    floor: &Floor<'_>,
    typed: &str,
    kernel: u32,
    jobs: usize,
) -> (KernelInput, Vec<Shard>) {
    let ready = match workshop.kernel(typed) {
        Ok(ready) => Arc::new(ready),
        Err(error) => {
            // Said in the report, and the other kernels still run.
            floor.progress.line(&format!("kernel {typed}: {error}"));
            return (unprepared(request, floor, typed, Some(error.to_string())), Vec::new());
        }
    };
    let budgets = floor.budgets().of_instruments(&ready.header.instruments);
    let (planned, whole) = plan_of(request, &budgets, typed, ready.header.release.as_deref());
    let label = if request.kernels.len() > 1 { format!("{typed} ") } else { String::new() };
    let tally = Arc::new(Tally::new(label, planned.len()));
    let dealt = deal(&planned, jobs);
    let left = Arc::new(AtomicUsize::new(dealt.len()));
    let shards = (0..)
        .zip(dealt)
        .map(|(index, planned)| Shard {
            kernel,
            index,
            ready: Arc::clone(&ready),
            planned,
            budgets,
            tally: Arc::clone(&tally),
            left: Arc::clone(&left),
        })
        .collect();
    (KernelInput { header: ready.header.clone(), planned, whole, setup_error: None }, shards)
}

/// The kernel's own limit for one of its selftests, from their `settings`.
const SELFTEST_LIMIT_MS: u64 = 150_000;

/// The plan of one kernel: what is done here, and where that is a part, what all parts are to do.
fn plan_of(
    request: &Request<'_>,
    budgets: &Budgets,
    typed: &str,
    release: Option<&str>,
) -> (Vec<PlannedScenario>, Vec<PlannedScenario>) {
    let kernel = release.and_then(KernelRelease::parse);
    let scenario = |scenario: &&'static scenarios::Scenario| PlannedScenario {
        id: scenario.id.to_owned(),
        budget_ms: budgets.class_ms(scenario.budget),
        expect: scenario.expectation(kernel),
    };
    let selftest = |test: &Selftest| PlannedScenario {
        id: test.to_string(),
        budget_ms: SELFTEST_LIMIT_MS * u64::from(budgets.scale),
        expect: Expectation::Pass,
    };
    let selftests = request.selftests.iter().map(selftest);
    let whole: Vec<_> = request.scenarios.iter().map(scenario).chain(selftests).collect();
    match request.partition {
        None => (whole, Vec::new()),
        Some(part) => {
            (whole.iter().filter(|one| part.has(typed, &one.id)).cloned().collect(), whole)
        }
    }
}
