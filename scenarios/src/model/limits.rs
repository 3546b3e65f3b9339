//! Steps that are left out in some states: because they say nothing there, because the model does not say what several waiting
//! commands do to each other, or because this kernel dies of them. Each with its reason, so that nothing is left out silently.

use super::device::{Device, State, Waits};
use super::older;
use super::profile::Profile;
use super::queue::{Queue, TAGS, Tag};
use super::sort::{Mode, Recovery, Sort};
use super::step::{Step, Stray};
use super::world::{SECOND_THREAD, World, thread_of};

/// Commands that may be held back at once.
const HELD_BACK_MAX: usize = 4;

impl World {
    /// Why `step` is left out in this state; none where it is allowed.
    #[must_use]
    pub fn forbids(&self, step: &Step) -> Option<&'static str> {
        if let Step::KillServer { server } = step {
            let alive = self.alive.get(usize::from(*server)).copied().unwrap_or(false);
            if !alive {
                return Some("that server does not run");
            }
            let own = self.devices.iter().flatten().filter(|d| d.opener == Some(*server));
            let own = own.filter(|_| !self.bold);
            return own.filter_map(|d| must_not_leave(&self.profile, d)).next();
        }
        if let Step::EndThread { server } = step {
            return self.forbids_end_of_thread(*server);
        }
        let dev = step.dev()?;
        if usize::from(dev) >= self.devices.len()
            || step.server().is_some_and(|server| usize::from(server) >= self.alive.len())
        {
            return Some("there is no such device or server in this test");
        }
        if let Step::Add { sort, .. } = step {
            return self.forbids_add(*sort);
        }
        if deletes(step) && self.is_deleting_slowly() {
            return Some("a DEL_DEV that waits for requests holds the lock of all of them");
        }
        if self.held_back().len() >= HELD_BACK_MAX && may_wait(step) {
            return Some("enough commands are held back");
        }
        let device = self.device(dev);
        let Some(device) = device else { return needs_device(step) };
        meaningless(device, step)
            .or_else(|| too_new(&self.profile, device, step))
            .or_else(|| about_tags(device, step))
            .or_else(|| ambiguous(device, step))
            .or_else(|| if self.bold { None } else { deadly(&self.profile, device, step) })
    }

    fn is_deleting_slowly(&self) -> bool {
        let mut waiting = self.devices.iter().flatten().flat_map(|device| &device.waiting);
        waiting.any(|waiting| matches!(waiting.what, Waits::StopOfDel { .. }))
    }

    fn forbids_add(&self, sort: Sort) -> Option<&'static str> {
        if self.is_deleting_slowly() {
            return Some("a DEL_DEV that waits for requests holds ADD_DEV's lock");
        }
        if sort.quiesce && !self.profile.quiesce {
            return Some("this kernel ignores the flag");
        }
        if sort.recovery == Recovery::FailIo && !self.profile.fail_io {
            return Some("this kernel ignores the flag");
        }
        if sort.mode == Mode::ZeroCopy && !self.profile.zero_copy {
            return Some("before 7.3 registration differs, or complains");
        }
        if sort.shared && !self.profile.shared {
            return Some("registered memory is modelled from 7.3");
        }
        if sort.two_queues && !self.profile.two_cpus {
            return Some("a device has no more queues than there are CPUs");
        }
        None
    }

    fn forbids_end_of_thread(&self, server: u8) -> Option<&'static str> {
        if !self.profile.threads_end {
            return Some("before 7.3 a thread that ends leaves tags that a request may meet");
        }
        let mut own = self.devices.iter().flatten().filter(|d| d.opener == Some(server));
        if own.clone().any(|device| device.registered().is_some()) {
            return Some("its ring would wait for what is registered");
        }
        let serves = |queue: &Queue| queue.thread == SECOND_THREAD && !queue.is_new();
        let any = own.any(|device| device.queues.iter().any(serves));
        (!any).then_some("that thread serves nothing")
    }
}

fn needs_device(step: &Step) -> Option<&'static str> {
    let uses = matches!(
        step,
        Step::Mmap { .. }
            | Step::Fetch { .. }
            | Step::FetchAll { .. }
            | Step::CloseChar { .. }
            | Step::CloseBlock { .. }
            | Step::Read { .. }
            | Step::Write { .. }
            | Step::GetData { .. }
            | Step::Stray { .. }
            | Step::Answer { .. }
            | Step::AnswerWrong { .. }
            | Step::Copy { .. }
            | Step::Register { .. }
            | Step::Unregister { .. }
    );
    uses.then_some("there is no device")
}

fn deletes(step: &Step) -> bool {
    matches!(step, Step::Del { .. } | Step::DelAsync { .. })
}

fn may_wait(step: &Step) -> bool {
    deletes(step)
        || matches!(
            step,
            Step::Start { .. }
                | Step::EndRecovery { .. }
                | Step::Stop { .. }
                | Step::TryStop { .. }
        )
}

/// Steps for which somebody has to be there.
fn meaningless(device: &Device, step: &Step) -> Option<&'static str> {
    match step {
        Step::Fetch { tag, .. } if *tag >= device.tags() => Some("the errno catalogue does that"),
        Step::Mmap { .. }
        | Step::Fetch { .. }
        | Step::FetchAll { .. }
        | Step::CloseChar { .. }
        | Step::GetData { .. }
        | Step::Stray { .. }
        | Step::Copy { .. }
        | Step::Register { .. }
        | Step::Unregister { .. }
            if device.opener.is_none() =>
        {
            Some("nobody has the char device open")
        }
        Step::OpenBlock { client, .. } if device.clients[usize::from(*client)] => {
            Some("the client has it open")
        }
        Step::CloseBlock { client, .. } if !device.clients[usize::from(*client)] => {
            Some("the client does not have it open")
        }
        Step::Read { .. } | Step::Write { .. } if !device.is_open() => {
            Some("no client has it open")
        }
        Step::CloseBlock { .. } if !device.reads.is_empty() => {
            Some("reads keep the block device open")
        }
        Step::Read { queue, .. } | Step::Write { queue, .. } if *queue >= device.sort.queues() => {
            Some("there is no such queue")
        }
        Step::Read { queue, .. } | Step::Write { queue, .. }
            if device.requests_of(*queue) >= usize::from(TAGS) =>
        {
            Some("a further request would wait for a tag")
        }
        Step::Stray { command: Stray::Commit, .. } if device.tag(0) == Some(Tag::Owned) => {
            Some("it would be called for")
        }
        Step::Answer { .. } if !device.can_answer() => Some("the server has no request"),
        Step::AnswerWrong { .. } if device.target().is_none() => Some("the server has no request"),
        _ => None,
    }
}

/// Commands and rules that this kernel has not, or not in a form that the model knows.
fn too_new(profile: &Profile, device: &Device, step: &Step) -> Option<&'static str> {
    let registers = matches!(step, Step::Register { .. } | Step::Unregister { .. });
    if registers && !profile.zero_copy {
        return Some("before 7.3 registration differs, or complains");
    }
    let stray = match step {
        Step::Stray { .. } => true,
        Step::GetData { .. } => !device.reads.iter().any(|read| read.wants),
        _ => false,
    };
    (stray && !profile.stray).then_some("before 7.3 a tag without a request says something else")
}

/// Steps that would make the tags of a queue differ, of which the block layer picks one; or meet one that differs.
fn about_tags(device: &Device, step: &Step) -> Option<&'static str> {
    let other = |queue: &Queue, thread: u8| !queue.is_new() && queue.thread != thread;
    let mixes = |tag: u8, thread: u8| {
        let queue = device.queues.get(usize::from(tag / TAGS));
        device.tag(tag) == Some(Tag::Free) && queue.is_some_and(|queue| other(queue, thread))
    };
    let mixes = match *step {
        Step::Fetch { tag, thread, .. } => mixes(tag, thread),
        Step::FetchAll { spread, .. } => {
            (0..device.tags()).any(|tag| mixes(tag, thread_of(tag, spread)))
        }
        _ => false,
    };
    if mixes {
        return Some("the tags of a queue are one thread's, so that they are alike");
    }
    let target = device.target();
    let orphan = target.is_some_and(|read| read.orphan);
    let wanted = device.wanting().is_some();
    let of_target = match step {
        Step::GetData { .. } => !wanted,
        Step::Register { .. } => true,
        _ => false,
    };
    if of_target && orphan {
        return Some("whose thread is gone, nobody may know");
    }
    let of_tag_0 = matches!(step, Step::Stray { .. }) || of_target && target.is_none();
    if !of_tag_0 {
        return None;
    }
    if !device.queues.first().is_some_and(Queue::is_alike) {
        return Some("which of its tags a queue's request has, the block layer chose");
    }
    let gone = match step {
        Step::Register { .. } => matches!(device.tag(0), Some(Tag::Cancelled | Tag::Owned)),
        _ => device.tag(0) == Some(Tag::Cancelled),
    };
    gone.then_some("whose thread is gone, nobody may know")
}

/// Steps whose order with what waits already is the kernel's choice.
fn ambiguous(device: &Device, step: &Step) -> Option<&'static str> {
    let waits = |waits: Waits| matches!(waits, Waits::Start(_) | Waits::End(_));
    if matches!(step, Step::Start { .. } | Step::EndRecovery { .. })
        && device.waiting.iter().any(|waiting| waits(waiting.what))
    {
        return Some("of two that wait for the same, either may be first");
    }
    let free_of_the_mutex = matches!(
        step,
        Step::Answer { .. }
            | Step::AnswerWrong { .. }
            | Step::Copy { .. }
            | Step::GetData { .. }
            | Step::Stray { .. }
            | Step::Register { .. }
            | Step::Unregister { .. }
            | Step::CloseChar { .. }
            | Step::GetAffinity { .. }
            | Step::Mmap { .. }
    );
    let freezes = matches!(step, Step::RegBuf { .. } | Step::UnregBuf { .. });
    if freezes && device.sort.shared && device.has_disk() && !device.reads.is_empty() {
        return Some("it waits for requests, and holds the device's mutex");
    }
    (device.is_stopping_slowly() && !free_of_the_mutex)
        .then_some("a stop that waits for requests holds the device's mutex")
}

/// Steps that some kernel dies of; those who look at that do them all the same.
fn deadly(profile: &Profile, device: &Device, step: &Step) -> Option<&'static str> {
    let owned = |tag: u8| device.tag(tag) == Some(Tag::Owned);
    if matches!(*step, Step::Fetch { tag, .. } if owned(tag) && !device.is_ready()) {
        return Some(
            "FETCH_REQ of a tag that has a request, before all queues are fetched, loses it",
        );
    }
    let dead = |queue: &Queue| queue.count(Tag::Cancelled) + queue.count(Tag::Stale) > 0;
    let broken = device.queues.iter().any(|queue| dead(queue) && !queue.cancelling);
    let serves =
        device.state != State::Dead && matches!(step, Step::Read { .. } | Step::Write { .. });
    if broken && serves {
        return Some("a request would meet a cancelled tag");
    }
    let leaves = matches!(step, Step::CloseChar { .. });
    older::forbids(profile, device, step)
        .or_else(|| leaves.then(|| must_not_leave(profile, device)).flatten())
}

/// Why the server of a device must not go away.
fn must_not_leave(profile: &Profile, device: &Device) -> Option<&'static str> {
    if device.has_committed() {
        // docs/kernel-findings/committed-pages-and-a-dead-server.md
        return Some("a request that is committed with its pages registered would never end");
    }
    older::must_not_leave(profile, device)
}
