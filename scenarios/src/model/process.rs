//! The handle on one server process: orders go in, replies come out, each within a deadline; and a spare one, because starting
//! a process takes longer than most steps.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::server::{Order, Reply, TagCounts, Told};
use crate::context::{During, Stop};

/// A server that runs. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What came with the last reply.
    tags: Option<(u32, TagCounts)>,
}

impl Server {
    fn start() -> Result<Self, Stop> {
        let mut child = Command::new("/proc/self/exe")
            .arg("model-server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .during("start a model server")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Stop::error("a model server has no pipes"))?;
        Ok(Self { child, input, output: BufReader::new(output), tags: None })
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Gives an order and waits for the reply.
    pub(super) fn order(&mut self, order: &Order, timeout: Duration) -> Result<Reply, Stop> {
        let mut text = serde_json::to_string(order).during("write an order")?;
        text.push('\n');
        self.input.write_all(text.as_bytes()).during("give a model server an order")?;
        let mut fds = [PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN)];
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let ready = poll(&mut fds, PollTimeout::try_from(timeout_ms).unwrap_or(PollTimeout::MAX));
        if !matches!(ready, Ok(1..)) {
            return Err(Stop::error(format_args!(
                "a model server does not reply to {text} within {timeout:?}"
            )));
        }
        let mut line = String::new();
        self.output.read_line(&mut line).during("read a reply")?;
        let told: Told =
            serde_json::from_str(&line).during(format_args!("read the reply {line:?}"))?;
        self.tags = told.tags;
        Ok(told.reply)
    }

    /// What it said of the tags of device `id` with its last reply, once: they may be others by now.
    pub(super) fn take_tags(&mut self, id: u32) -> Option<TagCounts> {
        self.tags.take().filter(|(about, _)| *about == id).map(|(_, counts)| counts)
    }

    /// Kills it; it is gone as a process when this returns, what it held may not be.
    pub(super) fn kill(mut self) -> Result<(), Stop> {
        self.child.kill().during("kill a model server")?;
        self.child.wait().during("wait for a model server").map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Starts servers ahead of their need.
#[derive(Debug)]
pub(super) struct Spares {
    ready: Receiver<Result<Server, Stop>>,
}

impl Spares {
    pub(super) fn new() -> Self {
        let (sender, ready) = sync_channel(1);
        // It ends with its receiver: the next send fails.
        std::thread::spawn(move || while sender.send(Server::start()).is_ok() {});
        Self { ready }
    }

    pub(super) fn take(&self, timeout: Duration) -> Result<Server, Stop> {
        self.ready.recv_timeout(timeout).during("get a model server")?
    }
}
