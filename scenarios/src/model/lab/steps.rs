//! How each step is done: a control command, an order to a server, something with the block device.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use ublk::ctrl::{Command, CtrlError, Reply as Answered};
use ublk::raw::{Addr, Completion, RawSqe};
use ublk::uapi::{DevInfo, Features, Params, ShmemBufFlags};

use super::{LOOK_AGAIN, Lab, Trouble, differs};
use crate::block::nodes;
use crate::context::{During, Stop, errno};
use crate::model::device::{DEFAULT_MIB, Device, Read};
use crate::model::effects::{Answer, any_of};
use crate::model::profile::Profile;
use crate::model::queue::TAGS;
use crate::model::server::{BUFFER_BYTES, MODEL_SECTOR, Order, Reply};
use crate::model::sort::{Mode, Sort};
use crate::model::step::Step;
use crate::model::view;
use crate::model::world::{World, thread_of};
use crate::rig::{EACCES, EBUSY, EEXIST, plain_params};

/// Bytes of one read.
const READ_BYTES: u32 = 4096;
/// Time given to QUIESCE_DEV, in milliseconds.
const QUIESCE_MS: u32 = 50;

/// Makes a read or a write.
type Make = fn(&Arc<File>, u64, u32) -> RawSqe;

/// What a step that a server does is about.
pub(super) struct Subject {
    opener: Option<u8>,
    sort: Sort,
    read: Option<Read>,
}

impl Lab {
    pub(super) fn control_command(&self, step: &Step) -> Option<Command> {
        let dev_id = Self::id(step.dev()?);
        Some(match *step {
            Step::Add { sort, .. } => {
                let mut flags = view::features(sort);
                if self.no_part_scan {
                    flags |= Features::NO_AUTO_PART_SCAN;
                }
                let buffer_bytes = u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX);
                let mut info =
                    DevInfo::new(u16::from(sort.queues()), u16::from(TAGS), buffer_bytes, flags);
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
            Step::GetInfo2 { .. } => Command::GetDevInfo2 { dev_id },
            Step::RegBuf { page, .. } => Command::RegBuf {
                dev_id,
                arena: self.pages[usize::from(page)],
                flags: ShmemBufFlags::empty(),
            },
            Step::UnregBuf { index, .. } => Command::UnregBuf { dev_id, index: u32::from(index) },
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

    /// Does again what is refused by `refusal`, and should not be, of something that is about to end.
    pub(super) fn again_while(
        &mut self,
        refusal: Option<i32>,
        mut once: impl FnMut(&mut Self) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let begin = Instant::now();
        loop {
            let done = once(self);
            let refused = refusal.is_some_and(|refusal| {
                matches!(&done, Err(Trouble::Differs { observed, .. }) if *observed == errno(-refusal))
            });
            if !refused || begin.elapsed() >= self.patience {
                return done;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// What a step that a server does is about, before it is done.
    pub(super) fn subject(world: &World, step: &Step) -> Subject {
        let device = step.dev().and_then(|dev| world.device(dev));
        Subject {
            opener: device.and_then(|device| device.opener).or_else(|| step.server()),
            sort: device.map(|device| device.sort).unwrap_or_default(),
            read: match step {
                Step::Unregister { .. } => device.and_then(Device::registered),
                Step::GetData { .. } => {
                    device.and_then(|device| device.wanting().or_else(|| device.target()))
                }
                _ => device.and_then(Device::target),
            },
        }
    }

    pub(super) fn order(
        &mut self,
        step: &Step,
        subject: &Subject,
        answer: &Answer,
    ) -> Result<(), Trouble> {
        let id = Self::id(step.dev().unwrap_or(0));
        let slot = subject.read.map(|read| read.slot);
        let server = match step {
            Step::Open { server, .. } => Some(*server),
            _ => subject.opener,
        };
        let order = match (*step, answer) {
            (Step::Open { .. }, _) => {
                let copies = matches!(subject.sort.mode, Mode::Copy | Mode::GetData);
                let queues = subject.sort.queues();
                Order::Open { id, queues, copies }
            }
            (Step::Mmap { .. }, _) => Order::Map { id },
            (Step::CloseChar { .. }, _) => Order::Close { id },
            (Step::Answer { .. }, _) => Order::Answer { id },
            (Step::AnswerWrong { .. }, _) => Order::AnswerWrong { id, slot: slot.unwrap_or(0) },
            (Step::Copy { write, .. }, _) => Order::Copy { id, slot, write },
            (Step::GetData { .. }, _) => Order::GetData { id, slot },
            (Step::Stray { command, .. }, _) => Order::Stray { id, command },
            (Step::Register { .. }, _) => Order::Register { id, slot },
            (Step::Unregister { .. }, _) => {
                let queue = subject.read.map_or(0, |read| read.queue);
                Order::Unregister { id, slot, queue }
            }
            (Step::EndThread { .. }, _) => Order::EndThread,
            (_, Answer::Fetched { results }) => {
                let thread = |tag| match *step {
                    Step::Fetch { thread, .. } => thread,
                    Step::FetchAll { spread, .. } => thread_of(tag, spread),
                    _ => 0,
                };
                let tags = results.iter().map(|(tag, _)| (*tag, thread(*tag))).collect();
                Order::Fetch { id, tags }
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

    pub(super) fn open_block(&mut self, dev: u8, client: u8) -> Result<i32, Stop> {
        let mut options = OpenOptions::new();
        let path = nodes(Self::id(dev)).1;
        match options.read(true).write(true).custom_flags(nix::libc::O_DIRECT).open(path) {
            Ok(file) => {
                self.blocks[usize::from(dev)][usize::from(client)] = Some(Arc::new(file));
                Ok(0)
            }
            Err(error) => Ok(-error.raw_os_error().unwrap_or(nix::libc::EIO)),
        }
    }

    /// Learns on which CPUs a new device's queues are.
    pub(super) fn learn_queues(&mut self, dev: u8, sort: Sort) -> Result<(), Stop> {
        let mut cpus = Vec::new();
        for queue in 0..sort.queues() {
            let command =
                Command::GetQueueAffinity { dev_id: Self::id(dev), queue: u16::from(queue) };
            match self.control.call(command, self.patience).map_err(Stop::error)? {
                Answered::Affinity(of_queue) => cpus.extend(of_queue.first()),
                other => {
                    return Err(Stop::error(format_args!("GET_QUEUE_AFFINITY says {other:?}")));
                }
            }
        }
        self.cpus[usize::from(dev)] = cpus;
        Ok(())
    }

    /// A read or a write on a CPU of that queue.
    pub(super) fn request_on(
        &mut self,
        dev: u8,
        slot: u8,
        queue: u8,
        make: Make,
    ) -> Result<(), Stop> {
        let cpus = self.cpus.get(usize::from(dev));
        let Some(cpu) =
            cpus.filter(|cpus| cpus.len() > 1).and_then(|cpus| cpus.get(usize::from(queue)))
        else {
            return self.request(dev, slot, make);
        };
        let myself = nix::unistd::Pid::from_raw(0);
        let before = sched_getaffinity(myself).during("ask for the CPUs")?;
        let mut one = CpuSet::new();
        one.set(usize::try_from(*cpu).unwrap_or(0)).during("name a CPU")?;
        sched_setaffinity(myself, &one).during("go to a CPU")?;
        let result = self.request(dev, slot, make);
        sched_setaffinity(myself, &before).during("leave a CPU")?;
        result
    }

    fn request(&mut self, dev: u8, slot: u8, make: Make) -> Result<(), Stop> {
        let file = self.blocks[usize::from(dev)].iter().flatten().next();
        let file = file.ok_or_else(|| Stop::error("a request to a device that is not open"))?;
        let addr = Addr::Arena(&self.arena, usize::from(slot) * 4096);
        let position = (MODEL_SECTOR + u64::from(slot) * 8) * 512;
        let sqe = make(file, position, READ_BYTES).buf_index(0).fixed_addr(addr);
        self.reads.push(&sqe.user_data(u64::from(slot))).during("push a request")?;
        self.reads.submit().during("submit a request").map(drop)
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

/// 0, an index or a negative errno; none when there was no answer in time.
pub(super) fn result_of(result: Result<Answered, CtrlError>) -> Result<Option<i32>, Stop> {
    match result {
        Ok(Answered::BufIndex(index)) => Ok(i32::try_from(index).ok()),
        Ok(_) => Ok(Some(0)),
        Err(error) if error.is_timeout() => Ok(None),
        Err(error) => match error.errno() {
            Some(errno) => Ok(Some(-errno)),
            None => Err(Stop::error(error)),
        },
    }
}

/// The errno by which `step` may be refused for a moment, because something ends later than can be seen.
pub(super) fn passing_refusal(profile: &Profile, step: &Step, answer: &Answer) -> Option<i32> {
    let succeeds = expect(answer, 0).is_ok();
    match step {
        // A device that goes by itself is not found any more a moment before its id is free.
        Step::Add { .. } if succeeds => Some(EEXIST),
        // On 6.17 and 6.18 a server's end is not over when everything else of it can be seen.
        Step::Open { .. } if succeeds && profile.release_is_late => Some(EBUSY),
        // From 6.17 to 7.2 a disk is in use until a moment after its device is seen dead.
        Step::SetParams { .. } if profile.use_ends_late => Some(EACCES),
        _ => None,
    }
}

/// Parameters of a device of 8 MiB, or some that are refused.
fn params(valid: bool) -> Params {
    let mut params = plain_params(BUFFER_BYTES, u64::from(DEFAULT_MIB) << 11);
    if !valid {
        params.basic.logical_bs_shift = 3;
    }
    params
}
