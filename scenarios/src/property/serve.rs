//! What a hand does with what completes: commands that are answered, and requests that are to be served.

use std::time::{Duration, Instant};

use reports::event::FailureKind;
use ublk::raw::{Completion, RawSqe};
use ublk::uapi::{IO_RES_ABORT, IO_RES_NEED_GET_DATA, IO_RES_OK, IoCmdOp, IoDesc, Op};

use super::hand::{BUFFER_BYTES, COMMIT, DISK_BYTES, FETCH, Hand, OTHERS, SIDE};
use crate::context::{During, Stop};
use crate::rig::{EINVAL, EIO};

impl Hand {
    /// The result of a command that is not the server's usual business; deliveries that come meanwhile are kept.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) fn result_of(&mut self, what: &str, sqe: RawSqe) -> Result<i32, Stop> {
        self.send(&sqe.user_data(SIDE))?;
        let begin = Instant::now();
        while begin.elapsed() < self.timeout {
            if let Some(result) = self.side.take() {
                return Ok(result);
            }
            self.look(Duration::from_millis(20))?;
        }
        Err(Stop::fail(FailureKind::Completion, format_args!("{what} got no answer")))
    }

    /// The result of the COMMIT_IO_CMDS that was sent.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) fn one_commit(&mut self) -> Result<i32, Stop> {
        let begin = Instant::now();
        while begin.elapsed() < self.timeout {
            if let Some(result) = self.commits.pop_front() {
                return Ok(result);
            }
            self.look(Duration::from_millis(20))?;
        }
        Err(Stop::fail(FailureKind::Completion, "COMMIT_IO_CMDS got no answer"))
    }

    /// Takes what has completed, waiting up to `timeout` for one.
    pub(super) fn look(&mut self, timeout: Duration) -> Result<(), Stop> {
        for completion in self.ring.wait(1, timeout).during("wait for completions")? {
            self.take(completion)?;
        }
        Ok(())
    }

    fn take(&mut self, completion: Completion) -> Result<(), Stop> {
        let tag = u16::try_from(completion.user_data).ok().filter(|tag| *tag < self.depth);
        match (completion.user_data, tag, completion.res) {
            (SIDE, _, result) => self.side = Some(result),
            (OTHERS.., _, result) => self.others.push((completion.user_data, result)),
            (COMMIT, _, result) => self.commits.push_back(result),
            (FETCH, _, result) => self.take_batch(completion.flags, result)?,
            (_, Some(tag), IO_RES_OK) => self.delivered.push_back(tag),
            (_, Some(tag), IO_RES_NEED_GET_DATA) => {
                self.asks[usize::from(tag)] = true;
                self.delivered.push_back(tag);
            }
            (_, Some(_), IO_RES_ABORT) => self.aborted += 1,
            _ => {
                let what =
                    format!("{}: a server's command ended with {completion:?}", self.mode.name);
                return Err(Stop::fail(FailureKind::Completion, what));
            }
        }
        Ok(())
    }

    /// Adds a tag that a batch fetch delivered.
    pub(super) fn deliver(&mut self, tag: u16) {
        self.delivered.push_back(tag);
    }

    /// The next tag with a request, if one comes within `timeout`.
    ///
    /// # Errors
    /// When a completion is none that a server expects.
    pub(super) fn next(&mut self, timeout: Duration) -> Result<Option<u16>, Stop> {
        if self.delivered.is_empty() {
            self.look(timeout)?;
        }
        Ok(self.delivered.pop_front())
    }

    /// The next request that `wanted` says yes to; others are served.
    ///
    /// # Errors
    /// When none comes in time.
    pub(super) fn find(&mut self, wanted: impl Fn(&IoDesc) -> bool) -> Result<u16, Stop> {
        let begin = Instant::now();
        while begin.elapsed() < self.timeout {
            if let Some(tag) = self.next(Duration::from_millis(20))? {
                if wanted(&self.request(tag)) {
                    return Ok(tag);
                }
                self.serve(tag)?;
            }
        }
        let what = format!("{}: the request that was sent is not delivered", self.mode.name);
        Err(Stop::fail(FailureKind::Completion, what))
    }

    /// What was asked with `tag`.
    pub(super) fn request(&self, tag: u16) -> IoDesc {
        self.descriptors.copy_out(tag)
    }

    /// Does what the request asks and commits it.
    ///
    /// # Errors
    /// When bytes cannot be moved or the commit cannot be sent.
    pub(super) fn serve(&mut self, tag: u16) -> Result<(), Stop> {
        let result = self.perform(tag)?;
        self.commit(tag, result)
    }

    /// Does what the request asks; the result to commit.
    ///
    /// # Errors
    /// When bytes cannot be moved.
    pub(super) fn perform(&mut self, tag: u16) -> Result<i32, Stop> {
        let request = self.request(tag);
        // Before any arithmetic: the sector of a FLUSH is all ones.
        let op = match request.op() {
            Some(Op::Flush) => return Ok(0),
            Some(op @ (Op::Read | Op::Write | Op::Discard | Op::WriteZeroes)) => op,
            _ => return Ok(-EINVAL),
        };
        let start = usize::try_from(request.start_sector.saturating_mul(512)).unwrap_or(usize::MAX);
        let len = request.nr_sectors as usize * 512;
        let end = start.checked_add(len).filter(|end| *end <= DISK_BYTES);
        let fits = len <= BUFFER_BYTES || !matches!(op, Op::Read | Op::Write);
        let Some(range) = end.filter(|_| fits).map(|end| start..end) else {
            return Ok(-EIO);
        };
        match op {
            Op::Read => {
                let bytes = self.disk[range].to_vec();
                self.give(tag, &bytes)?;
            }
            Op::Write => {
                let bytes = self.take_bytes(tag, len)?;
                self.disk[range].copy_from_slice(&bytes);
            }
            _ => self.disk[range].fill(0),
        }
        Ok(i32::try_from(len).unwrap_or(-EIO))
    }

    /// Commits `result` and arms the tag again.
    ///
    /// # Errors
    /// When it cannot be sent, or a batch commit of one tag is not answered with one element.
    pub(super) fn commit(&mut self, tag: u16, result: i32) -> Result<(), Stop> {
        if self.mode.batch {
            return self.commit_batch(&[(tag, result)]);
        }
        let sqe = self.tag_command(IoCmdOp::CommitAndFetchReq, tag, result);
        self.send(&sqe)
    }

    /// Serves what comes within `timeout`.
    ///
    /// # Errors
    /// When a request cannot be served.
    pub(super) fn serve_for(&mut self, timeout: Duration) -> Result<(), Stop> {
        if let Some(tag) = self.next(timeout)? {
            self.serve(tag)?;
        }
        Ok(())
    }

    /// Serves until `done`, at most as long as a command may take; whether it came.
    ///
    /// # Errors
    /// When a request cannot be served.
    pub(super) fn serve_until(&mut self, mut done: impl FnMut() -> bool) -> Result<bool, Stop> {
        let begin = Instant::now();
        while begin.elapsed() < self.timeout {
            if done() {
                return Ok(true);
            }
            if let Some(tag) = self.next(Duration::from_millis(1))? {
                self.serve(tag)?;
            }
        }
        Ok(done())
    }
}
