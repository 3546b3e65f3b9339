//! The virtio-serial port: one line in, many lines out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reports::event::{GuestEvent, GuestLine};

/// Longest plan that is read.
const PLAN_BYTES_MAX: usize = 1 << 20;

/// Finds the port called `name`. There is no udev here to make `/dev/virtio-ports/<name>`.
pub(crate) fn open(name: &str, timeout: Duration) -> io::Result<File> {
    let begin = Instant::now();
    loop {
        match find(name) {
            Ok(path) => return OpenOptions::new().read(true).write(true).open(path),
            Err(error) if begin.elapsed() > timeout => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn find(name: &str) -> io::Result<PathBuf> {
    for entry in std::fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        let found = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if found.trim() == name {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no virtio-serial port `{name}`")))
}

/// Reads one line. A port without a host reads as empty, so this waits until `timeout`.
pub(crate) fn read_line(port: &mut File, timeout: Duration) -> io::Result<String> {
    let begin = Instant::now();
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = port.read(&mut chunk)?;
        line.extend_from_slice(&chunk[..count]);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).map_err(io::Error::other);
        }
        if line.len() > PLAN_BYTES_MAX || begin.elapsed() > timeout {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the host sent no plan"));
        }
        if count == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Writes events with the nonce and a running number.
#[derive(Debug)]
pub(crate) struct EventWriter<W> {
    output: W,
    nonce: String,
    seq: u64,
    begin: Instant,
}

impl<W: Write> EventWriter<W> {
    pub(crate) fn new(output: W, nonce: String) -> Self {
        Self { output, nonce, seq: 0, begin: Instant::now() }
    }

    /// Sends one event. A lost host is told by the error; there is nobody else to tell.
    pub(crate) fn send(&mut self, event: GuestEvent) -> io::Result<()> {
        let guest_ms = crate::init::uptime_ms()
            .unwrap_or_else(|| u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX));
        let line = GuestLine { nonce: self.nonce.clone(), seq: self.seq, guest_ms, event };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.output.write_all(&text)?;
        self.seq += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_the_nonce_and_count_up() {
        let mut bytes = Vec::new();
        let mut writer = EventWriter::new(&mut bytes, "abc".into());
        for _ in 0..3 {
            writer.send(GuestEvent::Finished { reported: 0, stopped_early: false }).unwrap();
        }
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<GuestLine> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(lines.iter().all(|line| line.nonce == "abc"));
    }
}
