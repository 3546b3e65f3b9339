//! One machine for the whole run: plan in, lines out, until the guest is finished or silent for too long.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use reports::perf::{PerfEvent, PerfLine, PerfPlan};
use vmimage::machine::{Clock, MachineSpec, Vm};

use crate::boot::read_lines;
use crate::error::Error;
use crate::interrupt;
use crate::prepare::{Emulator, Ready};
use crate::progress::Terminal;

const PORT: &str = "org.ublk.runner";
/// Longest silence, in host time: one visit on a host that is busy with other things.
const SILENCE_LIMIT: Duration = Duration::from_secs(1200);
const POWER_OFF_LIMIT: Duration = Duration::from_secs(30);
const CONSOLE_BYTES_MAX: u64 = 16 << 20;

/// The machine of a perf run.
pub(crate) struct PerfMachine<'a> {
    pub(crate) emulator: &'a Emulator,
    pub(crate) ready: &'a Ready,
    pub(crate) clock: Clock,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    pub(crate) run_dir: &'a Path,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) lines: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl PerfMachine<'_> {
    /// Runs the plan. An error means that there was no machine at all.
    pub(crate) fn run(&self, plan: &PerfPlan, progress: &Terminal) -> Result<Said, Error> {
        let arch = self.emulator.arch;
        let spec = MachineSpec {
            arch,
            kernel: self.ready.image.vmlinuz.clone(),
            initramfs: self.ready.image.initramfs.clone(),
            cmdline: format!(
                "console={} panic=-1 oops=panic runner.perf runner.port={PORT}",
                arch.facts().console
            ),
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            accelerator: self.emulator.accelerator,
            clock: self.clock,
            run_dir: self.run_dir.to_owned(),
            console_limit_bytes: CONSOLE_BYTES_MAX,
            port_name: PORT.into(),
            entropy_device: true,
            extra_args: Vec::new(),
        };
        let vm = Vm::start(&self.emulator.program, &spec).map_err(Error::infrastructure)?;
        let said = self.converse(&vm, plan, progress);
        vm.quit();
        said
    }

    fn converse(&self, vm: &Vm, plan: &PerfPlan, progress: &Terminal) -> Result<Said, Error> {
        let (reader, mut writer) = vm.port().map_err(Error::infrastructure)?;
        let mut text = serde_json::to_vec(plan).map_err(Error::infrastructure)?;
        text.push(b'\n');
        // QEMU buffers it until the guest reads; a guest that never does is the deadline's.
        std::thread::spawn(move || writer.write_all(&text));
        let lines = read_lines(reader);
        let mut said = Said::default();
        let mut heard = Instant::now();
        loop {
            match lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => {
                    heard = Instant::now();
                    let finished = show(&line, plan, progress);
                    said.lines.push(line);
                    if finished {
                        let _ = vm.wait_exit(POWER_OFF_LIMIT);
                        return Ok(said);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    said.errors.push(format!("the machine ended in the middle; {}", tail(vm)));
                    return Ok(said);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupt::requested() {
                said.errors.push("interrupted".into());
                return Ok(said);
            }
            if heard.elapsed() > SILENCE_LIMIT {
                let silence = SILENCE_LIMIT.as_secs();
                said.errors.push(format!("the guest said nothing for {silence} s; {}", tail(vm)));
                return Ok(said);
            }
        }
    }
}

/// A word for the progress line; whether this line is the last one.
fn show(line: &str, plan: &PerfPlan, progress: &Terminal) -> bool {
    let Ok(PerfLine { event, .. }) = serde_json::from_str(line) else { return false };
    match event {
        PerfEvent::Started { visit } => {
            let subject = plan.visits.get(visit).and_then(|visit| plan.subjects.get(visit.subject));
            let id = subject.map(|subject| subject.id()).unwrap_or_default();
            progress.doing(&format!("visit {}/{} {id}", visit + 1, plan.visits.len()));
        }
        PerfEvent::Failed { visit, reason } => progress.line(&format!("visit {visit}: {reason}")),
        PerfEvent::Skipped { visit, probe } => progress.line(&format!("visit {visit}: {probe}")),
        PerfEvent::Ready { kernel_release, cpus } => {
            progress.line(&format!("{kernel_release}: ready, {cpus} CPU(s)"));
        }
        PerfEvent::Refused { .. } | PerfEvent::Finished => return true,
        PerfEvent::BenchFailed { bench, reason } => {
            progress.line(&format!("bench {bench}: {reason}"));
        }
        PerfEvent::Measured { .. } | PerfEvent::Benched { .. } => {}
    }
    false
}

fn tail(vm: &Vm) -> String {
    let text = vm.console_tail(crate::console::TAIL_BYTES).unwrap_or_default();
    let (excerpt, _) = crate::console::excerpt(&text);
    format!("its console ends: {excerpt}")
}
