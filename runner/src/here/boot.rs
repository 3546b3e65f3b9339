//! The host's side of a run on this machine: it starts the agent, takes down what that says, and leaves nothing of it,
//! however it ends.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;
use reports::event::{BootEnd, GuestEvent, GuestLine, Seen};
use reports::plan::Plan;
use reports::{Recorder, console, render};
use scenarios::devices;
use scenarios::process::UBLK_VARIABLE;
use scenarios::user_processes::UserProcess;

use super::interrupts::Interrupts;
use crate::health::KernelLog;
use crate::machine::{Machine, Shared};
use crate::processes;

/// Groups of runs: far from those that people and distributions give out.
const GROUPS: std::ops::Range<u32> = 0x6000_0000..0x7000_0000;
/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of the agent's standard error that are kept.
const COMPLAINTS_MAX: usize = 20;

/// One run of the agent.
pub(super) struct Boot<'a> {
    pub(super) plan: &'a Plan,
    pub(super) server: &'a Path,
    pub(super) recorder: &'a Recorder,
    pub(super) interrupts: &'a Interrupts,
}

/// What the agent is doing, as far as deadlines depend on it.
enum Phase {
    Starting,
    Between,
    Scenario { id: String, budget_ms: u64 },
    Ending,
}

impl Boot<'_> {
    /// Runs the plan to its end, its deadline or an interruption, and clears up. What is wrong with the machine or the
    /// run, a line each.
    pub(super) fn run(&self) -> std::io::Result<Vec<String>> {
        let machine = Machine::Shared(Shared {
            group: rand::rng().random_range(GROUPS),
            ublk: self.server.to_owned(),
        });
        let boot = self.recorder.begin_boot(0, 0, self.plan);
        let mut log = KernelLog::open_at_end().ok();
        let mut agent = self.start(&machine)?;
        let said = lines(agent.stderr.take());
        let end = self.converse(&mut agent, boot);
        let _ = agent.kill();
        let uncleared = clear(&machine, self.grace());
        let until = Instant::now() + self.grace();
        let left = || until.saturating_duration_since(Instant::now());
        let said = std::iter::from_fn(|| said.recv_timeout(left()).ok());
        let mut complaints: Vec<String> = said.take(COMPLAINTS_MAX).collect();
        complaints.extend(uncleared);
        let text = log.as_mut().and_then(|log| log.read_new().ok()).unwrap_or_default();
        let (console, console_splat) = match reports::splat::contains_crash(text) {
            true => console::excerpt(text),
            false => (String::new(), false),
        };
        self.recorder.record(
            0,
            boot,
            Seen::BootEnded { end, console, console_splat, retried: false },
        );
        Ok(complaints)
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.plan.budgets.hang_grace_ms)
    }

    fn start(&self, machine: &Machine) -> std::io::Result<Child> {
        let Machine::Shared(shared) = machine else {
            return Err(std::io::Error::other("a guest's agent is its PID 1"));
        };
        // Whatever the agent leaves becomes a child of this process.
        nix::sys::prctl::set_child_subreaper(true)?;
        Command::new("/proc/self/exe")
            .arg(super::AGENT)
            .env(UBLK_VARIABLE, self.server)
            .gid(shared.group)
            // Ctrl-C is for this process, which ends the others in their order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Sends the plan and takes lines until the agent is gone.
    fn converse(&self, agent: &mut Child, boot: u32) -> BootEnd {
        let (Ok(mut plan), Some(mut input)) = (serde_json::to_vec(self.plan), agent.stdin.take())
        else {
            return BootEnd::Infrastructure { reason: "the plan cannot be sent".into() };
        };
        plan.push(b'\n');
        // Given back with the thread: an agent whose input ends need not wonder why.
        let writer = std::thread::spawn(move || input.write_all(&plan).map(|()| input));
        let lines = lines(agent.stdout.take());
        let (mut phase, mut begun, mut count) = (Phase::Starting, Instant::now(), 0);
        let mut ending: Option<Instant> = None;
        let end = loop {
            match lines.recv_timeout(LOOK) {
                Ok(text) => {
                    if let Some(next) = self.follow(&text, &mut count) {
                        (phase, begun) = (next, Instant::now());
                    }
                    self.recorder.record(0, boot, Seen::Line { text });
                    if matches!(phase, Phase::Scenario { .. }) {
                        self.recorder.sync();
                    }
                }
                Err(RecvTimeoutError::Disconnected) if ending.is_some() => {
                    break BootEnd::Interrupted;
                }
                Err(RecvTimeoutError::Disconnected) => break self.end_of(agent, &phase),
                Err(RecvTimeoutError::Timeout) => {}
            }
            match (self.interrupts.count(), ending) {
                (0, _) => {}
                (1, None) => ending = Some(self.ask_to_end(agent, &phase)),
                (1, Some(until)) if Instant::now() < until => {}
                _ => break BootEnd::Interrupted,
            }
            if begun.elapsed() >= self.limit(&phase) {
                break BootEnd::Deadline { which: phase.name() };
            }
        };
        clear_line();
        drop(writer);
        end
    }

    /// Has the agent end after the scenario that runs: what a scenario is killed in can stay in the kernel. When that has to
    /// be over.
    fn ask_to_end(&self, agent: &Child, phase: &Phase) -> Instant {
        let limit = Duration::from_millis(self.plan.budgets.interrupt_ms);
        if let Phase::Scenario { id, .. } = phase {
            let seconds = limit.as_secs();
            say(&format!("ends after {id}, in {seconds} s at most; Ctrl-C again ends it now"));
        }
        let _ = kill(Pid::from_raw(agent.id().cast_signed()), Signal::SIGTERM);
        Instant::now() + limit
    }

    /// How the agent ended that has closed its stream.
    fn end_of(&self, agent: &mut Child, phase: &Phase) -> BootEnd {
        let deadline = Instant::now() + self.limit(&Phase::Ending);
        let status: Option<ExitStatus> = loop {
            match agent.try_wait() {
                Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Ok(status) => break status,
                Err(_) => break None,
            }
        };
        match (status, phase) {
            (Some(status), Phase::Ending) => BootEnd::Exited { status: status.to_string() },
            (Some(status), _) => {
                let reason = format!("the agent ended in {} with {status}", phase.name());
                BootEnd::Infrastructure { reason }
            }
            (None, _) => BootEnd::Deadline { which: "the agent's end".into() },
        }
    }

    /// Longest time for a phase. In a scenario the agent's own watchdog comes first.
    fn limit(&self, phase: &Phase) -> Duration {
        let budgets = &self.plan.budgets;
        Duration::from_millis(match phase {
            Phase::Starting => budgets.boot_ms,
            Phase::Between | Phase::Ending => budgets.power_off_ms,
            Phase::Scenario { budget_ms, .. } => budgets.watched_ms(*budget_ms),
        })
    }

    /// The next phase, if this line begins one, and a word for whoever watches.
    fn follow(&self, text: &str, count: &mut usize) -> Option<Phase> {
        match serde_json::from_str::<GuestLine>(text).ok()?.event {
            GuestEvent::ScenarioStarted { id } => {
                *count += 1;
                doing(&format!("{count}/{} {id}", self.plan.scenarios.len()));
                let planned = self.plan.scenarios.iter().find(|planned| planned.id == id)?;
                Some(Phase::Scenario { id, budget_ms: planned.budget_ms })
            }
            GuestEvent::ScenarioFinished { id, outcome, health, .. } => {
                if let Some(told) = render::trouble(&outcome, !health.is_empty()) {
                    say(&format!("{id}: {told}"));
                }
                Some(Phase::Between)
            }
            GuestEvent::Ready(_) => Some(Phase::Between),
            GuestEvent::Refused { .. } | GuestEvent::Finished { .. } => Some(Phase::Ending),
            GuestEvent::Step { .. } | GuestEvent::Evidence { .. } | GuestEvent::Counters { .. } => {
                None
            }
        }
    }
}

/// Ends every process of this run and deletes every device. What could not be cleared away.
fn clear(machine: &Machine, grace: Duration) -> Vec<String> {
    let Machine::Shared(shared) = machine else { return Vec::new() };
    processes::end_all(machine, grace);
    let removed = devices::remove_all_of(shared.group);
    // Who waited for one of the devices has its answer now, and can be ended.
    let stuck = processes::end_all(machine, grace);
    let told = |left: &UserProcess| {
        format!("process {} {} of this run is stuck in the kernel", left.pid, left.name)
    };
    let mut left: Vec<String> = stuck.iter().map(told).collect();
    match removed {
        Ok(ids) if ids.is_empty() => {}
        Ok(ids) => left.push(format!(
            "ublk device {} of this run cannot be deleted: try `ublk del`, or boot this machine again",
            devices::listed(&ids)
        )),
        Err(error) => left.push(format!("it cannot be told whether a device is left: {error}")),
    }
    left
}

impl Phase {
    fn name(&self) -> String {
        match self {
            Self::Starting => "its start".into(),
            Self::Between => "the next scenario".into(),
            Self::Scenario { id, .. } => format!("scenario {id}"),
            Self::Ending => "its end".into(),
        }
    }
}

fn lines(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let Some(stream) = stream else { return };
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A line that stays.
pub(super) fn say(text: &str) {
    clear_line();
    eprintln!("runner: {text}");
}

/// What is being done, where somebody watches.
fn doing(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K{text}");
    }
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}
