//! Between the calls of a disk and the double: what the block layer does with a call before the driver has
//! it, and one worker's life for each batch.

use std::io;
use std::sync::{Arc, PoisonError};

use super::outcome::{self, Rest};
use super::refusal::Limits;
use super::{Answer, Disk, Request};
use crate::queue::double::{Answered, Backing, Double, Work};
use crate::queue::{CounterSnapshot, QueueCounters, Transfer, transfer};
use crate::target::Op;
use crate::uapi::{Features, IoFlags, SECTOR_BYTES};

impl<T> Disk<T> {
    pub(super) fn limits(&self) -> Limits<'_> {
        Limits { params: &self.params, capabilities: (self.door.capabilities)(&self.target) }
    }

    /// As the block layer splits what an application asks for.
    pub(super) fn pieces(
        &self,
        op: Op,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> io::Result<Vec<(u64, u64)>> {
        let limits = self.limits();
        limits.check_kind(op, IoFlags::empty())?;
        limits.check_range(op, offset_bytes, len_bytes)?;
        let chunk_bytes = limits.chunk_bytes().filter(|_| matches!(op, Op::Read | Op::Write));
        let (mut pieces, mut at, end) = (Vec::new(), offset_bytes, offset_bytes + len_bytes);
        while at < end {
            let to_border = chunk_bytes.map_or(u64::MAX, |chunk| chunk - at % chunk);
            let len = (end - at).min(limits.max_bytes(op)).min(to_border);
            pieces.push((at, len));
            at += len;
        }
        Ok(pieces)
    }

    /// Exactly one request, and its answer.
    pub(super) fn one(&self, request: Request) -> io::Result<Answer> {
        self.all(&[request])?.pop().ok_or_else(|| never(0))
    }

    /// Every answer, or an error.
    pub(super) fn all(&self, requests: &[Request]) -> io::Result<Vec<Answer>> {
        let answers = self.submit(requests)?;
        match (0..requests.len())
            .find(|number| answers.iter().all(|answer| answer.request != *number))
        {
            Some(number) => Err(never(number)),
            None => Ok(answers),
        }
    }

    /// What the features of the mode come to with this target.
    fn features(&self) -> Features {
        let features = self.mode.features(&(self.door.capabilities)(&self.target));
        // As a server chooses it: the driver copies nothing itself on a device with zones.
        let zoned = (self.door.geometry)(&self.target).is_some();
        if zoned { features | Features::USER_COPY } else { features }
    }

    pub(super) fn serve(&self, requests: &[Request]) -> io::Result<Vec<Answer>> {
        let mode = transfer(self.features());
        let fallback = matches!(mode, Transfer::Registered { auto: true, fallback: true, .. });
        let work = |(number, request): (usize, &Request)| {
            let mut work = request.work();
            if fallback && number % 2 == 1 && request.data_len_bytes() > 0 {
                work.descriptor.op_flags |= IoFlags::NEED_REG_BUF.bits();
            }
            work
        };
        let answered = self.run(mode, requests.iter().enumerate().map(work).collect())?;
        let mut answers = Vec::with_capacity(answered.len());
        for answered in answered {
            let (number, request) = (answered.number, &requests[answered.number]);
            let part = answered.data.clone();
            match outcome::of(request, answered, mode == Transfer::Copy) {
                Ok(answer) => answers.push(answer),
                Err(Rest { done_bytes }) => {
                    let rest = Request::read(
                        request.offset_bytes + done_bytes as u64,
                        (part.len() - done_bytes) as u32,
                    );
                    // Shorter each time by a sector at least.
                    for mut answer in self.serve(&[rest])? {
                        answer.request = number;
                        answer.result = answer
                            .result
                            .map(|rest| [&part[..done_bytes], rest.as_slice()].concat());
                        answers.push(answer);
                    }
                }
            }
        }
        Ok(answers)
    }

    /// One worker's life, from its first fetch to the end of the device.
    fn run(&self, mode: Transfer, work: Vec<Work>) -> io::Result<Vec<Answered>> {
        if work.is_empty() {
            return Ok(Vec::new());
        }
        let depth = u16::try_from(work.len()).unwrap_or(u16::MAX).min(self.depth);
        let features = self.features();
        // A target cannot tell a buffer that is longer than its request from one that is not.
        let len_bytes = self.params.basic.max_sectors * SECTOR_BYTES as u32;
        let mut double = Double::new(depth, len_bytes)?;
        double.transfer = mode;
        double.get_data = features.contains(Features::NEED_GET_DATA) && mode == Transfer::Copy;
        double.files = (self.door.files)(&self.target).into_iter().map(Backing::File).collect();
        double.patience = self.patience;
        double.work = work.into();
        let counters = Arc::new(QueueCounters::default());
        let served =
            double.run(Arc::clone(&counters), |worker| (self.door.serve)(&self.target, worker));
        let mut all = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        *all = CounterSnapshot::total([&*all, &counters.snapshot()]);
        served.map_err(io::Error::other)
    }
}

fn never(number: usize) -> io::Error {
    let message = format!("request {number} was never answered; on a machine it would hang");
    io::Error::new(io::ErrorKind::TimedOut, message)
}
