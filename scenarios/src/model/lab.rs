//! The executor: does a step on the running kernel and compares all that can be seen with the model.
//!
//! A step costs a few system calls. What is asynchronous in the kernel (the work after a close, a node that goes) is waited for by
//! looking again until the picture is the model's or the time is over; so time is spent on failures only.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ublk::ctrl::{Command, Control, CtrlError, Pending, Reply as Answered};
use ublk::raw::{Addr, Arena, Completion, RawRing, RawSqe, RingShape};
use ublk::uapi::{DevInfo, Features, ParamBasic, Params};

use super::device::TAGS;
use super::effects::{Answer, any_of};
use super::process::{Server, Spares};
use super::server::{BUFFER_BYTES, MODEL_SECTOR, Order, Reply, TagCounts};
use super::step::Step;
use super::view::{self, Seen};
use super::world::World;
use crate::block::nodes;
use crate::context::{During, Stop, errno};

/// Ids of devices start here, far from those the kernel chooses.
const FIRST_ID: u32 = 70;
/// How often the picture is taken again.
const LOOK_AGAIN: Duration = Duration::from_micros(300);
/// Bytes of one read.
const READ_BYTES: u32 = 4096;
/// Time given to QUIESCE_DEV, in milliseconds.
const QUIESCE_MS: u32 = 50;

/// Why a step ended a case.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// Model and kernel differ.
    Differs {
        /// What the model says.
        expected: String,
        /// What was seen.
        observed: String,
    },
    /// The executor itself cannot go on.
    Broken(Stop),
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Broken(stop)
    }
}

fn differs(expected: impl ToString, observed: impl ToString) -> Trouble {
    Trouble::Differs { expected: expected.to_string(), observed: observed.to_string() }
}

/// Rings, processes and open files that stand for a [`World`].
pub(super) struct Lab {
    control: Control,
    reads: RawRing,
    arena: Arena,
    spares: Spares,
    servers: Vec<Option<Server>>,
    blocks: Vec<Option<Arc<File>>>,
    pending: BTreeMap<u8, Pending>,
    /// Results of reads that have come and were not asked for yet.
    read_results: BTreeMap<u8, i32>,
    no_part_scan: bool,
    references: Option<i64>,
    /// How long an answer that must come is waited for.
    pub(super) patience: Duration,
    /// Also does what [`World::forbids`]; for those who look at what the kernel dies of.
    pub(super) bold: bool,
    /// Steps done.
    pub(super) steps: u64,
    times: BTreeMap<String, (u64, Duration)>,
}

impl Lab {
    pub(super) fn new(world: &World, patience: Duration) -> Result<Self, Stop> {
        // Removing a disk waits for several grace periods; this makes them short.
        let _ = std::fs::write("/sys/kernel/rcu_expedited", "1");
        let control = Control::open().during("open the control device")?.with_deadline(patience);
        let mut reads = RawRing::new(RingShape::default()).during("make a ring")?;
        let arena = Arena::new(usize::from(u8::MAX) * 4096).during("map memory for reads")?;
        reads.register_sparse_buffers(1).during("make a buffer table")?;
        reads.register_arena(0, &arena).during("register memory")?;
        Ok(Self {
            control,
            reads,
            arena,
            spares: Spares::new(),
            servers: world.alive.iter().map(|_| None).collect(),
            blocks: world.devices.iter().map(|_| None).collect(),
            pending: BTreeMap::new(),
            read_results: BTreeMap::new(),
            no_part_scan: world.profile.no_part_scan,
            references: view::module_references(),
            patience,
            bold: false,
            steps: 0,
            times: BTreeMap::new(),
        })
    }

    /// Does `step`, which `world` allows, and compares.
    pub(super) fn step(&mut self, world: &mut World, step: &Step) -> Result<(), Trouble> {
        self.steps += 1;
        let begin = Instant::now();
        let result = self.perform(world, step);
        let (count, time) = self.times.entry(step.name()).or_default();
        *count += 1;
        *time += begin.elapsed();
        result
    }

    /// Which steps took the time, the costliest first.
    pub(super) fn time_by_step(&self) -> String {
        let mut rows: Vec<_> = self.times.iter().collect();
        rows.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
        let row = |(name, (count, time)): &(&String, &(u64, Duration))| {
            let each_us = time.as_micros() / u128::from(*count);
            format!("{:>7} ms {count:>5} x {each_us:>7} us  {name}\n", time.as_millis())
        };
        rows.iter().map(row).collect()
    }

    fn perform(&mut self, world: &mut World, step: &Step) -> Result<(), Trouble> {
        let openers: Vec<_> = world.devices.iter().map(|d| d.as_ref()?.opener).collect();
        let next_read = (0..=u8::MAX).find(|slot| !world.unanswered().contains(slot));
        let effects = world.apply(step);
        if let Step::Start { server, .. } | Step::EndRecovery { server, .. } = *step {
            self.server(server)?;
        }
        let opener = step.dev().and_then(|dev| openers.get(usize::from(dev)).copied().flatten());
        match *step {
            Step::KillServer { server } => {
                if let Some(server) = self.servers[usize::from(server)].take() {
                    server.kill()?;
                }
            }
            Step::Read { dev } => self.read(dev, next_read.unwrap_or(0))?,
            Step::OpenBlock { dev } => expect(&effects.answer, self.open_block(dev)?)?,
            Step::CloseBlock { dev } => self.blocks[usize::from(dev)] = None,
            _ => match self.control_command(step) {
                Some(command) => self.command(command, &effects.answer)?,
                None => self.order(step, opener, &effects.answer)?,
            },
        }
        for (slot, allowed) in &effects.released {
            self.released(*slot, allowed)?;
        }
        for (slot, allowed) in &effects.reads {
            self.read_ends(*slot, allowed)?;
        }
        self.compare(world)
    }

    /// Looks once more, `quiet` later, whether what is held back still is.
    pub(super) fn watch(&mut self, world: &World, quiet: Duration) -> Result<(), Trouble> {
        if world.held_back().is_empty() && world.unanswered().is_empty() {
            return Ok(());
        }
        std::thread::sleep(quiet);
        self.compare(world)
    }

    /// Steps and their rate, for a summary.
    pub(super) fn rate(&self, time: Duration) -> String {
        let seconds = time.as_secs_f64();
        let rate = self.steps as f64 / seconds.max(0.001);
        format!("{} steps in {seconds:.1} s: {rate:.0} steps/s", self.steps)
    }

    fn id(dev: u8) -> u32 {
        FIRST_ID + u32::from(dev)
    }

    /// Of the server's process; -1, which no process has, where there is none.
    fn pid(&self, server: u8) -> i32 {
        let running = self.servers.get(usize::from(server)).and_then(Option::as_ref);
        running.map_or(-1, Server::pid)
    }

    fn control_command(&self, step: &Step) -> Option<Command> {
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

    fn command(&mut self, command: Command, answer: &Answer) -> Result<(), Trouble> {
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

    fn silence(&self) -> String {
        format!("no answer within {:?}", self.patience)
    }

    fn order(&mut self, step: &Step, opener: Option<u8>, answer: &Answer) -> Result<(), Trouble> {
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

    /// The process of that server, started if need be.
    fn server(&mut self, server: u8) -> Result<&mut Server, Stop> {
        let place = &mut self.servers[usize::from(server)];
        if place.is_none() {
            *place = Some(self.spares.take(self.patience * 4)?);
        }
        place.as_mut().ok_or_else(|| Stop::error("there is no model server"))
    }

    fn tell(&mut self, server: u8, order: &Order) -> Result<Reply, Stop> {
        let timeout = self.patience * 2;
        self.server(server)?.order(order, timeout)
    }

    fn open_block(&mut self, dev: u8) -> Result<i32, Stop> {
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

    fn read(&mut self, dev: u8, slot: u8) -> Result<(), Stop> {
        let file = self.blocks[usize::from(dev)].as_ref();
        let file = file.ok_or_else(|| Stop::error("a read of a device that is not open"))?;
        let addr = Addr::Arena(&self.arena, usize::from(slot) * 4096);
        let position = (MODEL_SECTOR + u64::from(slot) * 8) * 512;
        let sqe = RawSqe::read_fixed(file, position, READ_BYTES).buf_index(0).fixed_addr(addr);
        self.reads.push(&sqe.user_data(u64::from(slot))).during("push a read")?;
        self.reads.submit().during("submit a read").map(drop)
    }

    fn collect_reads(&mut self, wait: Duration) -> Result<(), Stop> {
        let wanted = usize::from(!wait.is_zero());
        for Completion { user_data, res, .. } in
            self.reads.wait(wanted, wait).during("wait for reads")?
        {
            self.read_results.insert(u8::try_from(user_data).unwrap_or(u8::MAX), res);
        }
        Ok(())
    }

    fn read_ends(&mut self, slot: u8, allowed: &[i32]) -> Result<(), Trouble> {
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

    fn released(&mut self, slot: u8, allowed: &[i32]) -> Result<(), Trouble> {
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

    /// Nothing that the model holds back may have been answered; then the devices.
    fn compare(&mut self, world: &World) -> Result<(), Trouble> {
        self.collect_reads(Duration::ZERO)?;
        for slot in world.unanswered() {
            if let Some(result) = self.read_results.remove(&slot) {
                let observed = format!("it ends with {}", errno(result));
                return Err(differs(format_args!("read {slot} is not answered yet"), observed));
            }
        }
        let slots: Vec<u8> = self.pending.keys().copied().collect();
        for slot in slots {
            let Some(pending) = self.pending.get(&slot) else { continue };
            let what = pending.op().name();
            let early = match self.control.poll(pending) {
                Ok(None) => continue,
                Ok(Some(_)) => Some(0),
                Err(error) => error.errno().map(|errno| -errno),
            };
            self.pending.remove(&slot);
            let observed = format!("it is answered {}", errno(early.unwrap_or_default()));
            return Err(differs(format_args!("{what} is held back"), observed));
        }
        let begin = Instant::now();
        loop {
            let difference = self.difference(world)?;
            let Some((expected, observed)) = difference else { return Ok(()) };
            if begin.elapsed() >= self.patience {
                return Err(differs(expected, observed));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The first thing that is not as the model says.
    fn difference(&mut self, world: &World) -> Result<Option<(String, String)>, Stop> {
        for dev in 0..world.devices.len() {
            let dev = u8::try_from(dev).unwrap_or(u8::MAX);
            let device = world.device(dev);
            let expected = device.map(|device| view::expected(world, device, |s| self.pid(s)));
            let opener = device.and_then(|device| device.opener);
            let observed = self.observe(dev, opener, expected.as_ref())?;
            if expected != observed {
                let text = |seen: Option<Seen>| match seen {
                    Some(seen) => format!("device {dev}: {seen}"),
                    None => format!("device {dev}: there is none"),
                };
                return Ok(Some((text(expected), text(observed))));
            }
        }
        let open = |device: &super::device::Device| {
            i64::from(device.opener.is_some()) + i64::from(device.block_open)
        };
        let expected = self.references.map(|base| {
            base + world.devices.iter().flatten().map(open).sum::<i64>()
                + i64::try_from(self.blocks_of_the_gone(world)).unwrap_or(0)
        });
        let observed = view::module_references();
        if expected != observed {
            let text = |n: Option<i64>| format!("{n:?} references to the module");
            return Ok(Some((text(expected), text(observed))));
        }
        Ok(None)
    }

    /// Block devices that are open though the model has no device any more: none, or the model is wrong.
    fn blocks_of_the_gone(&self, world: &World) -> usize {
        let open = self.blocks.iter().zip(&world.devices);
        open.filter(|(block, device)| block.is_some() && device.is_none()).count()
    }

    fn observe(
        &mut self,
        dev: u8,
        opener: Option<u8>,
        wanted: Option<&Seen>,
    ) -> Result<Option<Seen>, Stop> {
        let id = Self::id(dev);
        let info = match self.control.call(Command::GetDevInfo { dev_id: id }, self.patience) {
            Ok(Answered::DevInfo(info)) => info,
            Ok(other) => return Err(Stop::error(format_args!("GET_DEV_INFO says {other:?}"))),
            Err(error) if error.errno() == Some(nix::libc::ENODEV) => return Ok(None),
            Err(error) => return Err(Stop::error(error)),
        };
        let blank = Seen {
            state: info.state(),
            pid: None,
            features: 0,
            char_node: false,
            block_node: None,
            sectors: None,
            tags: None,
        };
        let tags = match opener {
            Some(server) => Some(self.report(server, id)?),
            None => None,
        };
        Ok(Some(view::observed(id, &info, tags, wanted.unwrap_or(&blank))))
    }

    fn report(&mut self, server: u8, id: u32) -> Result<TagCounts, Stop> {
        match self.tell(server, &Order::Report { id })? {
            Reply::Tags { counts } => Ok(counts),
            other => Err(Stop::error(format_args!("a model server says {other:?}"))),
        }
    }

    /// Ends what the model says can only be interrupted: commands that wait for a server that nobody can start.
    pub(super) fn interrupt(&mut self, world: &mut World) -> Result<(), Trouble> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending.clear();
        self.control = Control::open().during("open the control device")?;
        world.interrupt();
        self.compare(world)
    }

    /// Removes whatever is there, after a failure: nobody knows any more what it is.
    pub(super) fn sweep(&mut self, world: &World) -> Result<(), Stop> {
        self.servers = world.alive.iter().map(|_| None).collect();
        self.pending.clear();
        self.control = Control::open().during("open the control device")?;
        let timeout = Duration::from_secs(3);
        let ids =
            (0..world.devices.len()).map(|dev| Self::id(u8::try_from(dev).unwrap_or(u8::MAX)));
        let ids: Vec<u32> = ids.collect();
        let mut deletions = Vec::new();
        for dev_id in &ids {
            deletions.push(self.control.submit(Command::DelDev { dev_id: *dev_id })?);
        }
        // Requests that no server answers fail as the disks go; then nothing holds the block devices.
        std::thread::sleep(Duration::from_millis(50));
        self.blocks = world.devices.iter().map(|_| None).collect();
        for deletion in deletions {
            let gone = result_of(self.control.wait(&deletion, timeout))?;
            if gone.is_none() {
                return Err(Stop::fail(
                    reports::event::FailureKind::Leak,
                    "a device cannot be deleted after its servers were killed",
                ));
            }
        }
        self.collect_reads(Duration::ZERO)?;
        self.read_results.clear();
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::write("/sys/kernel/rcu_expedited", "0");
    }
}

fn expect(answer: &Answer, result: i32) -> Result<(), Trouble> {
    match answer {
        Answer::Results { allowed, .. } if allowed.contains(&result) => Ok(()),
        _ => Err(differs(answer, errno(result))),
    }
}

/// 0 or a negative errno; none when there was no answer in time.
fn result_of(result: Result<Answered, CtrlError>) -> Result<Option<i32>, Stop> {
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
        dev_sectors: u64::from(super::device::DEFAULT_MIB) << 11,
        ..ParamBasic::default()
    })
}
