//! The executor: does a step on the running kernel and compares all that can be seen with the model.
//!
//! A step costs a few system calls. What is asynchronous in the kernel (the work after a close, a node that goes) is waited for by
//! looking again until the picture is the model's or the time is over; so time is spent on failures only.

mod compare;
mod ending;
mod steps;
mod together;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use ublk::ctrl::{Control, Pending};
use ublk::raw::{Arena, RawRing, RawSqe, RingShape};

use self::compare::Closely;
use self::steps::expect;
use super::device::{CLIENTS, PAGES};
use super::process::{Server, Spares};
use super::server::{Order, Reply};
use super::step::Step;
use super::view::ModuleReferences;
use super::world::World;
use crate::context::{During, Stop};

/// Ids of devices start here, far from those the kernel chooses.
const FIRST_ID: u32 = 70;
/// Makes who waits for a grace period wait less.
const EXPEDITED: &str = "/sys/kernel/rcu_expedited";
/// The same for who is called back after one, as when a queue is frozen: file, while the lab is there, and after.
const GRACE_PERIODS: [(&str, &str, &str); 2] = [
    ("/sys/module/rcutree/parameters/jiffies_till_first_fqs", "0", "1"),
    ("/sys/module/rcutree/parameters/jiffies_till_next_fqs", "1", "1"),
];
/// How long the driver has for a release where nothing tells that it is over: it is done later, by a worker, and only the
/// module's count of references shows its end. A driver that is built in has none.
const UNSEEN_RELEASE: Duration = Duration::from_millis(100);
/// How often the picture is taken again.
const LOOK_AGAIN: Duration = Duration::from_micros(300);

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

#[allow(clippy::needless_pass_by_value)] // Format arguments are made where they are passed.
fn differs(expected: impl ToString, observed: impl ToString) -> Trouble {
    Trouble::Differs { expected: expected.to_string(), observed: observed.to_string() }
}

/// Rings, processes and open files that stand for a [`World`].
pub(super) struct Lab {
    control: Control,
    reads: RawRing,
    arena: Arena,
    /// What is registered with devices.
    pages: [Arena; PAGES],
    spares: Spares,
    servers: Vec<Option<Server>>,
    blocks: Vec<[Option<Arc<File>>; CLIENTS]>,
    pending: BTreeMap<u8, Pending>,
    /// Results of reads that have come and were not asked for yet.
    read_results: BTreeMap<u8, i32>,
    /// Where this thread may run before and after.
    cpus_before: CpuSet,
    /// Of each device, a CPU of each of its queues.
    cpus: Vec<Vec<u32>>,
    no_part_scan: bool,
    references: ModuleReferences,
    /// How many there were before the first device.
    references_before: Option<i64>,
    /// How long an answer that must come is waited for.
    pub(super) patience: Duration,
    /// Steps done.
    pub(super) steps: u64,
    times: BTreeMap<String, (u64, Duration)>,
}

impl Lab {
    pub(super) fn new(world: &World, patience: Duration) -> Result<Self, Stop> {
        // Removing a disk waits for several grace periods; this makes them short.
        let _ = std::fs::write(EXPEDITED, "1");
        for (path, fast, _) in GRACE_PERIODS {
            let _ = std::fs::write(path, fast);
        }
        let control = Control::open().during("open the control device")?.with_deadline(patience);
        let mut reads = RawRing::new(RingShape::default()).during("make a ring")?;
        let arena = Arena::new(usize::from(u8::MAX) * 4096).during("map memory for reads")?;
        let page = || Arena::new(4096).during("map a page");
        let pages = [page()?, page()?];
        reads.register_sparse_buffers(1).during("make a buffer table")?;
        reads.register_arena(0, &arena).during("register memory")?;
        let references = ModuleReferences::open();
        // Orders and replies go to and fro between two processes, of which one runs at a time. On one CPU that is a switch;
        // on two, each has to wake the other, which an emulated one takes long for. Servers inherit it.
        let myself = nix::unistd::Pid::from_raw(0);
        let cpus = sched_getaffinity(myself).during("ask for the CPUs")?;
        let first = (0..CpuSet::count()).find(|cpu| cpus.is_set(*cpu).unwrap_or(false));
        let mut one = CpuSet::new();
        one.set(first.unwrap_or(0)).during("name a CPU")?;
        sched_setaffinity(myself, &one).during("stay on a CPU")?;
        Ok(Self {
            control,
            reads,
            arena,
            pages,
            spares: Spares::new(),
            cpus_before: cpus,
            servers: world.alive.iter().map(|_| None).collect(),
            blocks: world.devices.iter().map(|_| Default::default()).collect(),
            cpus: vec![Vec::new(); world.devices.len()],
            pending: BTreeMap::new(),
            read_results: BTreeMap::new(),
            no_part_scan: world.profile.no_part_scan,
            references_before: references.count(),
            references,
            patience,
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
        let subject = Self::subject(world, step);
        let next_read = (0..=u8::MAX).find(|slot| !world.unanswered().contains(slot));
        let effects = world.apply(step);
        if let Step::Start { server, .. } | Step::EndRecovery { server, .. } = *step {
            self.server(server)?;
        }
        match *step {
            Step::KillServer { server } => {
                if let Some(server) = self.servers[usize::from(server)].take() {
                    server.kill()?;
                }
            }
            Step::Read { dev, queue } => {
                self.request_on(dev, next_read.unwrap_or(0), queue, RawSqe::read_fixed)?;
            }
            Step::Write { dev, queue } => {
                self.request_on(dev, next_read.unwrap_or(0), queue, RawSqe::write_fixed)?;
            }
            Step::OpenBlock { dev, client } => {
                expect(&effects.answer, self.open_block(dev, client)?)?;
            }
            Step::CloseBlock { dev, client } => {
                self.blocks[usize::from(dev)][usize::from(client)] = None;
            }
            _ => {
                let refusal = steps::passing_refusal(&world.profile, step, &effects.answer);
                self.again_while(refusal, |lab| match lab.control_command(step) {
                    Some(command) => lab.command(command, &effects.answer),
                    None => lab.order(step, &subject, &effects.answer),
                })?;
            }
        }
        let releases = matches!(step, Step::KillServer { .. } | Step::CloseChar { .. });
        if releases && self.references_before.is_none() {
            std::thread::sleep(UNSEEN_RELEASE);
        }
        if let Step::Add { dev, sort } = *step
            && expect(&effects.answer, 0).is_ok()
            && sort.two_queues
        {
            self.learn_queues(dev, sort)?;
        } else if let Step::Add { dev, .. } = *step
            && expect(&effects.answer, 0).is_ok()
        {
            self.cpus[usize::from(dev)].clear();
        }
        for (slot, allowed) in &effects.released {
            self.released(*slot, allowed)?;
        }
        for (slot, allowed) in &effects.reads {
            self.read_ends(*slot, allowed)?;
        }
        self.compare(world, step.dev().map_or(Closely::All, Closely::One))
    }

    /// Looks once more, `quiet` later, whether what is held back still is.
    pub(super) fn watch(&mut self, world: &World, quiet: Duration) -> Result<(), Trouble> {
        if world.held_back().is_empty() && world.unanswered().is_empty() {
            return Ok(());
        }
        std::thread::sleep(quiet);
        self.compare(world, Closely::All)
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

    fn silence(&self) -> String {
        format!("no answer within {:?}", self.patience)
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
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = sched_setaffinity(nix::unistd::Pid::from_raw(0), &self.cpus_before);
        let _ = std::fs::write(EXPEDITED, "0");
        for (path, _, usual) in GRACE_PERIODS {
            let _ = std::fs::write(path, usual);
        }
    }
}
