//! The handle on one hand: acts go in, replies come out, each within a deadline; and a spare one, because starting a process
//! takes longer than most acts.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::hand::{Order, Reply};
use crate::context::{During, Stop};

/// A hand that runs. Dropping it kills it.
#[derive(Debug)]
pub(super) struct HandProcess {
    child: Child,
    input: Option<ChildStdin>,
    replies: Receiver<String>,
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Heard {
    Reply(Reply),
    /// Nothing, in the time that was given.
    Nothing,
    /// The process is gone.
    Gone,
}

impl HandProcess {
    fn start() -> Result<Self, Stop> {
        let mut child = Command::new("/proc/self/exe")
            .arg("fuzz-hand")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .during("start a fuzzer's hand")?;
        let output = child.stdout.take().ok_or_else(|| Stop::error("a hand has no output"))?;
        let input = child.stdin.take();
        Ok(Self { child, input, replies: lines(output) })
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Gives an order; false where nobody is there to take it.
    pub(super) fn order(&mut self, order: &Order) -> Result<bool, Stop> {
        let mut text = serde_json::to_string(order).during("write an order")?;
        text.push('\n');
        let Some(input) = &mut self.input else { return Ok(false) };
        Ok(input.write_all(text.as_bytes()).is_ok())
    }

    /// Waits for the reply.
    pub(super) fn hear(&self, timeout: Duration) -> Result<Heard, Stop> {
        match self.replies.recv_timeout(timeout) {
            Ok(line) => serde_json::from_str(&line)
                .map(Heard::Reply)
                .during(format_args!("read a hand's reply {line:?}")),
            Err(RecvTimeoutError::Timeout) => Ok(Heard::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(Heard::Gone),
        }
    }

    pub(super) fn kill(&self) {
        // One that has ended is not collected before `end`, so the number is still its own.
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGKILL);
    }

    /// Lets it go, and waits until it is gone; whether it was in time. One that stays is killed after half of it.
    pub(super) fn end(mut self, timeout: Duration) -> bool {
        self.input = None;
        let begun = Instant::now();
        let mut killed = false;
        while begun.elapsed() < timeout {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            if !killed && begun.elapsed() > timeout / 2 {
                self.kill();
                killed = true;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        false
    }
}

impl Drop for HandProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // One that hangs in the kernel is not waited for: that is for the health check to say.
            let _ = self.child.kill();
        }
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Starts hands ahead of their need.
#[derive(Debug)]
pub(super) struct Spares {
    ready: Receiver<Result<HandProcess, Stop>>,
}

impl Spares {
    pub(super) fn new() -> Self {
        let (sender, ready) = sync_channel(1);
        // It ends with its receiver: the next send fails.
        std::thread::spawn(move || while sender.send(HandProcess::start()).is_ok() {});
        Self { ready }
    }

    pub(super) fn take(&self, timeout: Duration) -> Result<HandProcess, Stop> {
        self.ready.recv_timeout(timeout).during("get a fuzzer's hand")?
    }
}
