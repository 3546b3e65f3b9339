//! The reference model: some devices, some servers, one client, and what each step does to them.
//!
//! Pure: no file, no clock, no kernel. It is a second implementation of the driver's rules, read from
//! its source and corrected where running showed something else (docs/kernel-facts.md).

use super::commands::command;
use super::device::{Device, Waits};
use super::effects::{Answer, Effects};
use super::plant::Plant;
use super::profile::Profile;
use super::queue::{TAGS, Tag};
use super::settle::{finish_starts, finish_stops};
use super::sort::{Recovery, Sort};
use super::step::Step;
use crate::rig::{EBUSY, EEXIST, EINVAL, ENODEV, ENOENT};

/// The thread of a server that can end before the server does.
pub(super) const SECOND_THREAD: u8 = 1;

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The kernel.
    pub profile: Profile,
    /// Devices by the test's own number.
    pub devices: Vec<Option<Device>>,
    /// Which servers run.
    pub alive: Vec<bool>,
    /// An expectation that is turned round on purpose.
    pub plant: Option<Plant>,
    /// Also takes steps that kernels are spared because they die of them.
    pub bold: bool,
}

impl World {
    /// Nothing yet: room for so many devices and servers.
    #[must_use]
    pub fn new(profile: Profile, devices: usize, servers: usize) -> Self {
        Self {
            profile,
            devices: vec![None; devices],
            alive: vec![false; servers],
            plant: None,
            bold: false,
        }
    }

    /// The device, if its id is taken.
    #[must_use]
    pub fn device(&self, dev: u8) -> Option<&Device> {
        self.devices.get(usize::from(dev)).and_then(Option::as_ref)
    }

    /// Commands that are held back, by slot.
    #[must_use]
    pub fn held_back(&self) -> Vec<u8> {
        self.devices.iter().flatten().flat_map(|d| d.waiting.iter().map(|w| w.slot)).collect()
    }

    /// Reads that are not answered, by slot.
    #[must_use]
    pub fn unanswered(&self) -> Vec<u8> {
        self.devices.iter().flatten().flat_map(|d| d.reads.iter().map(|r| r.slot)).collect()
    }

    /// What `step` would do.
    #[must_use]
    pub fn predict(&self, step: &Step) -> Effects {
        self.clone().apply(step)
    }

    /// Does `step`. Steps that [`World::forbids`] are the caller's to leave out.
    pub fn apply(&mut self, step: &Step) -> Effects {
        let mut effects = Effects::default();
        match *step {
            Step::KillServer { server } => self.kill(server, &mut effects),
            Step::EndThread { server } => self.end_thread(server),
            Step::Add { dev, sort } => effects.result(self.add(dev, sort)),
            _ => self.on_device(step, &mut effects),
        }
        self.settle(&mut effects);
        if let Some(plant) = self.plant {
            plant.turn(step, &mut effects);
        }
        effects
    }

    /// Ends every command that is held back, as the death of whoever sent them does.
    pub fn interrupt(&mut self) {
        for device in self.devices.iter_mut().flatten() {
            device.waiting.clear();
        }
        self.settle(&mut Effects::default());
    }

    fn kill(&mut self, server: u8, effects: &mut Effects) {
        let profile = self.profile;
        self.alive[usize::from(server)] = false;
        for device in self.devices.iter_mut().flatten() {
            if device.opener == Some(server) {
                device.release(&profile, effects);
            }
            // GET_DEV_INFO does not name a process that is gone.
            if device.server == Some(server) {
                device.server = None;
            }
            for waiting in &mut device.waiting {
                waiting.what = waiting.what.after_death_of(server);
            }
        }
    }

    /// The second thread of a server, which may serve several devices.
    fn end_thread(&mut self, server: u8) {
        for device in self.devices.iter_mut().flatten() {
            if device.opener == Some(server) {
                device.end_thread(SECOND_THREAD);
            }
        }
    }

    fn add(&mut self, dev: u8, sort: Sort) -> i32 {
        if sort.quiesce && sort.recovery == Recovery::None {
            return -EINVAL;
        }
        let place = &mut self.devices[usize::from(dev)];
        if place.is_some() {
            return -EEXIST;
        }
        *place = Some(Device::new(sort));
        0
    }

    fn on_device(&mut self, step: &Step, effects: &mut Effects) {
        let (command_slot, read_slot) = (free(&self.held_back()), free(&self.unanswered()));
        let profile = self.profile;
        let place = step.dev().and_then(|dev| self.devices.get_mut(usize::from(dev)));
        let Some(device) = place.and_then(Option::as_mut) else {
            effects.result(match step {
                Step::Open { .. } | Step::OpenBlock { .. } => -ENOENT,
                _ => -ENODEV,
            });
            return;
        };
        match *step {
            Step::Open { server, .. } => {
                let result = open(device, server);
                if result == 0 {
                    self.alive[usize::from(server)] = true;
                }
                effects.result(result);
            }
            Step::Fetch { tag, thread, .. } => {
                let results = vec![(tag, fetch(device, tag, thread, &profile))];
                effects.answer = Answer::Fetched { results };
            }
            Step::FetchAll { spread, .. } => {
                let results = fetch_all(device, spread, &profile);
                effects.answer = Answer::Fetched { results };
            }
            Step::CloseChar { .. } => device.release(&profile, effects),
            Step::OpenBlock { client, .. } => {
                device.clients[usize::from(client)] = device.has_disk();
                effects.result(if device.has_disk() { 0 } else { -ENOENT });
            }
            Step::CloseBlock { client, .. } => {
                device.clients[usize::from(client)] = false;
                device.used &= device.has_disk() || device.is_open();
            }
            Step::Read { queue, .. } if device.has_disk() => {
                device.request(read_slot, queue, false, effects);
            }
            Step::Write { queue, .. } if device.has_disk() => {
                device.request(read_slot, queue, true, effects);
            }
            Step::Write { .. } => {
                effects.read(read_slot, &[-nix::libc::ENOSPC, -nix::libc::EIO, -ENODEV]);
            }
            Step::Read { .. } => {
                // The disk's size is 0 then, which a read takes for its end; one that was on its way fails.
                effects.read(read_slot, &[0, -nix::libc::EIO, -ENODEV]);
            }
            Step::Answer { .. } => device.answer(effects),
            Step::AnswerWrong { .. } => effects.result(-EINVAL),
            Step::Copy { write, .. } => effects.result(device.copy(write, &profile)),
            Step::GetData { .. } => effects.result(device.get_data()),
            Step::Stray { .. } => effects.result(device.stray()),
            Step::Register { .. } => effects.result(device.register()),
            Step::Unregister { .. } => {
                let result = device.unregister(effects);
                effects.result(result);
            }
            _ => command(device, step, command_slot, &profile, effects),
        }
    }

    /// Answers what was held back, as far as its time has come.
    fn settle(&mut self, effects: &mut Effects) {
        for place in &mut self.devices {
            let Some(device) = place else { continue };
            // Two rounds: a stop lets a START_DEV go, and both together a DEL_DEV.
            for _ in 0..2 {
                let tried = finish_stops(device, &self.profile, effects);
                finish_starts(device, &self.profile, tried, effects);
            }
            if device.deleted && !device.is_held() {
                for waiting in &device.waiting {
                    effects.release(waiting.slot, 0);
                    if waiting.what == Waits::DelAgain {
                        effects.or(waiting.slot, -ENODEV);
                    }
                }
                *place = None;
            }
        }
    }
}

/// The smallest number that is not taken.
fn free(taken: &[u8]) -> u8 {
    (0..=u8::MAX).find(|slot| !taken.contains(slot)).unwrap_or(u8::MAX)
}

fn open(device: &mut Device, server: u8) -> i32 {
    // DEL_DEV has taken the node away, whoever still holds the device.
    if device.deleted {
        return -ENOENT;
    }
    if device.opener.is_some() {
        return -EBUSY;
    }
    device.opener = Some(server);
    0
}

fn fetch(device: &mut Device, tag: u8, thread: u8, profile: &Profile) -> i32 {
    let Some(queue) = device.queues.get(usize::from(tag / TAGS)) else { return -EINVAL };
    if device.stopping {
        return -ENODEV;
    }
    let tied = profile.queue_has_a_task && queue.is_ready()
        || profile.task_looked_at_first && device.tag(tag) != Some(Tag::Free);
    if tied {
        // The task of an earlier round is nobody any more.
        let own = queue.thread == thread && queue.count(Tag::Stale) == 0;
        return if own { -EBUSY } else { -EINVAL };
    }
    if device.is_ready() {
        return -EBUSY;
    }
    if device.tag(tag) != Some(Tag::Free) {
        return profile.fetch_again;
    }
    device.fetched(tag, thread, profile);
    0
}

/// Thread that fetches a tag when all are.
pub(super) fn thread_of(tag: u8, spread: bool) -> u8 {
    if spread { tag / TAGS } else { 0 }
}

fn fetch_all(device: &mut Device, spread: bool, profile: &Profile) -> Vec<(u8, i32)> {
    let free = |tag: &u8| device.tag(*tag) == Some(Tag::Free);
    let mut tags: Vec<u8> = (0..device.tags()).filter(free).collect();
    if tags.is_empty() {
        tags.push(0);
    }
    let fetch = |tag| (tag, fetch(device, tag, thread_of(tag, spread), profile));
    tags.into_iter().map(fetch).collect()
}
