//! Clients of a case's device: a process of their own, because a request that never ends keeps whoever sent it, and whoever judges
//! must not be kept.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::hand::CLIENT_SECTOR;
use super::judge::Trouble;
use crate::block::{AlignedBuffer, nodes};
use crate::context::{During, Stop, errno};

/// Bytes of a request.
const BLOCK_BYTES: usize = 4096;

/// The process, and how many of its requests go on. Dropping it kills it.
pub(super) struct Clients {
    child: Child,
    input: ChildStdin,
    results: Receiver<String>,
    open: u32,
}

impl Clients {
    pub(super) fn start() -> Result<Self, Stop> {
        let mut child = Command::new("/proc/self/exe")
            .arg("fuzz-client")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .during("start a fuzzer's client")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Stop::error("a client has no pipes"))?;
        let (sender, results) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, results, open: 0 })
    }

    /// Starts a request.
    pub(super) fn begin(&mut self, id: u32, write: bool, block: u8) -> Result<(), Stop> {
        let verb = if write { "writes" } else { "reads" };
        self.open += 1;
        writeln!(self.input, "{id} {verb} {block}").during("ask for a client's request")
    }

    /// All of them have to end when nobody serves the device any more.
    pub(super) fn end(&mut self, patience: Duration) -> Result<(), Trouble> {
        use nix::libc::{EINVAL, EIO, ENODEV, ENOENT, ENOSPC, ENXIO, EOPNOTSUPP, EREMOTEIO};
        let errnos = [EIO, ENODEV, ENOENT, ENXIO, EINVAL, ENOSPC, EREMOTEIO, EOPNOTSUPP];
        let begun = Instant::now();
        while self.open > 0 {
            let left = patience.saturating_sub(begun.elapsed());
            let Ok(line) = self.results.recv_timeout(left) else {
                let expected = "a client's request ends with its device, which can be deleted";
                return Err((expected.into(), format!("nothing for {patience:?}")));
            };
            self.open -= 1;
            let result: i32 =
                line.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(i32::MIN);
            if result < 0 && !errnos.contains(&-result) {
                let expected = "a client's request: done, or an error of a device that goes";
                return Err((expected.into(), format!("{line} ({})", errno(result))));
            }
        }
        Ok(())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // One that hangs in the kernel is not waited for: that is for the health check to say.
        let _ = self.child.kill();
    }
}

/// The process: `runner fuzz-client`. A line asks for a request, a line tells its result.
#[must_use]
pub fn main() -> ExitCode {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        std::thread::spawn(move || {
            let result = request(&line);
            let mut output = std::io::stdout().lock();
            let _ = writeln!(output, "{line} {result}").and_then(|()| output.flush());
        });
    }
    std::process::exit(0)
}

/// A number of bytes, or a negative errno.
fn request(line: &str) -> i32 {
    let mut words = line.split(' ');
    let mut number = || words.next().unwrap_or_default();
    let (id, verb, block) = (number().parse(), number(), number().parse::<u64>());
    let (Ok(id), Ok(block)) = (id, block) else { return -nix::libc::EINVAL };
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::libc::O_DIRECT);
    let place = CLIENT_SECTOR * 512 + block * BLOCK_BYTES as u64;
    let mut buffer = AlignedBuffer::zeroed(BLOCK_BYTES);
    let done = options.open(nodes(id).1).and_then(|file| {
        if verb == "writes" {
            file.write_at(&buffer, place)
        } else {
            file.read_at(&mut buffer, place)
        }
    });
    match done {
        Ok(bytes) => i32::try_from(bytes).unwrap_or(i32::MAX),
        Err(error) => -error.raw_os_error().unwrap_or(i32::MAX),
    }
}
