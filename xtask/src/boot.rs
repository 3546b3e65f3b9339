//! One boot: the plan goes in, lines come out, every wait has a deadline, the machine's end is recorded.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use reports::event::{BootEnd, GuestEvent, GuestLine, Outcome, Seen};
use reports::plan::{Expectation, Plan};
use reports::{Recorder, render};
use vmimage::machine::{Clock, MachineSpec, Vm, VmEnd};

use crate::cli::MachineArgs;
use crate::console;
use crate::prepare::{Emulator, Ready};
use crate::shard::{Floor, Shard};

/// Longest line a guest may send; a longer one is cut and will not parse.
const LINE_BYTES_MAX: u64 = 4 << 20;
const PORT: &str = "org.ublk.runner";

/// One boot of a shard.
pub(crate) struct Boot<'a> {
    pub(crate) floor: &'a Floor<'a>,
    pub(crate) shard: &'a Shard,
    pub(crate) plan: &'a Plan,
    pub(crate) retries_left: u32,
}

/// How far a boot came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BootOutcome {
    /// The agent got ready; whatever came after is in the records.
    Ready,
    /// It did not, and another boot may be luckier.
    NeverReady,
    /// The host's fault, or its user's wish.
    Infrastructure,
}

/// What identifies a boot in the records.
#[derive(Clone, Copy)]
struct Log<'a> {
    recorder: &'a Recorder,
    kernel: u32,
    boot: u32,
}

impl Log<'_> {
    fn add(&self, seen: Seen) {
        self.recorder.record(self.kernel, self.boot, seen);
    }
}

/// The machine to boot, with a console file and a port.
pub(crate) fn machine_spec(
    emulator: &Emulator,
    ready: &Ready,
    machine: &MachineArgs,
    run_dir: &Path,
    console_limit_bytes: u64,
    cmdline: &str,
) -> MachineSpec {
    let arch = emulator.arch.facts();
    let cmdline = format!(
        "console={} panic=-1 oops=panic loglevel=7 {}{cmdline}",
        arch.console, arch.cmdline
    );
    MachineSpec {
        arch: emulator.arch,
        kernel: ready.image.vmlinuz.clone(),
        initramfs: ready.image.initramfs.clone(),
        cmdline,
        cpus: machine.cpus,
        memory_mib: machine.memory_mib,
        accelerator: emulator.accelerator,
        clock: Clock::Wall,
        run_dir: run_dir.to_owned(),
        console_limit_bytes,
        port_name: PORT.into(),
        entropy_device: true,
        extra_args: Vec::new(),
    }
}

/// What the guest is doing, as far as deadlines depend on it.
enum Phase {
    Booting,
    Between,
    Scenario { id: String, budget_ms: u64 },
    PoweringOff,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booting => f.write_str("boot"),
            Self::Between => f.write_str("the next scenario"),
            Self::Scenario { id, .. } => write!(f, "scenario {id}"),
            Self::PoweringOff => f.write_str("power-off"),
        }
    }
}

impl Boot<'_> {
    /// Runs the boot and takes down what was seen.
    pub(crate) fn run(&self) -> BootOutcome {
        let (floor, kernel) = (self.floor, self.shard.kernel);
        let boot = floor.recorder.begin_boot(kernel, self.shard.index, self.plan);
        let log = Log { recorder: floor.recorder, kernel, boot };
        let release = self.shard.ready.header.release.clone();
        let name = release.unwrap_or_else(|| format!("kernel-{kernel}"));
        let spec = machine_spec(
            floor.emulator,
            &self.shard.ready,
            floor.machine,
            &floor.folder.join(name).join(format!("boot-{boot}")),
            self.plan.budgets.console_bytes_max as u64,
            &format!("runner.port={PORT}"),
        );
        let vm = match Vm::start(&floor.emulator.program, &spec) {
            Ok(vm) => vm,
            Err(error) => {
                let end = if floor.stops() {
                    BootEnd::Interrupted
                } else {
                    BootEnd::Infrastructure { reason: error.to_string() }
                };
                let (console, console_splat, retried) = (String::new(), false, false);
                log.add(Seen::BootEnded { end, console, console_splat, retried });
                return BootOutcome::Infrastructure;
            }
        };
        let (end, ready) = match self.converse(&vm, log) {
            Ok(outcome) => outcome,
            Err(error) => {
                vm.quit();
                (BootEnd::Infrastructure { reason: error.to_string() }, false)
            }
        };
        let text = vm.console_tail(console::TAIL_BYTES).unwrap_or_default();
        let (console, console_splat) = console::excerpt(&text);
        let infrastructure = matches!(end, BootEnd::Infrastructure { .. } | BootEnd::Interrupted);
        let retried = !ready && !infrastructure && self.retries_left > 0;
        log.add(Seen::BootEnded { end, console, console_splat, retried });
        match (ready, infrastructure) {
            (true, _) => BootOutcome::Ready,
            (false, true) => BootOutcome::Infrastructure,
            (false, false) => BootOutcome::NeverReady,
        }
    }

    /// Sends the plan and takes lines until the machine is gone or a deadline has passed.
    fn converse(&self, vm: &Vm, log: Log<'_>) -> std::io::Result<(BootEnd, bool)> {
        let (reader, mut writer) = vm.port()?;
        let mut plan = serde_json::to_vec(self.plan)?;
        plan.push(b'\n');
        // QEMU buffers it until the guest reads; a guest that never does is the boot deadline's.
        std::thread::spawn(move || writer.write_all(&plan));
        let lines = read_lines(reader);
        let (mut phase, mut phase_began) = (Phase::Booting, Instant::now());
        let mut ready = false;
        loop {
            let left = self.limit(&phase).saturating_sub(phase_began.elapsed());
            match lines.recv_timeout(left.min(Duration::from_millis(100))) {
                Ok(text) => {
                    if let Some(next) = self.follow(&text, &mut ready, log.boot) {
                        (phase, phase_began) = (next, Instant::now());
                    }
                    log.add(Seen::Line { text });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let end = vm.wait_exit(self.limit(&Phase::PoweringOff));
                    return Ok((boot_end(end.unwrap_or_else(|| vm.quit()), "power-off"), ready));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.floor.stops() {
                vm.quit();
                return Ok((BootEnd::Interrupted, ready));
            }
            if phase_began.elapsed() >= self.limit(&phase) {
                vm.quit();
                // What was on its way when the machine was ended still counts.
                while let Ok(text) = lines.recv_timeout(Duration::from_millis(200)) {
                    log.add(Seen::Line { text });
                }
                return Ok((BootEnd::Deadline { which: phase.to_string() }, ready));
            }
        }
    }

    /// Longest time the host waits in a phase.
    fn limit(&self, phase: &Phase) -> Duration {
        let budgets = &self.plan.budgets;
        Duration::from_millis(match phase {
            Phase::Booting => budgets.boot_ms,
            Phase::Between | Phase::PoweringOff => budgets.power_off_ms,
            Phase::Scenario { budget_ms, .. } => budgets.watched_ms(*budget_ms),
        })
    }

    /// The next phase, if this line begins one. Judging the line is the fold's business.
    fn follow(&self, text: &str, ready: &mut bool, boot: u32) -> Option<Phase> {
        let line: GuestLine = serde_json::from_str(text).ok()?;
        match line.event {
            GuestEvent::Ready(facts) => {
                *ready = true;
                self.floor.progress.line(&format!(
                    "{}: ready after {:.1} s, {} CPUs, boot {}",
                    facts.kernel_release,
                    facts.boot_ms as f64 / 1000.0,
                    facts.cpus,
                    boot + 1
                ));
                Some(Phase::Between)
            }
            GuestEvent::ScenarioStarted { id } => {
                self.floor.progress.doing(&self.shard.tally.begin(&id));
                let planned = self.plan.scenarios.iter().find(|s| s.id == id)?;
                Some(Phase::Scenario { id, budget_ms: planned.budget_ms })
            }
            GuestEvent::ScenarioFinished { id, outcome, health, .. } => {
                let planned = self.plan.scenarios.iter().find(|planned| planned.id == id);
                if planned.is_some_and(|p| p.expect == Expectation::Pass)
                    && (!health.is_empty()
                        || !matches!(outcome, Outcome::Pass { .. } | Outcome::Skip { .. }))
                {
                    self.floor.red.store(true, Ordering::Relaxed);
                }
                if let Some(told) = render::trouble(&outcome, !health.is_empty()) {
                    self.floor.progress.line(&format!("{}{id}: {told}", self.shard.tally.label));
                }
                Some(Phase::Between)
            }
            GuestEvent::Refused { .. } | GuestEvent::Finished { .. } => Some(Phase::PoweringOff),
            GuestEvent::Step { .. } | GuestEvent::Evidence { .. } | GuestEvent::Counters { .. } => {
                None
            }
        }
    }
}

fn boot_end(end: VmEnd, which: &str) -> BootEnd {
    match end {
        VmEnd::Interrupted => BootEnd::Interrupted,
        VmEnd::Killed => BootEnd::Deadline { which: which.into() },
        VmEnd::Lost { reason } => BootEnd::Infrastructure { reason },
        other => BootEnd::Exited { status: other.to_string() },
    }
}

/// Lines of the port; what is not UTF-8 is replaced, so that a damaged line is seen and refused. The last
/// one may lack its newline: the machine died while it wrote.
pub(crate) fn read_lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read =
                std::io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                return;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}
