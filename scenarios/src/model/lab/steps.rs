//! How each step is done: a control command, an order to a server, something with the block device.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ublk::ctrl::{Command, CtrlError, Reply as Answered};
use ublk::raw::{Addr, Completion, RawSqe};
use ublk::uapi::{DevInfo, Features, ParamBasic, Params};

use super::{LOOK_AGAIN, Lab, Trouble, differs};
use crate::block::nodes;
use crate::context::{During, Stop, errno};
use crate::model::device::{DEFAULT_MIB, TAGS};
use crate::model::effects::{Answer, any_of};
use crate::model::server::{BUFFER_BYTES, MODEL_SECTOR, Order, Reply};
use crate::model::step::Step;
use crate::model::view;
use crate::rig::EEXIST;

/// Bytes of one read.
const READ_BYTES: u32 = 4096;
/// Time given to QUIESCE_DEV, in milliseconds.
const QUIESCE_MS: u32 = 50;

impl Lab {
    pub(super) fn control_command(&self, step: &Step) -> Option<Command> {
        let dev_id = Self::id(step.dev()?);
        Some(match *step {
            Step::Add { recovery, quiesce, .. } => {
                let mut flags = view::features(recovery, quiesce);
                if self.no_part_scan {
                    flags |= Features::NO_AUTO_PART_SCAN;
                }
                let buffer_bytes = u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX);
                let mut info = DevInfo::new(1, u16::from(TAGS), buffer_bytes, flags);
                info.dev_id = dev_id;
                Command::AddDev(info)
            }
            Step::SetParams { valid, .. } => Command::SetParams { dev_id, params: params(valid) },
            Step::GetParams { .. } => Command::GetParams { dev_id },
            Step::GetAffinity { queue, .. } => {
                Command::GetQueueAffinity { dev_id, queue: u16::from(queue) }
            }
            Step::Start { server, .. } => Command::StartDev { dev_id, pid: self.pid(server) },
            Step::Stop { .. } => Command::StopDev { dev_id },
            Step::TryStop { .. } => Command::TryStopDev { dev_id },
            Step::Quiesce { .. } => Command::QuiesceDev { dev_id, timeout_ms: QUIESCE_MS },
            Step::UpdateSize { mib, .. } => {
                Command::UpdateSize { dev_id, dev_sectors: u64::from(mib) << 11 }
            }
            Step::StartRecovery { .. } => Command::StartUserRecovery { dev_id },
            Step::EndRecovery { server, .. } => {
                Command::EndUserRecovery { dev_id, pid: self.pid(server) }
            }
            Step::Del { .. } => Command::DelDev { dev_id },
            Step::DelAsync { .. } => Command::DelDevAsync { dev_id },
            _ => return None,
        })
    }

    pub(super) fn command(&mut self, command: Command, answer: &Answer) -> Result<(), Trouble> {
        let pending = self.control.submit(command).map_err(Stop::error)?;
        if let Answer::Blocks { slot, .. } = answer {
            self.pending.insert(*slot, pending);
            return Ok(());
        }
        let result = result_of(self.control.wait(&pending, self.patience))?;
        if result.is_none() {
            self.control.abandon(pending);
        }
        match result {
            Some(result) => expect(answer, result),
            None => Err(differs(answer, self.silence())),
        }
    }

    /// ADD_DEV. A device that goes by itself is not found any more a moment before its id is free.
    pub(super) fn add(&mut self, command: &Command, answer: &Answer) -> Result<(), Trouble> {
        let begin = Instant::now();
        loop {
            let added = self.command(command.clone(), answer);
            let taken = matches!(&added, Err(Trouble::Differs { observed, .. }) if *observed == errno(-EEXIST));
            let goes = expect(answer, 0).is_ok() && begin.elapsed() < self.patience;
            if !(taken && goes) {
                return added;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    pub(super) fn order(
        &mut self,
        step: &Step,
        opener: Option<u8>,
        answer: &Answer,
    ) -> Result<(), Trouble> {
        let id = Self::id(step.dev().unwrap_or(0));
        let (server, order) = match (step, answer) {
            (Step::Open { server, .. }, _) => (Some(*server), Order::Open { id }),
            (Step::Mmap { .. }, _) => (opener, Order::Map { id, stride_bytes: 24 }),
            (Step::CloseChar { .. }, _) => (opener, Order::Close { id }),
            (Step::Answer { .. }, _) => (opener, Order::Answer { id }),
            (_, Answer::Fetched { results }) => {
                let tags = results.iter().map(|(tag, _)| *tag).collect();
                (opener, Order::Fetch { id, tags })
            }
            _ => return Err(Stop::error(format_args!("nobody can do: {step}")).into()),
        };
        let server = server.ok_or_else(|| Stop::error(format_args!("no server for: {step}")))?;
        match (self.tell(server, &order)?, answer) {
            (Reply::Result { .. }, Answer::Nothing) => Ok(()),
            (Reply::Result { result }, _) => expect(answer, result),
            (Reply::Fetched { results }, Answer::Fetched { results: wanted }) => {
                let tags = wanted.iter().map(|(tag, _)| *tag);
                let observed = Answer::Fetched { results: tags.zip(results).collect() };
                if observed == *answer { Ok(()) } else { Err(differs(answer, observed)) }
            }
            (other, _) => Err(Stop::error(format_args!("a model server says {other:?}")).into()),
        }
    }

    pub(super) fn open_block(&mut self, dev: u8) -> Result<i32, Stop> {
        let mut options = OpenOptions::new();
        let path = nodes(Self::id(dev)).1;
        match options.read(true).custom_flags(nix::libc::O_DIRECT).open(path) {
            Ok(file) => {
                self.blocks[usize::from(dev)] = Some(Arc::new(file));
                Ok(0)
            }
            Err(error) => Ok(-error.raw_os_error().unwrap_or(nix::libc::EIO)),
        }
    }

    pub(super) fn read(&mut self, dev: u8, slot: u8) -> Result<(), Stop> {
        let file = self.blocks[usize::from(dev)].as_ref();
        let file = file.ok_or_else(|| Stop::error("a read of a device that is not open"))?;
        let addr = Addr::Arena(&self.arena, usize::from(slot) * 4096);
        let position = (MODEL_SECTOR + u64::from(slot) * 8) * 512;
        let sqe = RawSqe::read_fixed(file, position, READ_BYTES).buf_index(0).fixed_addr(addr);
        self.reads.push(&sqe.user_data(u64::from(slot))).during("push a read")?;
        self.reads.submit().during("submit a read").map(drop)
    }

    pub(super) fn collect_reads(&mut self, wait: Duration) -> Result<(), Stop> {
        let wanted = usize::from(!wait.is_zero());
        for Completion { user_data, res, .. } in
            self.reads.wait(wanted, wait).during("wait for reads")?
        {
            self.read_results.insert(u8::try_from(user_data).unwrap_or(u8::MAX), res);
        }
        Ok(())
    }

    pub(super) fn read_ends(&mut self, slot: u8, allowed: &[i32]) -> Result<(), Trouble> {
        let begin = Instant::now();
        let expected = || format!("read {slot} ends with {}", any_of(allowed));
        loop {
            if let Some(result) = self.read_results.remove(&slot) {
                let holds = allowed.contains(&result);
                let observed = format!("it ends with {}", errno(result));
                return if holds { Ok(()) } else { Err(differs(expected(), observed)) };
            }
            let left = self.patience.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(differs(
                    expected(),
                    format_args!("it does not end: {}", self.silence()),
                ));
            }
            self.collect_reads(left)?;
        }
    }

    pub(super) fn released(&mut self, slot: u8, allowed: &[i32]) -> Result<(), Trouble> {
        let pending = self.pending.remove(&slot);
        let pending = pending.ok_or_else(|| Stop::error("a command was held back unnoticed"))?;
        let what = pending.op().name();
        let expected = || format!("{what}, held back until now, is answered {}", any_of(allowed));
        match result_of(self.control.wait(&pending, self.patience))? {
            Some(result) if allowed.contains(&result) => Ok(()),
            Some(result) => {
                Err(differs(expected(), format_args!("it is answered {}", errno(result))))
            }
            None => {
                self.pending.insert(slot, pending);
                Err(differs(expected(), self.silence()))
            }
        }
    }
}

pub(super) fn expect(answer: &Answer, result: i32) -> Result<(), Trouble> {
    match answer {
        Answer::Results { allowed, .. } if allowed.contains(&result) => Ok(()),
        _ => Err(differs(answer, errno(result))),
    }
}

/// 0 or a negative errno; none when there was no answer in time.
pub(super) fn result_of(result: Result<Answered, CtrlError>) -> Result<Option<i32>, Stop> {
    match result {
        Ok(_) => Ok(Some(0)),
        Err(error) if error.is_timeout() => Ok(None),
        Err(error) => match error.errno() {
            Some(errno) => Ok(Some(-errno)),
            None => Err(Stop::error(error)),
        },
    }
}

/// Parameters of a device of 8 MiB, or some that are refused.
fn params(valid: bool) -> Params {
    Params::new(ParamBasic {
        logical_bs_shift: if valid { 9 } else { 3 },
        physical_bs_shift: 12,
        io_opt_shift: 12,
        io_min_shift: 9,
        max_sectors: u32::try_from(BUFFER_BYTES / 512).unwrap_or(u32::MAX),
        dev_sectors: u64::from(DEFAULT_MIB) << 11,
        ..ParamBasic::default()
    })
}
