//! A device of the server under test: brought up as its adapter says, watched by the kernel's own words, and never left
//! behind.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reports::event::FailureKind;
use ublk::uapi::{DevInfo, DevState};

use super::ability::Ability;
use super::adapter::{Ending, EndingSignal, Finding};
use super::command::{self, Started};
use super::input::ServerInput;
use super::processes::{Before, named};
use super::words::Values;
use crate::block::{self, wait_until};
use crate::context::{Context, During, Stop};
use crate::process::{check_no_nodes, remove_device};
use crate::recovery::kit::{self, Backing, SIZE_BYTES};

/// The number that is asked for, where one can be.
pub(super) const ID: u32 = 7;

/// What is asked of the server.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) mode: Ability,
    /// Further abilities whose words are given.
    pub(super) with: Vec<Ability>,
    pub(super) queues: u16,
    pub(super) depth: u16,
    pub(super) block_bytes: u32,
}

impl Wish {
    /// One queue of 32 tags, in the server's usual mode.
    pub(super) fn usual(input: &ServerInput) -> Self {
        let mode = input.adapter.usual_mode();
        Self { mode, with: Vec::new(), queues: 1, depth: 32, block_bytes: 512 }
    }

    pub(super) fn queues(self, queues: u16) -> Self {
        Self { queues, ..self }
    }

    pub(super) fn with(mut self, ability: Ability) -> Self {
        self.with.push(ability);
        self
    }
}

/// A live device and the processes behind it. Dropping it kills them and removes the device.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) input: ServerInput,
    pub(super) wish: Wish,
    pub(super) id: u32,
    pub(super) before: Before,
    values: Values,
    nodes_before: Vec<String>,
    started: Vec<Started>,
    timeout: Duration,
}

impl Served {
    /// Runs the adapter's start and waits until its device is live.
    pub(super) fn start(
        context: &mut Context,
        input: &ServerInput,
        wish: &Wish,
        backing: &Backing,
    ) -> Result<Self, Stop> {
        let values = values(input, wish, backing.path());
        let mut served = Self {
            input: input.clone(),
            wish: wish.clone(),
            id: values.id,
            before: Before::now(),
            values,
            nodes_before: block::all_nodes()?,
            started: Vec::new(),
            timeout: limit(context),
        };
        let argv = [served.values.fill(&input.adapter.start.argv), served.words()].concat();
        served.started.push(Started::start(context, &argv)?);
        served.await_live("start", None)?;
        Ok(served)
    }

    /// Runs the adapter's recovery and waits until the device is live again, with another process behind it.
    pub(super) fn recover(&mut self, context: &mut Context) -> Result<(), Stop> {
        let Some(recover) = self.input.adapter.recover.clone() else {
            return Err(Stop::error("the adapter has no recovery"));
        };
        let was = kit::info(self.id)?.map(|info| info.ublksrv_pid);
        self.values.id = self.id;
        let mut argv = self.values.fill(&recover.argv);
        if recover.repeat_words {
            argv.extend(self.words());
        }
        self.started.push(Started::start(context, &argv)?);
        self.await_live("recover", was)
    }

    /// The words that ask for what is wished.
    fn words(&self) -> Vec<String> {
        let can = &self.input.adapter.can;
        let asked = std::iter::once(&self.wish.mode).chain(&self.wish.with);
        let words: Vec<String> = asked.filter_map(|one| can.get(one)).flatten().cloned().collect();
        self.values.fill(&words)
    }

    fn await_live(&mut self, what: &str, was: Option<i32>) -> Result<(), Stop> {
        let finding = self.input.adapter.start.device;
        let deadline = Instant::now() + self.timeout;
        let mut named = None;
        while Instant::now() < deadline {
            named = if was.is_some() { Some(self.id) } else { self.find(finding)? };
            if let Some(id) = named
                && is_live(id, was)?
            {
                self.id = id;
                return Ok(());
            }
            let Some(started) = self.started.last_mut() else { break };
            if started.status()?.is_some_and(|status| !status.success()) {
                let message = format!("{what}: the server does not come up: {}", started.told());
                return Err(Stop::fail(FailureKind::Operation, message));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let node = match named {
            Some(id) => format!("/dev/ublkb{id} is not live"),
            None if finding == Finding::Printed => "no device was named".to_owned(),
            None => "no device appeared".to_owned(),
        };
        let told = self.started.last().map(Started::told).unwrap_or_default();
        let message = format!("{what}: {node} within {:?}: {told}", self.timeout);
        Err(Stop::fail(FailureKind::Completion, message))
    }

    fn find(&self, finding: Finding) -> Result<Option<u32>, Stop> {
        match finding {
            Finding::Asked => Ok(Some(self.values.id)),
            Finding::Printed => Ok(self.started.last().and_then(Started::printed_id)),
            Finding::Appears => Ok(self.new_ids()?.first().copied()),
        }
    }

    /// Numbers of block nodes that have come since.
    fn new_ids(&self) -> Result<Vec<u32>, Stop> {
        let new = block::all_nodes()?.into_iter().filter(|name| !self.nodes_before.contains(name));
        Ok(new.filter_map(|name| name.strip_prefix("ublkb")?.parse().ok()).collect())
    }

    pub(super) fn block_device(&self) -> std::path::PathBuf {
        block::nodes(self.id).1
    }

    /// The device as the kernel has it.
    pub(super) fn info(&self) -> Result<DevInfo, Stop> {
        let gone = || Stop::fail(FailureKind::State, format_args!("device {} is gone", self.id));
        kit::info(self.id)?.ok_or_else(gone)
    }

    /// Asks the server to go, as the adapter says.
    pub(super) fn ask_to_stop(&mut self, context: &mut Context) -> Result<(), Stop> {
        let stop = self.input.adapter.stop.clone();
        self.end(context, "stop", &stop)
    }

    /// Stops it, and checks that nothing of it is left.
    pub(super) fn stop(mut self, context: &mut Context) -> Result<Duration, Stop> {
        let begin = Instant::now();
        self.ask_to_stop(context)?;
        self.check_gone(context, "stop")?;
        Ok(begin.elapsed())
    }

    /// Kills the server and waits until it is gone as a process.
    pub(super) fn kill(&mut self, context: &mut Context) -> Result<(), Stop> {
        if let Some(kill) = self.input.adapter.kill.clone() {
            self.end(context, "kill", &kill)?;
        } else {
            context.step(format_args!("SIGKILL for {}", named(&self.before.since())));
        }
        let left = match self.input.adapter.kill {
            Some(_) => self.reaping(|before, timeout| before.wait_for_end(timeout)),
            None => self.reaping(|before, timeout| before.kill_since(timeout)),
        };
        let what = format!("nothing of a killed server runs ({})", named(&left));
        context.check(FailureKind::Leak, what, left.is_empty())
    }

    fn reaping<T>(&mut self, wait: impl FnOnce(&Before, Duration) -> T) -> T {
        let result = wait(&self.before, self.timeout);
        self.started.iter_mut().for_each(|started| drop(started.status()));
        result
    }

    fn end(&mut self, context: &mut Context, what: &str, ending: &Ending) -> Result<(), Stop> {
        self.values.id = self.id;
        if let Some(argv) = &ending.argv {
            return command::run(context, what, &self.values.fill(argv), self.timeout);
        }
        let signal = match ending.signal {
            Some(EndingSignal::Int) => Signal::SIGINT,
            Some(EndingSignal::Hup) => Signal::SIGHUP,
            Some(EndingSignal::Quit) => Signal::SIGQUIT,
            Some(EndingSignal::Term) | None => Signal::SIGTERM,
        };
        let pid = self.info()?.ublksrv_pid;
        context.step(format_args!("{what}: {signal} for process {pid}, which serves the device"));
        kill(Pid::from_raw(pid), signal).during(format_args!("send {signal} to the server"))
    }

    /// Checks that device and processes are gone, or go in time, and that none of them crashed.
    pub(super) fn check_gone(&mut self, context: &mut Context, what: &str) -> Result<(), Stop> {
        let (char_node, block_node) = block::nodes(self.id);
        let gone = wait_until(self.timeout, || !char_node.exists() && !block_node.exists());
        let told = format!("{what}: {} is gone within {:?}", block_node.display(), self.timeout);
        context.check(FailureKind::Leak, told, gone)?;
        check_no_nodes(context, self.id)?;
        let left = self.reaping(Before::wait_for_end);
        let told = format!("{what}: no process of the server is left ({})", named(&left));
        context.check(FailureKind::Leak, told, left.is_empty())?;
        for started in &mut self.started {
            let crashed = started.crashed()?;
            let told = format!("{what}: the server does not crash ({})", started.told());
            context.check(FailureKind::State, told, !crashed)?;
        }
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let left = self.before.kill_since(self.timeout / 4);
        self.started.iter_mut().for_each(|started| drop(started.status()));
        // One that cannot be killed holds its device: the health check names both.
        if left.is_empty() {
            remove_device(self.id);
            self.new_ids().into_iter().flatten().for_each(remove_device);
        }
    }
}

/// What the placeholders are for a wish.
pub(super) fn values(input: &ServerInput, wish: &Wish, file: &str) -> Values {
    Values {
        program: input.program.clone(),
        id: ID,
        file: file.to_owned(),
        size_bytes: SIZE_BYTES,
        queues: wish.queues,
        depth: wish.depth,
        block_bytes: wish.block_bytes,
    }
}

/// Time for each of the adapter's commands: some three of the driver's.
pub(super) fn limit(context: &Context) -> Duration {
    context.command_timeout() * 2
}

/// Whether the device is live with its node, and served by another process than `was`.
fn is_live(id: u32, was: Option<i32>) -> Result<bool, Stop> {
    if !block::nodes(id).1.exists() {
        return Ok(false);
    }
    let info = kit::info(id)?;
    Ok(info.is_some_and(|info| info.state() == DevState::Live && Some(info.ublksrv_pid) != was))
}
