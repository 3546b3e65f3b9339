//! The other side of the disk: one request at a time, of every kind that user space can ask for, from a thread of its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::{EIO, ENOSPC, EOPNOTSUPP, O_DIRECT, O_DSYNC};
use reports::event::FailureKind;

use super::hand::Hand;
use crate::block::{AlignedBuffer, nodes};
use crate::context::{Context, Stop};

pub(super) const BLKDISCARD: &str = "/sbin/blkdiscard";

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Action {
    Read,
    Write,
    /// A write that is durable when it is done.
    FuaWrite,
    Flush,
    Discard,
    /// Zeroes, and the place may be given back.
    Zero,
    /// Zeroes that stay allocated.
    ZeroKeep,
}

impl Action {
    /// Each of them once. The last costs a process for each request.
    pub(super) const EVERY: [Self; 7] = [
        Self::Read,
        Self::Write,
        Self::FuaWrite,
        Self::Flush,
        Self::Zero,
        Self::ZeroKeep,
        Self::Discard,
    ];
}

/// How it ended: what was read or written, or an error.
pub(super) type Sent = JoinHandle<io::Result<Vec<u8>>>;

/// The disk of a hand, open for I/O without the page cache.
pub(super) struct Client {
    path: PathBuf,
    direct: Arc<File>,
    durable: Arc<File>,
}

impl Client {
    /// Opens the disk, which its server has to answer for.
    pub(super) fn open(context: &mut Context, hand: &mut Hand) -> Result<Self, Stop> {
        let path = nodes(hand.rig.id).1;
        let of = path.clone();
        let opener = std::thread::spawn(move || {
            let open =
                |flags| OpenOptions::new().read(true).write(true).custom_flags(flags).open(&of);
            Ok::<_, io::Error>((open(O_DIRECT)?, open(O_DIRECT | O_DSYNC)?))
        });
        let opened = hand.serve_until(|| opener.is_finished())?;
        context.check(FailureKind::Completion, "the disk can be opened", opened)?;
        let (direct, durable) = opener.join().map_err(|_| Stop::error("the opener panicked"))??;
        Ok(Self { path, direct: Arc::new(direct), durable: Arc::new(durable) })
    }

    /// Sends one request, of `content` if it writes, and of `len_bytes` in any case.
    pub(super) fn send(&self, action: Action, at: u64, len_bytes: usize, content: &[u8]) -> Sent {
        let file =
            Arc::clone(if action == Action::FuaWrite { &self.durable } else { &self.direct });
        let (path, content) = (self.path.clone(), content.to_vec());
        std::thread::spawn(move || {
            let mut buffer = AlignedBuffer::zeroed(len_bytes);
            let nothing = |()| Vec::new();
            let space = |flags| {
                let (at, len) = (at.cast_signed(), len_bytes as i64);
                fallocate(&*file, flags, at, len).map_err(io::Error::from)
            };
            match action {
                Action::Read => file.read_exact_at(&mut buffer, at).map(|()| buffer.to_vec()),
                Action::Write | Action::FuaWrite => {
                    buffer.copy_from_slice(&content);
                    file.write_all_at(&buffer, at).map(|()| content)
                }
                Action::Flush => file.sync_data().map(nothing),
                Action::Discard => discard(&path, at, len_bytes).map(nothing),
                Action::Zero => space(
                    FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
                )
                .map(nothing),
                Action::ZeroKeep => space(FallocateFlags::FALLOC_FL_ZERO_RANGE).map(nothing),
            }
        })
    }
}

/// BLKDISCARD by the program that has it, which tells the errno in words.
fn discard(path: &std::path::Path, at: u64, len_bytes: usize) -> io::Result<()> {
    let range = [at.to_string(), len_bytes.to_string()];
    let output = Command::new(BLKDISCARD)
        .args(["-f", "-o", &range[0], "-l", &range[1]])
        .arg(path)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let known = [
        (EIO, "Input/output error"),
        (ENOSPC, "No space left on device"),
        (EOPNOTSUPP, "Operation not supported"),
    ];
    Err(match known.iter().find(|(_, words)| said.contains(words)) {
        Some((errno, _)) => io::Error::from_raw_os_error(*errno),
        None => io::Error::other(said),
    })
}
