//! A server of the model's world: `runner model-server`, a process of its own because its death is one of the steps.
//!
//! It does what it is told, one line of JSON after the other, and reports what its tags are. Requests below [`MODEL_SECTOR`]
//! are nobody's step (a partition scan on kernels that cannot leave it out); those it answers by itself.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use ublk::raw::{Addr, Arena, CharFile, DescArea, IoPayload, RawRing, RawSqe, RingShape};
use ublk::uapi::{IO_RES_OK, IoCmdOp};

use super::device::TAGS;

/// The model's reads start here; what is read below is the kernel's own doing.
pub(super) const MODEL_SECTOR: u64 = 4096;
/// Bytes of each tag's buffer, and the largest request.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// What it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum Order {
    /// Open the char device with that id.
    Open { id: u32 },
    /// Map its descriptors.
    Map { id: u32, stride_bytes: u16 },
    /// Send FETCH_REQ for each of these tags.
    Fetch { id: u32, tags: Vec<u8> },
    /// Commit every request.
    Answer { id: u32 },
    /// Say what the tags are.
    Report { id: u32 },
    /// Close ring, mapping and file.
    Close { id: u32 },
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    Free,
    Armed,
    Owned,
    Cancelled,
}

/// One open device.
struct Served {
    // Dropped first: its commands hold the file.
    ring: RawRing,
    area: Option<DescArea>,
    file: CharFile,
    buffers: Arena,
    hands: [Hand; TAGS as usize],
}

/// The process. Ends with standard input.
#[must_use]
pub fn main() -> ExitCode {
    let mut served: BTreeMap<u32, Served> = BTreeMap::new();
    let mut input = BufReader::new(io::stdin());
    // One arena for ever: the kernel may still copy into it after a close.
    let Ok(buffers) = Arena::new(usize::from(TAGS) * BUFFER_BYTES) else {
        eprintln!("runner: model-server: no memory for buffers");
        return ExitCode::FAILURE;
    };
    loop {
        if input.buffer().is_empty() {
            wait(&served);
        }
        for device in served.values_mut() {
            if let Err(error) = device.look() {
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
        let reply = match serde_json::from_str(&line) {
            Ok(order) => obey(&mut served, buffers, order)
                .unwrap_or_else(|error| Reply::Trouble { message: error.to_string() }),
            Err(error) => Reply::Trouble { message: error.to_string() },
        };
        let Ok(mut text) = serde_json::to_string(&reply) else { return ExitCode::FAILURE };
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
    fds.extend(served.values().map(|one| PollFd::new(one.ring.as_fd(), PollFlags::POLLIN)));
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
    buffers: Arena,
    order: Order,
) -> Result<Reply, Box<dyn std::error::Error>> {
    let result = |result| Ok(Reply::Result { result });
    match order {
        Order::Open { id } => match CharFile::open(id) {
            Ok(file) => {
                let ring = RawRing::new(RingShape::default())?;
                let hands = [Hand::Free; TAGS as usize];
                served.insert(id, Served { ring, area: None, file, buffers, hands });
                result(0)
            }
            Err(error) => result(-error.raw_os_error().ok_or("open failed without an errno")?),
        },
        Order::Close { id } => {
            served.remove(&id);
            result(0)
        }
        Order::Map { id, stride_bytes } => {
            let device = served.get_mut(&id).ok_or("that device is not open here")?;
            match device.file.map(0, u16::from(TAGS), stride_bytes) {
                Ok(area) => {
                    device.area = Some(area);
                    result(0)
                }
                Err(error) => result(-error.raw_os_error().ok_or("mmap failed without an errno")?),
            }
        }
        Order::Fetch { id, tags } => {
            let device = served.get_mut(&id).ok_or("that device is not open here")?;
            let results =
                tags.into_iter().map(|tag| device.fetch(tag)).collect::<Result<_, _>>()?;
            Ok(Reply::Fetched { results })
        }
        Order::Answer { id } => {
            let device = served.get_mut(&id).ok_or("that device is not open here")?;
            device.answer_all()?;
            result(0)
        }
        Order::Report { id } => {
            let device = served.get_mut(&id).ok_or("that device is not open here")?;
            device.look()?;
            Ok(Reply::Tags { counts: device.counts() })
        }
    }
}

/// A FETCH_REQ carries this beside its tag, a commit does not: a refused FETCH is told by its own completion.
const FETCH: u64 = 1 << 32;

impl Served {
    fn send(&mut self, op: IoCmdOp, tag: u8, result: i32, mark: u64) -> io::Result<()> {
        let addr = Addr::Arena(&self.buffers, usize::from(tag) * BUFFER_BYTES);
        let payload = IoPayload { queue: 0, tag: u16::from(tag), result, addr };
        let sqe = RawSqe::io(&self.file, op.encoded(), &payload).user_data(mark | u64::from(tag));
        self.ring.push(&sqe)?;
        self.ring.submit()?;
        Ok(())
    }

    /// 0 where it is armed, else its result.
    fn fetch(&mut self, tag: u8) -> io::Result<i32> {
        self.look()?;
        let before = self.hands[usize::from(tag % TAGS)];
        self.send(IoCmdOp::FetchReq, tag, 0, FETCH)?;
        // Refusals are answered while the command is submitted.
        for completion in self.ring.wait(0, Duration::ZERO)? {
            if completion.user_data & FETCH != 0 && completion.res < 0 {
                return Ok(completion.res);
            }
            self.take(completion.user_data, completion.res)?;
        }
        if before == Hand::Free {
            self.hands[usize::from(tag % TAGS)] = Hand::Armed;
        }
        Ok(0)
    }

    /// Takes in what has come.
    fn look(&mut self) -> io::Result<()> {
        for completion in self.ring.wait(0, Duration::ZERO)? {
            self.take(completion.user_data, completion.res)?;
        }
        Ok(())
    }

    fn take(&mut self, user_data: u64, res: i32) -> io::Result<()> {
        let tag = u8::try_from(user_data & 0xff).unwrap_or(0) % TAGS;
        if res != IO_RES_OK {
            self.hands[usize::from(tag)] = Hand::Cancelled;
            return Ok(());
        }
        self.hands[usize::from(tag)] = Hand::Owned;
        if self.area.is_none() {
            self.area = Some(self.file.map(0, u16::from(TAGS), 24)?);
        }
        let descriptor = self.area.as_ref().map(|area| area.copy_out(u16::from(tag)));
        match descriptor {
            Some(descriptor) if descriptor.start_sector < MODEL_SECTOR => self.answer(tag),
            _ => Ok(()),
        }
    }

    fn answer(&mut self, tag: u8) -> io::Result<()> {
        let sectors = self.area.as_ref().map_or(0, |area| area.copy_out(u16::from(tag)).nr_sectors);
        let bytes = i32::try_from(u64::from(sectors) * 512).unwrap_or(i32::MAX);
        self.hands[usize::from(tag)] = Hand::Armed;
        self.send(IoCmdOp::CommitAndFetchReq, tag, bytes, 0)
    }

    fn answer_all(&mut self) -> io::Result<()> {
        self.look()?;
        for tag in 0..TAGS {
            if self.hands[usize::from(tag)] == Hand::Owned {
                self.answer(tag)?;
            }
        }
        Ok(())
    }

    fn counts(&self) -> TagCounts {
        let count = |wanted| self.hands.iter().filter(|hand| **hand == wanted).count();
        TagCounts {
            armed: count(Hand::Armed),
            owned: count(Hand::Owned),
            cancelled: count(Hand::Cancelled),
        }
    }
}
