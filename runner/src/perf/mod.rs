//! The guest's side of a perf run: visits in the order of the plan, one line for each.
//!
//! Nothing of the agent runs while fio measures: it sleeps in `wait`, for on one emulated CPU every
//! instruction of ours would be in the numbers.

mod bench;
mod count;
mod facts;
mod fio;
mod nbd;
mod proof;
mod subject;

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use reports::perf::{
    Counted, Measured, PERF_PROTOCOL_VERSION, PerfEvent, PerfLine, PerfPlan, Role, Subject,
    Untraced, Visit,
};

use crate::{init, port};
use count::Tracer;
use subject::Running;

/// How long the port and the plan are waited for.
const PLAN_TIMEOUT: Duration = Duration::from_secs(60);

/// Guest time from the boot to the first visit, and from a server's start to the look at it when idle.
const SETTLE: Duration = Duration::from_secs(3);

/// Runs the whole plan. An error means that the host cannot be told any more.
pub(crate) fn run(port_name: &str) -> io::Result<()> {
    let mut port = port::open(port_name, PLAN_TIMEOUT)?;
    let line = port::read_line(&mut port, PLAN_TIMEOUT)?;
    let plan: PerfPlan = match serde_json::from_str(&line) {
        Ok(plan) => plan,
        Err(error) => {
            let reason = format!("the plan cannot be read: {error}");
            return Lines { port, nonce: String::new(), seq: 0 }
                .send(PerfEvent::Refused { reason });
        }
    };
    let mut lines = Lines { port, nonce: plan.nonce.clone(), seq: 0 };
    if plan.protocol_version != PERF_PROTOCOL_VERSION {
        let reason = format!("this agent speaks version {PERF_PROTOCOL_VERSION} of perf plans");
        return lines.send(PerfEvent::Refused { reason });
    }
    // What a kernel still does after its boot (calibrating clocks, seeding) is in nobody's numbers then.
    std::thread::sleep(SETTLE);
    lines.send(PerfEvent::Ready { kernel_release: init::kernel_release(), cpus: cpus() })?;
    for (number, visit) in plan.visits.iter().enumerate() {
        lines.send(PerfEvent::Started { visit: number })?;
        let answer = match plan.subjects.get(visit.subject) {
            Some(subject) => self::visit(number, visit, subject),
            None => PerfEvent::Failed { visit: number, reason: "no such subject".into() },
        };
        lines.send(answer)?;
    }
    for (bench, request) in plan.benches.iter().enumerate() {
        let answer = match bench::run(request) {
            Ok(output) => PerfEvent::Benched { bench, output },
            Err(reason) => PerfEvent::BenchFailed { bench, reason },
        };
        lines.send(answer)?;
    }
    lines.send(PerfEvent::Finished)
}

fn cpus() -> u32 {
    u32::try_from(reports::environment::cpus()).unwrap_or(u32::MAX)
}

fn visit(number: usize, visit: &Visit, subject: &Subject) -> PerfEvent {
    let offered = scenarios::rig::features().unwrap_or(0);
    if offered & subject.features != subject.features {
        let (needed, missing) = (subject.features, subject.features & !offered);
        let probe =
            format!("GET_FEATURES says {offered:#x}; needed {needed:#x}, missing {missing:#x}");
        return PerfEvent::Skipped { visit: number, probe };
    }
    let running = match Running::start(subject, &visit.extra_argv, visit.count.is_some()) {
        Ok(running) => running,
        // In a comparison a peer that this kernel or image cannot start is left out; ours has to start.
        Err(why) if subject.proof.is_some() && subject.role != Role::Ours => {
            let probe = format!("it was started, and {why}");
            return PerfEvent::Skipped { visit: number, probe };
        }
        Err(reason) => return PerfEvent::Failed { visit: number, reason },
    };
    match measure(visit, running) {
        Ok(measured) => PerfEvent::Measured { visit: number, measured: Box::new(measured) },
        Err(reason) => PerfEvent::Failed { visit: number, reason },
    }
}

/// One subject from its first question to its end; the end is tried whatever went wrong before it.
fn measure(visit: &Visit, mut running: Running) -> Result<Measured, String> {
    let measured = measure_running(visit, &mut running);
    let start_up = running.start_up();
    let stopped = running.stop();
    let mut measured = measured?;
    let stop_ns = stopped?;
    measured.start_up = start_up;
    measured.stop_ns = start_up.map(|_| stop_ns);
    Ok(measured)
}

fn measure_running(visit: &Visit, running: &mut Running) -> Result<Measured, String> {
    let mut measured = Measured { device: running.prove()?, ..Measured::default() };
    if let Some(job) = &visit.job_file {
        measured.fio = Some(fio::run(job)?);
    }
    measured.resident_bytes = running.server().map(count::Server::resident_bytes).transpose()?;
    if let Some(argv) = &visit.recover_argv {
        measured.recovery_ns = Some(running.replace_killed(argv)?);
    }
    let Some(request) = &visit.count else { return Ok(measured) };
    let Some(server) = running.server() else {
        return Ok(measured);
    };
    std::thread::sleep(SETTLE);
    let before = server.switches()?;
    std::thread::sleep(Duration::from_millis(request.idle_ms));
    measured.idle_switches = Some(server.switches()?.since(before).sum());
    for (cell, job) in &request.jobs {
        let cpu_before_ns = server.cpu_ns()?;
        let fio = fio::run(job)?;
        let server_cpu_ns = server.cpu_ns()?.saturating_sub(cpu_before_ns);
        let untraced = Some(Untraced { fio, server_cpu_ns });
        let before = server.switches()?;
        let tracer = Tracer::start(server)?;
        let fio = fio::run(job);
        let calls = tracer.stop(server)?;
        let switches = server.switches()?.since(before);
        measured.counted.push(Counted {
            cell: Some(*cell),
            fio: fio?,
            enters: calls.enters,
            futexes: calls.futexes,
            syscalls: calls.all,
            voluntary_switches: switches.voluntary,
            involuntary_switches: switches.involuntary,
            allocations: calls.allocations,
            untraced,
        });
    }
    Ok(measured)
}

struct Lines {
    port: File,
    nonce: String,
    seq: u64,
}

impl Lines {
    fn send(&mut self, event: PerfEvent) -> io::Result<()> {
        let line = PerfLine { nonce: self.nonce.clone(), seq: self.seq, event };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.port.write_all(&text)?;
        self.seq += 1;
        Ok(())
    }
}
