//! One boot: the plan goes in, lines come out, every wait has a deadline, the machine's end is recorded.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use reports::event::{BootEnd, GuestEvent, GuestLine, Outcome, Record, Seen};
use reports::plan::Plan;
use vmimage::machine::{Clock, MachineSpec, Vm, VmEnd};

use crate::cli::MachineArgs;
use crate::console;
use crate::interrupt;
use crate::prepare::{Emulator, Ready};
use crate::progress::Terminal;

/// Longest line a guest may send; a longer one is cut and will not parse.
const LINE_BYTES_MAX: u64 = 4 << 20;
const PORT: &str = "org.ublk.runner";

/// Everything about one boot that does not change while it runs.
pub(crate) struct Boot<'a> {
    pub(crate) emulator: &'a Emulator,
    pub(crate) ready: &'a Ready,
    pub(crate) machine: &'a MachineArgs,
    pub(crate) plan: &'a Plan,
    pub(crate) run_dir: PathBuf,
    pub(crate) kernel: u32,
    pub(crate) boot: u32,
    pub(crate) run_began: Instant,
    pub(crate) retries_left: u32,
    pub(crate) progress: &'a Terminal,
    /// Scenarios reported by earlier boots, and planned altogether: for the progress line.
    pub(crate) done_before: usize,
    pub(crate) planned_total: usize,
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
    MachineSpec {
        kernel: ready.image.vmlinuz.clone(),
        initramfs: ready.image.initramfs.clone(),
        cmdline: format!("console=ttyS0 panic=-1 oops=panic loglevel=7 {cmdline}"),
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

impl Boot<'_> {
    /// Runs the boot and appends what was seen. Whether the agent got ready.
    pub(crate) fn run(&self, records: &mut Vec<Record>) -> bool {
        let planned = self.plan.scenarios.iter().map(|s| s.id.clone()).collect();
        self.record(records, Seen::BootStarted { nonce: self.plan.nonce.clone(), planned });
        let cmdline = format!("runner.port={PORT}");
        let spec = machine_spec(
            self.emulator,
            self.ready,
            self.machine,
            &self.run_dir,
            self.plan.budgets.console_bytes_max as u64,
            &cmdline,
        );
        let vm = match Vm::start(&self.emulator.program, &spec) {
            Ok(vm) => vm,
            Err(error) => {
                let end = if interrupt::requested() {
                    BootEnd::Interrupted
                } else {
                    BootEnd::Infrastructure { reason: error.to_string() }
                };
                self.ended(records, end, String::new(), false, false);
                return false;
            }
        };
        let (end, ready) = match self.converse(&vm, records) {
            Ok(outcome) => outcome,
            Err(error) => {
                vm.quit();
                (BootEnd::Infrastructure { reason: error.to_string() }, false)
            }
        };
        let text = vm.console_tail(console::TAIL_BYTES).unwrap_or_default();
        let (excerpt, splat) = console::excerpt(&text);
        let infrastructure = matches!(end, BootEnd::Infrastructure { .. } | BootEnd::Interrupted);
        let retried = !ready && !infrastructure && self.retries_left > 0;
        self.ended(records, end, excerpt, splat, retried);
        ready
    }

    fn record(&self, records: &mut Vec<Record>, seen: Seen) {
        let at_ms = u64::try_from(self.run_began.elapsed().as_millis()).unwrap_or(u64::MAX);
        records.push(Record { at_ms, kernel: self.kernel, boot: self.boot, seen });
    }

    fn ended(
        &self,
        records: &mut Vec<Record>,
        end: BootEnd,
        console: String,
        console_splat: bool,
        retried: bool,
    ) {
        self.record(records, Seen::BootEnded { end, console, console_splat, retried });
    }

    /// Sends the plan and takes lines until the machine is gone or a deadline has passed.
    fn converse(&self, vm: &Vm, records: &mut Vec<Record>) -> std::io::Result<(BootEnd, bool)> {
        let (reader, mut writer) = vm.port()?;
        let mut plan = serde_json::to_vec(self.plan)?;
        plan.push(b'\n');
        // QEMU buffers it until the guest reads; a guest that never does is the boot deadline's.
        std::thread::spawn(move || writer.write_all(&plan));
        let lines = read_lines(reader);
        let (mut phase, mut phase_began) = (Phase::Booting, Instant::now());
        let (mut ready, mut done) = (false, self.done_before);
        loop {
            let left = self.limit(&phase).saturating_sub(phase_began.elapsed());
            match lines.recv_timeout(left.min(Duration::from_millis(100))) {
                Ok(text) => {
                    if let Some(next) = self.follow(&text, &mut ready, &mut done) {
                        (phase, phase_began) = (next, Instant::now());
                    }
                    self.record(records, Seen::Line { text });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let end = vm.wait_exit(self.limit(&Phase::PoweringOff));
                    return Ok((boot_end(end.unwrap_or_else(|| vm.quit()), "power-off"), ready));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupt::requested() {
                vm.quit();
                return Ok((BootEnd::Interrupted, ready));
            }
            if phase_began.elapsed() >= self.limit(&phase) {
                let which = match &phase {
                    Phase::Booting => "boot".to_owned(),
                    Phase::Between => "the next scenario".to_owned(),
                    Phase::Scenario { id, .. } => format!("scenario {id}"),
                    Phase::PoweringOff => "power-off".to_owned(),
                };
                vm.quit();
                // What was on its way when the machine was ended still counts.
                while let Ok(text) = lines.recv_timeout(Duration::from_millis(200)) {
                    self.record(records, Seen::Line { text });
                }
                return Ok((BootEnd::Deadline { which }, ready));
            }
        }
    }

    /// Longest time the host waits in a phase. In a scenario the guest's own watchdog acts first; the
    /// host's comes after it, for a guest that cannot act any more.
    fn limit(&self, phase: &Phase) -> Duration {
        let budgets = &self.plan.budgets;
        Duration::from_millis(match phase {
            Phase::Booting => budgets.boot_ms,
            Phase::Between | Phase::PoweringOff => budgets.power_off_ms,
            Phase::Scenario { budget_ms, .. } => {
                budget_ms + 4 * budgets.hang_grace_ms + budgets.power_off_ms
            }
        })
    }

    /// The next phase, if this line begins one. Judging the line is the fold's business.
    fn follow(&self, text: &str, ready: &mut bool, done: &mut usize) -> Option<Phase> {
        let line: GuestLine = serde_json::from_str(text).ok()?;
        match line.event {
            GuestEvent::Ready(facts) => {
                *ready = true;
                self.progress.line(&format!(
                    "{}: ready after {:.1} s, {} CPUs, boot {}",
                    facts.kernel_release,
                    facts.boot_ms as f64 / 1000.0,
                    facts.cpus,
                    self.boot + 1
                ));
                Some(Phase::Between)
            }
            GuestEvent::ScenarioStarted { id } => {
                self.progress.doing(&format!("{}/{} {id}", *done + 1, self.planned_total));
                let planned = self.plan.scenarios.iter().find(|s| s.id == id)?;
                Some(Phase::Scenario { id, budget_ms: planned.budget_ms })
            }
            GuestEvent::ScenarioFinished { id, outcome, health, .. } => {
                *done += 1;
                if let Some(told) = trouble(&outcome, !health.is_empty()) {
                    self.progress.line(&format!("{id}: {told}"));
                }
                Some(Phase::Between)
            }
            GuestEvent::Refused { .. } | GuestEvent::Finished { .. } => Some(Phase::PoweringOff),
            GuestEvent::Step { .. } | GuestEvent::Evidence { .. } => None,
        }
    }
}

/// A word for the progress line where something is not plainly good; the verdict is the fold's.
fn trouble(outcome: &Outcome, unhealthy: bool) -> Option<String> {
    match outcome {
        Outcome::Pass { .. } if unhealthy => Some("passed, but the kernel is not well".into()),
        Outcome::Pass { .. } => None,
        Outcome::Skip { probe, reason } => Some(format!("skipped: {probe}: {reason}")),
        Outcome::Fail { message, .. } => Some(format!("failed: {message}")),
        Outcome::Error { message } => Some(format!("error: {message}")),
        Outcome::Hang { after_ms, .. } => Some(format!("hangs (given up after {after_ms} ms)")),
        Outcome::Died { how } => Some(format!("died of {how}")),
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
