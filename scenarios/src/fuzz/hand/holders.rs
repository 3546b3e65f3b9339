//! Ways of holding the char device open: descriptors, mappings, processes, sockets, rings.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use ublk::raw::{CharFile, CharMapping, Forked, Protection, WildRing};

use super::super::act::{Act, Hold};
use super::super::rings;
use super::device::Own;
use super::{Problem, Reply, left, result_of};
use crate::block::page_bytes;

/// Most holders of a case.
const HOLDERS_MAX: usize = 12;

/// One that lets go when it is dropped. What is in it is only there to be held.
#[allow(dead_code)]
enum Holder {
    File(CharFile),
    Copy(OwnedFd),
    Mapping(CharMapping),
    Forked(Forked),
    Started(Started),
    InFlight(OwnedFd, OwnedFd),
    Slot(WildRing),
}

/// Who holds it. The device's own server is the first, and not in here.
#[derive(Default)]
pub(super) struct Holders(Vec<Option<Holder>>);

impl Holders {
    /// Does an act that is about holders; none for another one. `free` says that nobody holds it, as far as is known.
    pub(super) fn obey(
        &mut self,
        own: &mut Own,
        act: &Act,
        free: bool,
        patience: Duration,
    ) -> Result<Option<Reply>, Problem> {
        Ok(Some(match act {
            Act::Hold { how } => self.hold(own, *how, free, patience)?,
            Act::Release { which: 0 } => {
                own.leave();
                Reply::Result { result: 0 }
            }
            Act::Release { which } => {
                if let Some(place) = self.0.get_mut(usize::from(*which) - 1) {
                    *place = None;
                }
                Reply::Result { result: 0 }
            }
            Act::Storm { threads, rounds } => storm(own.id, *threads, *rounds)?,
            _ => return Ok(None),
        }))
    }

    fn hold(
        &mut self,
        own: &Own,
        how: Hold,
        free: bool,
        patience: Duration,
    ) -> Result<Reply, Problem> {
        if self.0.len() >= HOLDERS_MAX {
            return Ok(left("there are enough holders"));
        }
        if how == Hold::Open {
            // Whoever held it last is let go in the background.
            let time = if free { patience } else { Duration::ZERO };
            let opened = CharFile::open_within(own.id, time);
            let result = result_of(opened.map(|file| self.0.push(Some(Holder::File(file)))))?;
            return Ok(Reply::Result { result });
        }
        let mut files = self.0.iter().flatten().filter_map(|holder| match holder {
            Holder::File(file) => Some(file),
            _ => None,
        });
        let Some(file) = own.file.as_ref().or(files.next_back()) else {
            return Ok(left("there is nothing to hold it by"));
        };
        let holder = held_by(own, file, how)?;
        self.0.push(Some(holder));
        Ok(Reply::Result { result: 0 })
    }
}

fn held_by(own: &Own, file: &CharFile, how: Hold) -> Result<Holder, Problem> {
    Ok(match how {
        Hold::Open | Hold::Dup => Holder::Copy(file.as_fd().try_clone_to_owned()?),
        Hold::Mapping => {
            let bytes = u64::from(own.info.io_desc_stride_bytes());
            let len =
                (bytes * u64::from(own.info.queue_depth)).next_multiple_of(page_bytes() as u64);
            let read = Protection { read: true, write: false, exec: false };
            Holder::Mapping(file.map_any(0, usize::try_from(len)?, read, false)?)
        }
        Hold::Fork => Holder::Forked(Forked::new()?),
        Hold::Exec => Holder::Started(Started::new(file)?),
        Hold::InFlight => {
            let (one, other) =
                socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
            let numbers = [file.as_fd().as_raw_fd()];
            let message = [ControlMessage::ScmRights(&numbers)];
            let bytes = [IoSlice::new(b"x")];
            sendmsg::<()>(one.as_raw_fd(), &bytes, &message, MsgFlags::empty(), None)?;
            Holder::InFlight(one, other)
        }
        Hold::Slot => {
            let mut ring = WildRing::new(rings::of(1).shape())?;
            ring.register_chars(&[file])?;
            Holder::Slot(ring)
        }
    })
}

/// Threads that open and close at once: never do two of them have it. How often it could be opened.
fn storm(id: u32, threads: u8, rounds: u8) -> Result<Reply, Problem> {
    let (inside, opened, twice) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let strange = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 4) {
            scope.spawn(|| {
                for _ in 0..rounds {
                    match CharFile::open(id) {
                        Ok(file) => {
                            opened.fetch_add(1, Ordering::Relaxed);
                            if inside.fetch_add(1, Ordering::SeqCst) != 0 {
                                twice.fetch_add(1, Ordering::Relaxed);
                            }
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(file);
                        }
                        Err(error) => {
                            let errno = error.raw_os_error().unwrap_or(0);
                            let known = [nix::libc::EBUSY, nix::libc::ENOENT, nix::libc::ENXIO];
                            if !known.contains(&errno) {
                                strange.store(errno.unsigned_abs(), Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let (twice, strange) = (twice.into_inner(), strange.into_inner());
    if twice > 0 {
        return Err(format!("{twice} times two threads had the char device open").into());
    }
    if strange > 0 {
        return Err(format!("an open in a storm was refused with errno {strange}").into());
    }
    Ok(Reply::Result { result: i64::from(opened.into_inner()) })
}

/// A process that has the char device as its standard input.
struct Started(Child);

impl Started {
    fn new(file: &CharFile) -> Result<Self, Problem> {
        let input = File::from(file.as_fd().try_clone_to_owned()?);
        let mut command = Command::new("/proc/self/exe");
        let parent = std::process::id().to_string();
        command.args(["fuzz-holder", &parent]).stdin(Stdio::from(input));
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that holds what it was started with until it is killed, or its parent ends: `runner fuzz-holder`.
#[must_use]
pub fn main() -> ExitCode {
    if nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_err() {
        return ExitCode::FAILURE;
    }
    // A parent that was gone before that could be asked for is not noticed by it.
    let parent = std::env::args().nth(2).and_then(|pid| pid.parse().ok());
    if parent != Some(nix::unistd::getppid().as_raw()) {
        return ExitCode::SUCCESS;
    }
    std::thread::sleep(Duration::from_secs(120));
    ExitCode::SUCCESS
}
