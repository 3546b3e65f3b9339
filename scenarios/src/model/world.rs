//! The reference model: some devices, some servers, one client, and what each step does to them.
//!
//! Pure: no file, no clock, no kernel. It is a second implementation of the driver's rules, read from
//! its source and corrected where running showed something else (docs/kernel-facts.md).

use super::device::{Device, State, Waiting, Waits};
use super::effects::{Answer, Effects};
use super::plant::Plant;
use super::profile::Profile;
use super::queue::{TAGS, Tag};
use super::sort::{Recovery, Sort};
use super::step::Step;
use crate::rig::EACCES;
use crate::rig::{EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP};

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
            Step::OpenBlock { .. } => {
                device.block_open = device.has_disk();
                effects.result(if device.has_disk() { 0 } else { -ENOENT });
            }
            Step::CloseBlock { .. } => {
                device.block_open = false;
                device.used &= device.has_disk();
            }
            Step::Read { queue, .. } if device.has_disk() => {
                device.request(read_slot, queue, effects);
            }
            Step::Read { .. } => {
                // The disk's size is 0 then, which a read takes for its end; one that was on its way fails.
                effects.read(read_slot, &[0, -nix::libc::EIO, -ENODEV]);
            }
            Step::Answer { .. } => device.answer(effects),
            Step::AnswerWrong { .. } => effects.result(-EINVAL),
            Step::Copy { write, .. } => effects.result(device.copy(write, &profile)),
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
    if profile.queue_has_a_task && queue.is_ready() {
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

/// A control command about a device that is there.
fn command(device: &mut Device, step: &Step, slot: u8, profile: &Profile, effects: &mut Effects) {
    match *step {
        Step::SetParams { valid, .. } => effects.result(set_params(device, valid)),
        Step::GetAffinity { queue, .. } => {
            effects.result(if queue < device.sort.queues() { 0 } else { -EINVAL });
        }
        Step::Start { .. } if !device.params => effects.result(-EINVAL),
        Step::Start { server, .. } => wait(device, slot, Waits::Start(server), effects),
        Step::EndRecovery { server, .. } => wait(device, slot, Waits::End(server), effects),
        Step::StartRecovery { .. } => effects.result(start_recovery(device, profile)),
        Step::Stop { .. } => wait(device, slot, Waits::Stop, effects),
        Step::TryStop { .. } if !profile.try_stop => effects.result(-EOPNOTSUPP),
        Step::TryStop { .. } if !device.has_disk() => effects.result(-ENODEV),
        Step::TryStop { .. } if device.block_open => effects.result(-EBUSY),
        Step::TryStop { .. } => wait(device, slot, Waits::TryStop, effects),
        Step::Quiesce { .. } => effects.result(quiesce(device, profile)),
        Step::UpdateSize { .. } if !profile.update_size => effects.result(-EOPNOTSUPP),
        Step::UpdateSize { .. } if !device.has_disk() => effects.result(-ENODEV),
        Step::UpdateSize { mib, .. } => {
            device.mib = mib;
            effects.result(0);
        }
        Step::Del { .. } if device.deleted => wait(device, slot, Waits::Del, effects),
        Step::Del { .. } => wait(device, slot, Waits::StopOfDel { wait: true }, effects),
        Step::DelAsync { .. } if device.deleted => effects.result(0),
        Step::DelAsync { .. } => wait(device, slot, Waits::StopOfDel { wait: false }, effects),
        // GET_PARAMS, and mmap by the opener, which always may.
        _ => effects.result(0),
    }
}

/// Holds a command back; [`World::settle`] answers it at once where nothing is in its way.
fn wait(device: &mut Device, slot: u8, what: Waits, effects: &mut Effects) {
    device.waiting.push(Waiting { slot, what });
    effects.blocks(
        slot,
        match what {
            Waits::Start(_) | Waits::End(_) => "every tag is fetched, or the device is stopped",
            Waits::Del => "the last holder of the device is gone",
            Waits::Stop | Waits::TryStop => "the server has answered its requests",
            Waits::StopOfDel { .. } => {
                "the server has answered its requests and the last holder of the device is gone"
            }
        },
    );
}

fn set_params(device: &mut Device, valid: bool) -> i32 {
    if device.used {
        return -EACCES;
    }
    device.params = valid;
    // Refused ones wipe what was stored; a START_DEV that waits has taken its limits, and finds no size.
    device.mib = if valid { super::device::DEFAULT_MIB } else { 0 };
    if valid { 0 } else { -EINVAL }
}

fn start_recovery(device: &mut Device, profile: &Profile) -> i32 {
    // 6.12 asks first whether any queue has been fetched since the last one.
    if profile.recovery_in_two_steps && !device.queue_was_ready {
        return -EINVAL;
    }
    let result = match device {
        Device { sort: Sort { recovery: Recovery::None, .. }, .. } => -EINVAL,
        Device { opener: Some(_), .. } => -EBUSY,
        Device { state: State::Quiesced | State::FailIo, .. } => 0,
        _ => -EBUSY,
    };
    device.recovering |= result == 0 && profile.recovery_in_two_steps;
    device.queue_was_ready &= result != 0;
    device.kept_ready &= result != 0;
    result
}

fn quiesce(device: &mut Device, profile: &Profile) -> i32 {
    if !profile.quiesce || !device.sort.quiesce {
        return -EOPNOTSUPP;
    }
    match device.state {
        State::Dead => return -ENODEV,
        State::Live => {
            device.round_cancelled = true;
            device.cancel_round();
        }
        State::Quiesced | State::FailIo => {}
    }
    device.cancel_armed();
    0
}

/// Whether it was a TRY_STOP_DEV that has removed a disk.
fn finish_stops(device: &mut Device, profile: &Profile, effects: &mut Effects) -> bool {
    if device.is_serving() || !device.is_stopping_slowly() {
        return false;
    }
    let tried = device.has_disk() && device.waiting.iter().any(|w| w.what == Waits::TryStop);
    device.stop(profile, effects);
    let mut rest = Vec::new();
    for waiting in std::mem::take(&mut device.waiting) {
        match waiting.what {
            Waits::Stop | Waits::TryStop => effects.release(waiting.slot, 0),
            Waits::StopOfDel { wait } => {
                device.deleted = true;
                if wait {
                    rest.push(Waiting { what: Waits::Del, ..waiting });
                } else {
                    effects.release(waiting.slot, 0);
                }
            }
            _ => rest.push(waiting),
        }
    }
    device.waiting = rest;
    tried
}

/// `tried`: TRY_STOP_DEV wakes who waits before it lets the disk go, which START_DEV may see.
fn finish_starts(device: &mut Device, profile: &Profile, tried: bool, effects: &mut Effects) {
    if !(device.is_ready() || device.kept_ready || device.stopping) || device.is_stopping_slowly() {
        return;
    }
    let mut rest = Vec::new();
    for waiting in std::mem::take(&mut device.waiting) {
        let mut may_see_the_disk = false;
        let result = match waiting.what {
            Waits::Start(server) => {
                let result = finish_start(device, server, profile);
                may_see_the_disk = tried && result == -EBUSY;
                result
            }
            Waits::End(server) => finish_end(device, server, profile, effects),
            _ => {
                rest.push(waiting);
                continue;
            }
        };
        effects.release(waiting.slot, result);
        if may_see_the_disk {
            effects.or(waiting.slot, -EEXIST);
        }
    }
    device.waiting = rest;
}

fn finish_start(device: &mut Device, server: u8, profile: &Profile) -> i32 {
    if profile.pid_checked && device.opener != Some(server) {
        return -EINVAL;
    }
    if device.state == State::Live || device.used {
        return -EEXIST;
    }
    if device.stopping {
        return -EBUSY;
    }
    device.state = State::Live;
    device.used = true;
    device.started = true;
    device.server = device.opener;
    0
}

fn finish_end(device: &mut Device, server: u8, profile: &Profile, effects: &mut Effects) -> i32 {
    if profile.pid_checked && device.opener != Some(server)
        || device.sort.recovery == Recovery::None
    {
        return -EINVAL;
    }
    if !matches!(device.state, State::Quiesced | State::FailIo) {
        return -EBUSY;
    }
    device.state = State::Live;
    device.server = device.opener;
    for queue in &mut device.queues {
        queue.cancelling &= !profile.recovery_in_two_steps;
    }
    device.kick(effects);
    0
}
