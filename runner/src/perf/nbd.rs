//! A network block device without a network: a server in user space behind a socket in the file system,
//! which is what one had before there was ublk.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::subject::{SAID, run, said_so_far, wait_until};

/// A server with the device connected to it.
#[derive(Debug)]
pub(super) struct Nbd {
    child: Child,
    disconnect: Vec<String>,
    files: Vec<String>,
}

/// How to get there; as the plan says it.
#[derive(Debug)]
pub(super) struct Words<'a> {
    pub(super) server: &'a [String],
    pub(super) connect: &'a [String],
    pub(super) disconnect: &'a [String],
    pub(super) files: &'a [(String, String)],
    pub(super) socket: &'a str,
}

impl Nbd {
    /// Starts the server, waits for its socket and connects the device.
    pub(super) fn start(words: &Words<'_>) -> Result<Self, String> {
        scenarios::probe::load_module("nbd", "nbds_max=1 max_part=0")
            .map_err(|stop| format!("cannot load nbd: {stop:?}"))?;
        let _ = std::fs::remove_file(words.socket);
        for (path, text) in words.files {
            std::fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"))?;
        }
        let (program, arguments) = words.server.split_first().ok_or("no program is named")?;
        let said = File::create(SAID).map_err(|error| format!("cannot write {SAID}: {error}"))?;
        let errors = said.try_clone().map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let mut started = Self {
            child,
            disconnect: words.disconnect.to_vec(),
            files: words.files.iter().map(|(path, _)| path.clone()).collect(),
        };
        if !wait_until(|| Path::new(words.socket).exists() || !started.runs()) || !started.runs() {
            started.kill();
            return Err(format!("{program} makes no {}; it said: {}", words.socket, said_so_far()));
        }
        if let Err(why) = command(words.connect) {
            started.kill();
            return Err(format!("{why}; the server said: {}", said_so_far()));
        }
        Ok(started)
    }

    /// Takes the device away and ends the server.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        let disconnected = command(&self.disconnect);
        self.kill();
        for path in &self.files {
            let _ = std::fs::remove_file(path);
        }
        disconnected.map(drop)
    }

    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("no program is named")?;
    run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
