//! The agent: plan in, scenarios one by one, events out.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reports::event::{GuestEvent, GuestFacts, HealthFinding, HealthKind, Outcome, ScenarioLine};
use reports::plan::{PROTOCOL_VERSION, Plan, PlannedScenario};
use scenarios::devices::listed;
use scenarios::kselftest::Selftest;
use scenarios::{block, hazard};

use crate::child::{self, Told};
use crate::health::{self, KernelLog};
use crate::machine::Machine;
use crate::port::{self, EventWriter};
use crate::{counters, debug, init, processes};

/// How long the port and the plan are waited for; the host's own boot deadline is shorter or equal.
const PLAN_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the whole plan of this boot. An error means that the host cannot be told any more.
pub(crate) fn run(port_name: &str) -> io::Result<()> {
    let mut port = port::open(port_name, PLAN_TIMEOUT)?;
    let line = port::read_line(&mut port, PLAN_TIMEOUT)?;
    execute(&Machine::Guest, &line, port, &AtomicBool::new(false))
}

/// Runs the plan in `line` on `machine`, or as much of it as there was when it was `told_to_end`; events go to `output`. An
/// error means that they cannot.
pub(crate) fn execute(
    machine: &Machine,
    line: &str,
    output: impl Write,
    told_to_end: &AtomicBool,
) -> io::Result<()> {
    let plan: Plan = match serde_json::from_str(line) {
        Ok(plan) => plan,
        Err(error) => {
            // Without a plan there is no nonce either; the host refuses the line, which is right.
            let reason = format!("the plan cannot be read: {error}");
            return EventWriter::new(output, String::new()).send(GuestEvent::Refused { reason });
        }
    };
    let mut events = EventWriter::new(output, plan.nonce.clone());
    if let Some(reason) = refusal(&plan) {
        return events.send(GuestEvent::Refused { reason });
    }
    events.send(GuestEvent::Ready(Box::new(facts())))?;
    let (mut reported, mut stopped_early) = (0, false);
    for scenario in &plan.scenarios {
        if told_to_end.load(Ordering::Relaxed) {
            stopped_early = true;
            break;
        }
        if let Err(why) = alone(machine, Duration::from_millis(plan.budgets.hang_grace_ms)) {
            // Whoever started this run takes it down.
            eprintln!("{why}; nothing more was run");
            stopped_early = true;
            break;
        }
        let trusted = match machine.hazard_of(&scenario.id) {
            Some(reason) => skip(scenario, reason, &mut events)?,
            None => run_one(machine, &plan, scenario, &mut events)?,
        };
        reported += 1;
        if !trusted {
            stopped_early = true;
            break;
        }
    }
    events.send(GuestEvent::Finished { reported, stopped_early })
}

fn refusal(plan: &Plan) -> Option<String> {
    if plan.protocol_version != PROTOCOL_VERSION {
        let version = plan.protocol_version;
        return Some(format!(
            "the plan has protocol version {version}, this agent speaks {PROTOCOL_VERSION}"
        ));
    }
    let unknown = plan.scenarios.iter().find(|s| !is_known(&s.id))?;
    Some(format!("there is no scenario `{}` in this image", unknown.id))
}

/// Whether the image holds it: a scenario of the catalogue, or a selftest's script.
fn is_known(id: &str) -> bool {
    scenarios::catalogue::find(id).is_some()
        || Selftest::parse(id).is_some_and(|test| test.script().is_file())
}

fn facts() -> GuestFacts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory_kib: u64 = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok()
        })
        .unwrap_or(0);
    GuestFacts {
        protocol_version: PROTOCOL_VERSION,
        kernel_release: init::kernel_release(),
        kernel_version: read("/proc/sys/kernel/version").trim().into(),
        cmdline: read("/proc/cmdline").trim().into(),
        cpus: u32::try_from(reports::environment::cpus()).unwrap_or(u32::MAX),
        memory_bytes: memory_kib << 10,
        ublk_features: scenarios::rig::features(),
        abilities: Some(scenarios::abilities::abilities()),
        boot_ms: init::uptime_ms().unwrap_or(0),
    }
}

/// Whether nobody else has a device: the next scenario could touch it. One that is about to go is nobody's.
fn alone(machine: &Machine, grace: Duration) -> Result<(), String> {
    block::retry(grace, || match machine.strangers() {
        Ok(others) if others.is_empty() => Ok(()),
        Ok(others) => Err(format!("somebody else has added ublk device {}", listed(&others))),
        Err(error) => Err(format!("it cannot be told whose devices there are: {error}")),
    })
}

/// A scenario that is not run on this machine.
fn skip<W: Write>(
    scenario: &PlannedScenario,
    reason: String,
    events: &mut EventWriter<W>,
) -> io::Result<bool> {
    let id = scenario.id.clone();
    events.send(GuestEvent::ScenarioStarted { id: id.clone() })?;
    let outcome = Outcome::Skip { probe: hazard::PROBE.into(), reason };
    let (duration_ms, health) = (0, Vec::new());
    events.send(GuestEvent::ScenarioFinished { id, outcome, duration_ms, health })?;
    Ok(true)
}

/// One scenario; whether the kernel may be used for another.
fn run_one<W: Write>(
    machine: &Machine,
    plan: &Plan,
    scenario: &PlannedScenario,
    events: &mut EventWriter<W>,
) -> io::Result<bool> {
    let id = &scenario.id;
    let mut log = KernelLog::open_at_end().ok();
    let mut send_error = None;
    events.send(GuestEvent::ScenarioStarted { id: id.clone() })?;
    for refused in debug::begin(&plan.debug) {
        events.send(GuestEvent::Step { id: id.clone(), text: format!("no debug: {refused}") })?;
    }
    let ended = child::run(machine, plan, scenario, |told| {
        let sent = match told {
            Told::Line(ScenarioLine::Step { text }) => {
                events.send(GuestEvent::Step { id: id.clone(), text })
            }
            Told::Line(ScenarioLine::Evidence { name, text }) => {
                events.send(GuestEvent::Evidence { id: id.clone(), name, text })
            }
            Told::Line(ScenarioLine::Outcome { .. }) => Ok(()),
            Told::Overdue => {
                let text = blocked_tasks(machine, log.as_mut(), plan.budgets.evidence_bytes_max);
                let name = "blocked-tasks".into();
                events.send(GuestEvent::Evidence { id: id.clone(), name, text })
            }
        };
        if let Err(error) = sent {
            send_error.get_or_insert(error);
        }
    });
    if let Some(error) = send_error {
        return Err(error);
    }
    let (outcome, complaints, duration_ms) = match ended {
        Ok(ended) => (ended.outcome, ended.complaints, ended.duration_ms),
        Err(error) => {
            let message = format!("the scenario's process cannot be run: {error}");
            (Outcome::Error { message }, String::new(), 0)
        }
    };
    let grace = Duration::from_millis(plan.budgets.hang_grace_ms);
    let health = health::examine(machine, log.as_mut(), grace);
    machine.tidy();
    let clean = matches!(outcome, Outcome::Pass { .. } | Outcome::Skip { .. }) && health.is_empty();
    if !clean && !complaints.is_empty() {
        let name = "stderr".into();
        events.send(GuestEvent::Evidence { id: id.clone(), name, text: complaints })?;
    }
    let kernel_log = log.as_ref().map_or("", KernelLog::seen);
    for (name, mut text) in debug::end(&plan.debug, kernel_log) {
        cut(&mut text, plan.budgets.evidence_bytes_max);
        events.send(GuestEvent::Evidence { id: id.clone(), name: name.into(), text })?;
    }
    if plan.debug.driver_counters {
        send_counters(id, events)?;
    }
    let trusted = trusted(&outcome, &health);
    let id = id.clone();
    events.send(GuestEvent::ScenarioFinished { id, outcome, duration_ms, health })?;
    Ok(trusted)
}

/// What the scenario made the driver do, or why that cannot be told.
fn send_counters<W: Write>(id: &str, events: &mut EventWriter<W>) -> io::Result<()> {
    let id = id.to_owned();
    events.send(match counters::take() {
        Ok(gcda) => GuestEvent::Counters { id, gcda },
        Err(error) => GuestEvent::Step { id, text: format!("no counters: {error}") },
    })
}

/// A hang is followed by a fresh machine even if its process could be killed: what it waited for may
/// still be held by the kernel.
fn trusted(outcome: &Outcome, health: &[HealthFinding]) -> bool {
    !matches!(outcome, Outcome::Hang { .. })
        && !health.iter().map(|finding| finding.kind).any(HealthKind::spoils_kernel)
}

/// Stacks of every blocked task: the kernel's own list, then those of the user processes.
fn blocked_tasks(machine: &Machine, log: Option<&mut KernelLog>, bytes_max: usize) -> String {
    let mut text = match log {
        Some(log) if machine.takes_sysrq() => blocked_by_the_kernel(log),
        _ => String::new(),
    };
    for left in machine.processes() {
        let stacks = processes::stacks(left.pid);
        text.push_str(&format!("process {} {} ({})\n{stacks}", left.pid, left.name, left.state));
    }
    cut(&mut text, bytes_max);
    text
}

fn blocked_by_the_kernel(log: &mut KernelLog) -> String {
    // What came before the hang stays in the log's memory for the health check.
    let _ = log.read_new();
    let asked = std::fs::write("/proc/sysrq-trigger", "w");
    std::thread::sleep(Duration::from_millis(100));
    let mut text = log.read_new().unwrap_or_default().to_owned();
    if let Err(error) = asked {
        text.push_str(&format!("sysrq w: {error}\n"));
    }
    text
}

fn cut(text: &mut String, bytes_max: usize) {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: HealthKind) -> HealthFinding {
        HealthFinding { kind, text: String::new() }
    }

    #[test]
    fn a_kernel_is_not_used_again_after_a_hang_or_a_splat() {
        let pass = Outcome::Pass { checks: 1, summary: String::new() };
        let hang = Outcome::Hang { after_ms: 1, killable: true };
        assert!(trusted(&pass, &[]));
        assert!(trusted(&pass, &[finding(HealthKind::Segfault)]));
        assert!(!trusted(&pass, &[finding(HealthKind::Warning)]));
        assert!(!trusted(&hang, &[]));
    }

    #[test]
    fn a_plan_with_an_unknown_scenario_is_refused() {
        let plan = Plan {
            protocol_version: PROTOCOL_VERSION,
            nonce: "n".into(),
            seed: 1,
            budgets: reports::budget::Budgets::scaled(1),
            scenarios: vec![PlannedScenario {
                id: "no/such".into(),
                budget_ms: 1,
                expect: reports::plan::Expectation::Pass,
            }],
            debug: reports::plan::DebugOptions::default(),
            model_input: None,
            server: None,
        };
        assert!(refusal(&plan).unwrap().contains("no/such"));
        let other = Plan { protocol_version: 99, ..plan };
        assert!(refusal(&other).unwrap().contains("99"));
    }
}
