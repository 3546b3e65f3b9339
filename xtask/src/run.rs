//! A run: kernels one after another, boots until each plan is done, one fold at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rand::Rng;
use reports::budget::Budgets;
use reports::event::{BootEnd, Record, Seen};
use reports::plan::{DebugOptions, Expectation, PROTOCOL_VERSION, Plan, PlannedScenario};
use reports::report::{KernelHeader, Report, RunHeader};
use reports::{KernelInput, RunInput, fold, remaining};
use scenarios::kernel::KernelRelease;
use scenarios::kselftest::Selftest;

use crate::boot::Boot;
use crate::cli::{MachineArgs, SourceArgs};
use crate::error::Error;
use crate::prepare::{Emulator, Workshop};
use crate::progress::Terminal;
use crate::{environment, interrupt, workspace};

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) kernels: Vec<String>,
    pub(crate) scenarios: Vec<&'static scenarios::Scenario>,
    /// Scripts to run after them; their image needs an [`Outfit`](crate::prepare::Outfit).
    pub(crate) selftests: &'a [Selftest],
    pub(crate) seed: Option<u64>,
    pub(crate) debug: DebugOptions,
    pub(crate) output: Option<&'a Path>,
    pub(crate) machine: &'a MachineArgs,
    pub(crate) sources: &'a SourceArgs,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) report: Report,
    pub(crate) folder: PathBuf,
}

/// Runs the whole request. An error means that there is not even a report.
pub(crate) fn run(request: &Request<'_>, progress: &Arc<Terminal>) -> Result<Done, Error> {
    run_in(&mut Workshop::open(request.sources, progress)?, request, progress)
}

/// The same in a workshop that is open already, with an outfit of its own maybe.
pub(crate) fn run_in(
    workshop: &mut Workshop,
    request: &Request<'_>,
    progress: &Arc<Terminal>,
) -> Result<Done, Error> {
    let started_at_unix_ms = environment::unix_ms();
    let run_id = format!("run-{started_at_unix_ms}");
    let folder = match request.output {
        Some(path) => path.to_owned(),
        None => workspace::root().join("artifacts").join(&run_id),
    };
    for typed in &request.kernels {
        workshop.resolve(typed)?;
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
    let mut session = Session {
        request,
        emulator: &emulator,
        seed,
        folder: &folder,
        began: Instant::now(),
        records: Vec::new(),
        kernels: Vec::new(),
        progress,
    };
    for typed in &request.kernels {
        if interrupt::requested() {
            break;
        }
        session.kernel(workshop, typed);
    }
    let (commit, dirty) = workspace::commit();
    let header = RunHeader {
        run_id,
        seed,
        commit: Some(commit).filter(|commit| commit != "unknown"),
        dirty,
        started_at_unix_ms,
        command_line: std::env::args().collect(),
        accelerator: emulator.accelerator_facts(),
        qemu: emulator.qemu_facts(),
        host: environment::host(),
    };
    let report = fold(&RunInput {
        run: &header,
        kernels: &session.kernels,
        records: &session.records,
        host_errors: &[],
        interrupted: interrupt::requested(),
    });
    reports::write_all(&folder, &report, &session.records).map_err(Error::infrastructure)?;
    progress.clear();
    Ok(Done { report, folder })
}

struct Session<'a> {
    request: &'a Request<'a>,
    emulator: &'a Emulator,
    seed: u64,
    folder: &'a Path,
    began: Instant,
    records: Vec<Record>,
    kernels: Vec<KernelInput>,
    progress: &'a Terminal,
}

impl Session<'_> {
    /// One kernel, from its image to the last boot its plan needs.
    fn kernel(&mut self, workshop: &mut Workshop, typed: &str) {
        let budgets = Budgets::scaled(self.emulator.scale());
        let ready = match workshop.kernel(typed) {
            Ok(ready) => ready,
            Err(error) => {
                // Said in the report, and the other kernels still run.
                self.progress.line(&format!("kernel {typed}: {error}"));
                let header = KernelHeader { spec: typed.to_owned(), ..KernelHeader::default() };
                let planned = plan_of(self.request, &budgets, None);
                let setup_error = Some(error.to_string());
                self.kernels.push(KernelInput { header, planned, setup_error });
                return;
            }
        };
        let kernel = u32::try_from(self.kernels.len()).unwrap_or(u32::MAX);
        let planned = plan_of(self.request, &budgets, ready.header.release.as_deref());
        let total = planned.len();
        let input = KernelInput { header: ready.header.clone(), planned, setup_error: None };
        let mut retries_left = budgets.boot_retries_max;
        for boot in 0..budgets.boots_max {
            let own = self.records.iter().filter(|record| record.kernel == kernel);
            let scenarios = remaining(&input.planned, own);
            if scenarios.is_empty() || interrupt::requested() {
                break;
            }
            let done_before = total - scenarios.len();
            let plan = Plan {
                protocol_version: PROTOCOL_VERSION,
                nonce: format!("{:032x}", rand::rng().random::<u128>()),
                seed: self.seed,
                budgets,
                scenarios,
                debug: self.request.debug.clone(),
            };
            let name = ready.header.release.clone().unwrap_or_else(|| format!("kernel-{kernel}"));
            let ready_in_time = Boot {
                emulator: self.emulator,
                ready: &ready,
                machine: self.request.machine,
                plan: &plan,
                run_dir: self.folder.join(name).join(format!("boot-{boot}")),
                kernel,
                boot,
                run_began: self.began,
                retries_left,
                progress: self.progress,
                done_before,
                planned_total: total,
            }
            .run(&mut self.records);
            if !ready_in_time {
                // A QEMU that does not start will not start the next time either.
                if retries_left == 0 || self.records.last().is_some_and(is_infrastructure) {
                    break;
                }
                retries_left -= 1;
            }
        }
        self.kernels.push(input);
    }
}

fn is_infrastructure(record: &Record) -> bool {
    matches!(record.seen, Seen::BootEnded { end: BootEnd::Infrastructure { .. }, .. })
}

/// The kernel's own limit for one of its selftests, from their `settings`.
const SELFTEST_LIMIT_MS: u64 = 150_000;

/// The plan of one kernel.
fn plan_of(
    request: &Request<'_>,
    budgets: &Budgets,
    release: Option<&str>,
) -> Vec<PlannedScenario> {
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
    request.scenarios.iter().map(scenario).chain(selftests).collect()
}
