//! A subject: started until its block device can be opened, and ended so that nothing of it is left.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reports::perf::{DeviceFacts, Launch, Proof, StartUp, Subject};

use super::count::{Allocations, Server};
use super::nbd::{Nbd, Words};
use super::{facts, proof};

/// Guest time a start or a stop may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks. Under the instruction clock sleeping costs nothing, and this is the resolution of
/// start-up times.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// Nobody reads there before, so that the page cache has nothing of it.
const UNREAD_OFFSET: u64 = 512 << 20;
const UBLK: &str = "/bin/ublk";
const BUSYBOX: &str = "/bin/busybox";
const LOOP_FILE: &str = "/tmp/loop.img";
const LOSETUP: &str = "/usr/sbin/losetup";
pub(super) const SAID: &str = "/tmp/server.log";
const SAID_BYTES_MAX: usize = 2000;

/// A block device that is there, and what stands behind it.
#[derive(Debug)]
pub(super) struct Running {
    behind: Behind,
    device: PathBuf,
    start_up: Option<StartUp>,
    proof: Option<Proof>,
}

#[derive(Debug)]
enum Behind {
    Server { child: Child, id: u32, server: Server },
    Module { name: String },
    Loop,
    Nbd(Nbd),
}

impl Running {
    /// Starts it and waits for its device. Its allocations are watched only where they are `counted`: each costs a
    /// trap then, and a start has thousands.
    pub(super) fn start(
        subject: &Subject,
        extra_argv: &[String],
        counted: bool,
    ) -> Result<Self, String> {
        let device = PathBuf::from(&subject.device);
        if device.exists() && matches!(subject.launch, Launch::Server { .. }) {
            return Err(format!("{} is there before its server", device.display()));
        }
        if let Some(wanted) = &subject.proof {
            proof::prepare(wanted)?;
        }
        let started = Self::launch(subject, extra_argv, counted, &device);
        if let (Err(_), Some(wanted)) = (&started, &subject.proof) {
            proof::clean(wanted);
        }
        let (behind, start_up) = started?;
        Ok(Self { behind, device, start_up, proof: subject.proof.clone() })
    }

    fn launch(
        subject: &Subject,
        extra_argv: &[String],
        counted: bool,
        device: &Path,
    ) -> Result<(Behind, Option<StartUp>), String> {
        let mut behind = match &subject.launch {
            Launch::Server { argv, id, allocators } => {
                let allocators = if counted { allocators.as_slice() } else { &[] };
                let (behind, start_up) =
                    Self::start_server(argv, extra_argv, *id, allocators, device)?;
                return Ok((behind, Some(start_up)));
            }
            Launch::Module { module, parameters, settings } => {
                scenarios::probe::load_module(module, parameters)
                    .map_err(|stop| format!("cannot load {module}: {stop:?}"))?;
                for (path, text) in settings {
                    std::fs::write(path, text)
                        .map_err(|error| format!("cannot write {text} into {path}: {error}"))?;
                }
                Behind::Module { name: module.clone() }
            }
            Launch::Loop { len_bytes, direct } => {
                scenarios::probe::load_module("loop", "")
                    .map_err(|stop| format!("cannot load loop: {stop:?}"))?;
                let path = match &subject.proof {
                    Some(Proof::Shows { path, .. }) => path.as_str(),
                    _ => fill_loop_file(*len_bytes)?,
                };
                match direct {
                    true => run(LOSETUP, &["--direct-io=on", &subject.device, path])?,
                    false => busybox(&["losetup", &subject.device, path])?,
                };
                Behind::Loop
            }
            Launch::Nbd { server, connect, disconnect, files, socket } => {
                Behind::Nbd(Nbd::start(&Words { server, connect, disconnect, files, socket })?)
            }
        };
        if let Err(why) = wait_for(device, || None) {
            // Whatever is half there would stand in the way of every later visit.
            let _ = end(&mut behind, device);
            return Err(why);
        }
        Ok((behind, None))
    }

    fn start_server(
        argv: &[String],
        extra_argv: &[String],
        id: u32,
        allocators: &[u64],
        device: &Path,
    ) -> Result<(Behind, StartUp), String> {
        let (program, arguments) = argv.split_first().ok_or("no program is named")?;
        let said = File::create(SAID).map_err(|error| format!("cannot write {SAID}: {error}"))?;
        let errors = said.try_clone().map_err(|error| error.to_string())?;
        let allocations = Allocations::watch(program, allocators)?;
        let begin = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .args(extra_argv)
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let ended = || match child.try_wait() {
            // One that ended well has left its server in the background.
            Ok(Some(status)) if !status.success() => Some(format!("{program} ended: {status}")),
            _ => None,
        };
        if let Err(why) = wait_for(device, ended) {
            let _ = child.kill();
            let _ = child.wait();
            // A device that is left behind would fail every later visit too.
            let _ = run(UBLK, &["del", &id.to_string()]);
            return Err(format!("{why}; it said: {}", said_so_far()));
        }
        let elapsed_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let allocated = allocations.as_ref().map(Allocations::count).transpose()?;
        if allocated == Some(0) {
            return Err(format!("{program} started without any allocation: they are not seen"));
        }
        let start_up = StartUp { elapsed_ns, allocations: allocated };
        let server = Server::new(server_pid(id)?, allocations);
        Ok((Behind::Server { child, id, server }, start_up))
    }

    /// Asks the device for what the plan wants to be shown, and the kernel for what it is.
    pub(super) fn prove(&self) -> Result<Option<DeviceFacts>, String> {
        let Some(wanted) = &self.proof else { return Ok(None) };
        let device = self.device.display();
        proof::ask(wanted, &self.device)
            .map_err(|why| format!("{device} does not serve: {why}"))?;
        let id = match &self.behind {
            Behind::Server { id, .. } => Some(*id),
            _ => None,
        };
        facts::of(&self.device, id).map(Some)
    }

    /// How its start went; none without a server.
    pub(super) fn start_up(&self) -> Option<StartUp> {
        self.start_up
    }

    /// Its server.
    pub(super) fn server(&self) -> Option<&Server> {
        match &self.behind {
            Behind::Server { server, .. } => Some(server),
            _ => None,
        }
    }

    /// Kills the server and starts one that takes its device over. Nanoseconds from that start to the first
    /// read it serves: the read is there before it, so nothing is missed between two looks.
    pub(super) fn replace_killed(&mut self, argv: &[String]) -> Result<u64, String> {
        let device = self.device.clone();
        let Behind::Server { child, server, .. } = &mut self.behind else {
            return Err("there is no server to kill".into());
        };
        let pid = nix::unistd::Pid::from_raw(server.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
            .map_err(|error| format!("cannot kill {pid}: {error}"))?;
        // The program that was started may be another than the server it left behind.
        if i64::from(child.id()) == i64::from(pid.as_raw()) {
            let _ = child.wait();
        }
        if !wait_until(|| !server.is_alive()) {
            return Err("the server outlives SIGKILL".into());
        }
        let (program, arguments) = argv.split_first().ok_or("no program is named")?;
        let said = File::create(SAID).map_err(|error| format!("cannot write {SAID}: {error}"))?;
        let errors = said.try_clone().map_err(|error| error.to_string())?;
        let (sender, receiver) = std::sync::mpsc::channel();
        // It ends with the device at the latest, which the visit's end deletes.
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            // Exact: beyond the end of a device a read is empty, and proves nothing.
            let read =
                File::open(&device).and_then(|file| file.read_exact_at(&mut block, UNREAD_OFFSET));
            let _ = sender.send(read);
        });
        let begin = Instant::now();
        *child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let answer = receiver.recv_timeout(TIMEOUT);
        let elapsed_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        *server = Server::new(i32::try_from(child.id()).map_err(|e| e.to_string())?, None);
        match answer {
            Ok(Ok(())) => Ok(elapsed_ns),
            Ok(Err(error)) => Err(format!("the first read failed: {error}; {}", said_so_far())),
            Err(_) => Err(format!("no read within {TIMEOUT:?}; it said: {}", said_so_far())),
        }
    }

    /// Ends it and waits until its device is gone. Nanoseconds that took.
    pub(super) fn stop(mut self) -> Result<u64, String> {
        let begin = Instant::now();
        let ended = end(&mut self.behind, &self.device);
        let elapsed_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(wanted) = &self.proof {
            proof::clean(wanted);
        }
        ended.map(|()| elapsed_ns)
    }
}

fn end(behind: &mut Behind, device: &Path) -> Result<(), String> {
    match behind {
        Behind::Server { child, id, server } => {
            run(UBLK, &["del", &id.to_string()])?;
            let gone = wait_until(|| !server.is_alive());
            if !gone {
                let _ = child.kill();
            }
            let _ = child.wait();
            if !gone {
                return Err("the server outlives its device".into());
            }
            server.unwatch();
            if wait_until(|| !device.exists()) {
                Ok(())
            } else {
                Err(format!("{} outlives its server", device.display()))
            }
        }
        Behind::Module { name } => unload(name),
        Behind::Loop => {
            busybox(&["losetup", "-d", &device.display().to_string()])?;
            match std::fs::remove_file(LOOP_FILE) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(format!("cannot remove {LOOP_FILE}: {error}"))
                }
                _ => Ok(()),
            }
        }
        Behind::Nbd(nbd) => {
            nbd.stop()?;
            unload("nbd")
        }
    }
}

/// Waits for its last user, too: a device is closed a moment after its program has ended.
fn unload(module: &str) -> Result<(), String> {
    let name = std::ffi::CString::new(module).map_err(|error| error.to_string())?;
    let flags = nix::kmod::DeleteModuleFlags::O_NONBLOCK;
    let mut last = None;
    let gone = wait_until(|| match nix::kmod::delete_module(&name, flags) {
        Ok(()) => true,
        Err(error) => {
            last = Some(error);
            false
        }
    });
    if gone { Ok(()) } else { Err(format!("cannot unload {module}: {last:?}")) }
}

/// Written, not sparse: a hole is read without looking for a page.
fn fill_loop_file(len_bytes: u64) -> Result<&'static str, String> {
    let fill = || -> std::io::Result<()> {
        let mut file = File::create(LOOP_FILE)?;
        let chunk = vec![1; 1 << 20];
        (0..len_bytes >> 20).try_for_each(|_| std::io::Write::write_all(&mut file, &chunk))
    };
    fill().map_err(|error| format!("cannot write {LOOP_FILE}: {error}"))?;
    Ok(LOOP_FILE)
}

/// Waits until the device can be opened and has a size.
fn wait_for(device: &Path, mut ended: impl FnMut() -> Option<String>) -> Result<(), String> {
    let name = device.file_name().unwrap_or_default();
    let size = Path::new("/sys/block").join(name).join("size");
    let mut why = None;
    let there = wait_until(|| {
        why = ended();
        let sized = std::fs::read_to_string(&size).is_ok_and(|text| text.trim() != "0");
        why.is_some() || (sized && File::open(device).is_ok())
    });
    match why {
        Some(why) => Err(why),
        None if there => Ok(()),
        None => Err(format!("{} did not appear within {TIMEOUT:?}", device.display())),
    }
}

pub(super) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begin.elapsed() > TIMEOUT {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Who serves the device, by the driver's own word.
fn server_pid(id: u32) -> Result<i32, String> {
    let info = ublk_info(id)?;
    let pid = info["server_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.ok_or(format!("ublk list knows no server of device {id}: {info}"))
}

/// `UBLK_F_*` of the device, by name.
pub(super) fn ublk_features(id: u32) -> Result<Vec<String>, String> {
    let info = ublk_info(id)?;
    let flags = info["flags"].as_array().ok_or(format!("ublk list says no flags: {info}"))?;
    Ok(flags.iter().filter_map(|flag| flag.as_str()).map(str::to_owned).collect())
}

fn ublk_info(id: u32) -> Result<serde_json::Value, String> {
    let text = run(UBLK, &["list", "--json"])?;
    let list: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("ublk list: {error}"))?;
    let entry = list.as_array().into_iter().flatten().find(|entry| entry["id"] == id);
    entry.map(|entry| entry["info"].clone()).ok_or(format!("ublk list knows no device {id}"))
}

fn busybox(arguments: &[&str]) -> Result<String, String> {
    run(BUSYBOX, arguments)
}

pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let line = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", line()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} ended with {}: {}", line(), output.status, said.trim()))
}

pub(super) fn said_so_far() -> String {
    let text = std::fs::read(SAID).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let skip = text.chars().count().saturating_sub(SAID_BYTES_MAX);
    text.chars().skip(skip).collect::<String>().trim().to_owned()
}
