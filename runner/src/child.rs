//! One scenario's process and its watchdog.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use reports::event::{Outcome, ScenarioLine};
use reports::plan::{Plan, PlannedScenario};

use crate::machine::Machine;

/// How much of a scenario's standard error is kept.
const COMPLAINT_BYTES_MAX: u64 = 16 << 10;

/// What the watchdog tells while a scenario runs.
#[derive(Debug)]
pub(crate) enum Told {
    /// A line of progress or evidence.
    Line(ScenarioLine),
    /// The budget is used up; the process still runs.
    Overdue,
}

/// How it ended, and what it said on standard error.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) complaints: String,
    pub(crate) duration_ms: u64,
}

/// Runs one scenario to its end or its budget; `tell` hears what happens meanwhile.
pub(crate) fn run(
    machine: &Machine,
    plan: &Plan,
    scenario: &PlannedScenario,
    mut tell: impl FnMut(Told),
) -> std::io::Result<Ended> {
    let begin = Instant::now();
    let mut child = spawn(machine, plan, scenario)?;
    let complaints = collect(child.stderr.take());
    let lines = lines(child.stdout.take());
    let deadline = begin + Duration::from_millis(scenario.budget_ms);
    let mut outcome = None;
    let said_all = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(ScenarioLine::Outcome { outcome: told }) => outcome = Some(told),
            Ok(line) => tell(Told::Line(line)),
            Err(RecvTimeoutError::Timeout) => break false,
            Err(RecvTimeoutError::Disconnected) => break true,
        }
    };
    // It may be stuck in the kernel on its way out.
    let status = if said_all { end_by(&mut child, deadline)? } else { None };
    let duration_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Some(status) = status else {
        tell(Told::Overdue);
        let grace = Duration::from_millis(plan.budgets.hang_grace_ms);
        let killable = kill(&mut child, grace);
        let outcome = Outcome::Hang { after_ms: scenario.budget_ms, killable };
        return Ok(Ended { outcome, complaints: take(&complaints), duration_ms });
    };
    let outcome = match outcome {
        Some(outcome) if status.success() => outcome,
        _ => Outcome::Died { how: how(status) },
    };
    Ok(Ended { outcome, complaints: take(&complaints), duration_ms })
}

fn spawn(machine: &Machine, plan: &Plan, scenario: &PlannedScenario) -> std::io::Result<Child> {
    let budgets = serde_json::to_string(&plan.budgets)?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["scenario", &scenario.id, &plan.seed.to_string(), &budgets]);
    command.env("RUST_BACKTRACE", "1").env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin");
    if plan.debug.sqe_dump {
        command.env("UBLK_SQE_DUMP", crate::debug::SQE_DUMP);
    }
    if let Some(input) = &plan.model_input {
        command.env(scenarios::model::INPUT_VARIABLE, input);
    }
    if let Some(server) = &plan.server {
        command.env(scenarios::server::INPUT_VARIABLE, server);
    }
    if let Some(mutant) = &plan.debug.mutant {
        command.env("UBLK_MUTANT", mutant);
    }
    machine.prepare(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Its end, if that comes before `deadline`.
fn end_by(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() >= deadline {
            return Ok(ended);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills it; whether it was gone within `grace`.
fn kill(child: &mut Child, grace: Duration) -> bool {
    let _ = child.kill();
    let begin = Instant::now();
    while begin.elapsed() < grace {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(0)) => "exit code 0 without saying how it ended".into(),
        (None, code) => format!("exit code {}", code.unwrap_or(-1)),
    }
}

/// Lines of the scenario's standard output. A line that is not one of ours becomes a step, so that a
/// stray print is seen and not lost.
fn lines(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<ScenarioLine> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let Some(stream) = stream else { return };
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line)
                .unwrap_or(ScenarioLine::Step { text: format!("printed: {line}") });
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn collect(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let Some(mut stream) = stream else { return };
        let mut bytes = Vec::new();
        let _ = stream.by_ref().take(COMPLAINT_BYTES_MAX).read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        // Keep the pipe drained: a scenario must not block on its own complaints.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    receiver
}

/// What was said, if the stream has ended; a grandchild may hold it open.
fn take(complaints: &mpsc::Receiver<String>) -> String {
    complaints.recv_timeout(Duration::from_millis(200)).unwrap_or_default()
}
