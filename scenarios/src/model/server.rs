//! A server of the model's world: `runner model-server`, a process of its own because its death is one of the steps.
//!
//! It does what it is told, one line of JSON after the other, and reports what its tags are. Requests below [`MODEL_SECTOR`]
//! are nobody's step (a partition scan on kernels that cannot leave it out); those it answers by itself.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use ublk::raw::{Arena, RawRing};

use super::served::{Served, TAGS_MAX};
use super::step::Stray;
use super::threads::Threads;

/// The model's reads start here; what is read below is the kernel's own doing.
pub(super) const MODEL_SECTOR: u64 = 4096;
/// Bytes of each tag's buffer, and the largest request.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// What it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum Order {
    /// Open the char device with that id; `copies` tells whether its commands carry buffers.
    Open { id: u32, queues: u8, copies: bool },
    /// Map its descriptors.
    Map { id: u32 },
    /// Send FETCH_REQ for each of these tags, by these threads.
    Fetch { id: u32, tags: Vec<(u8, u8)> },
    /// Commit every request.
    Answer { id: u32 },
    /// Commit that read's request by another thread than has fetched its tag.
    AnswerWrong { id: u32, slot: u8 },
    /// pread or pwrite that read's data.
    Copy { id: u32, slot: Option<u8>, write: bool },
    /// Send NEED_GET_DATA for that write.
    GetData { id: u32, slot: Option<u8> },
    /// Send a command of tag 0 that is not called for.
    Stray { id: u32, command: Stray },
    /// Register that read's pages.
    Register { id: u32, slot: Option<u8> },
    /// Unregister them; that queue's thread does.
    Unregister { id: u32, slot: Option<u8>, queue: u8 },
    /// End the second thread.
    EndThread,
    /// Say what the tags are.
    Report { id: u32 },
    /// Close ring, mapping and file.
    Close { id: u32 },
}

impl Order {
    fn device(&self) -> Option<u32> {
        match self {
            Self::EndThread => None,
            Self::Open { id, .. }
            | Self::Map { id }
            | Self::Fetch { id, .. }
            | Self::Answer { id }
            | Self::AnswerWrong { id, .. }
            | Self::Copy { id, .. }
            | Self::GetData { id, .. }
            | Self::Stray { id, .. }
            | Self::Register { id, .. }
            | Self::Unregister { id, .. }
            | Self::Report { id }
            | Self::Close { id } => Some(*id),
        }
    }
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(super) enum Reply {
    /// 0 or a negative errno.
    Result { result: i32 },
    /// Of each FETCH_REQ: 0 for armed, else the completion's result.
    Fetched { results: Vec<i32> },
    /// Number of tags that are armed, with the server, and taken back.
    Tags { counts: TagCounts },
    /// It cannot do that.
    Trouble { message: String },
}

/// A reply, and what the tags of the device it is about were just then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) reply: Reply,
    pub(super) tags: Option<(u32, TagCounts)>,
}

/// Number of tags by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagCounts {
    /// Waiting for a request.
    pub armed: usize,
    /// With the server.
    pub owned: usize,
    /// Completed with -ENODEV.
    pub cancelled: usize,
}

/// The process. Ends with standard input.
#[must_use]
pub fn main() -> ExitCode {
    let mut served: BTreeMap<u32, Served> = BTreeMap::new();
    let mut threads = Threads::default();
    let mut input = BufReader::new(io::stdin());
    // One arena for ever: the kernel may still copy into it after a close.
    let Ok(buffers) = Arena::new(TAGS_MAX * BUFFER_BYTES) else {
        eprintln!("runner: model-server: no memory for buffers");
        return ExitCode::FAILURE;
    };
    loop {
        if input.buffer().is_empty() {
            wait(&served);
        }
        for device in served.values_mut() {
            if let Err(error) = device.look(&mut threads) {
                eprintln!("runner: model-server: {error}");
            }
        }
        if input.buffer().is_empty() && !is_readable() {
            continue;
        }
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(1..) => {}
            _ => return ExitCode::SUCCESS,
        }
        let (reply, about) = match serde_json::from_str::<Order>(&line) {
            Ok(order) => {
                let about = order.device();
                let reply = obey(&mut served, &mut threads, buffers, order)
                    .unwrap_or_else(|error| Reply::Trouble { message: error.to_string() });
                (reply, about)
            }
            Err(error) => (Reply::Trouble { message: error.to_string() }, None),
        };
        let device = about.and_then(|id| Some((id, served.get(&id)?.counts())));
        let Ok(mut text) = serde_json::to_string(&Told { reply, tags: device }) else {
            return ExitCode::FAILURE;
        };
        text.push('\n');
        let mut output = io::stdout();
        if output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_err() {
            return ExitCode::SUCCESS;
        }
    }
}

/// Until there is an order or a completion.
fn wait(served: &BTreeMap<u32, Served>) {
    let input = io::stdin();
    let mut fds = vec![PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    let rings = served.values().flat_map(Served::rings);
    fds.extend(rings.map(|ring| PollFd::new(ring.as_fd(), PollFlags::POLLIN)));
    // A signal that ends the wait early only costs a look.
    let _ = poll(&mut fds, PollTimeout::from(100_u8));
}

fn is_readable() -> bool {
    let input = io::stdin();
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

fn obey(
    served: &mut BTreeMap<u32, Served>,
    threads: &mut Threads,
    buffers: Arena,
    order: Order,
) -> Result<Reply, Box<dyn std::error::Error>> {
    let result = match order {
        Order::Open { id, queues, copies } => {
            errno(Served::open(id, queues, copies, buffers).map(|device| {
                served.insert(id, device);
            }))?
        }
        Order::Close { id } => {
            served.remove(&id);
            0
        }
        Order::EndThread => {
            let rings: Vec<RawRing> =
                served.values_mut().filter_map(Served::leave_thread).collect();
            threads.end(rings)?;
            0
        }
        Order::Map { id } => errno(open(served, id)?.map())?,
        Order::Fetch { id, tags } => {
            let device = open(served, id)?;
            let fetch = |(tag, thread)| device.fetch(threads, tag, thread);
            let results = tags.into_iter().map(fetch).collect::<Result<_, _>>()?;
            return Ok(Reply::Fetched { results });
        }
        Order::Answer { id } => {
            open(served, id)?.answer_all(threads)?;
            0
        }
        Order::AnswerWrong { id, slot } => open(served, id)?.answer_wrong(threads, slot)?,
        Order::Copy { id, slot, write } => open(served, id)?.copy(threads, slot, write)?,
        Order::GetData { id, slot } => open(served, id)?.get_data(threads, slot)?,
        Order::Stray { id, command } => open(served, id)?.stray(threads, command)?,
        Order::Register { id, slot } => open(served, id)?.register(threads, slot)?,
        Order::Unregister { id, slot, queue } => {
            open(served, id)?.unregister(threads, slot, queue)?
        }
        Order::Report { id } => {
            let device = open(served, id)?;
            device.look(threads)?;
            return Ok(Reply::Tags { counts: device.counts() });
        }
    };
    Ok(Reply::Result { result })
}

fn open(served: &mut BTreeMap<u32, Served>, id: u32) -> io::Result<&mut Served> {
    served.get_mut(&id).ok_or_else(|| io::Error::other("that device is not open here"))
}

/// 0 or a negative errno.
fn errno(result: io::Result<()>) -> io::Result<i32> {
    match result {
        Ok(()) => Ok(0),
        Err(error) => error.raw_os_error().map(|errno| -errno).ok_or(error),
    }
}
