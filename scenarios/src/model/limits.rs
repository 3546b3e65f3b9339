//! Steps that are left out in some states: because they say nothing there, because the model does not say what several waiting
//! commands do to each other, or because this kernel dies of them. Each with its reason, so that nothing is left out silently.

use super::device::{Device, State, TAGS, Tag, Waits};
use super::older;
use super::step::Step;
use super::world::World;

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
            return own.filter_map(|d| older::must_not_leave(&self.profile, d)).next();
        }
        let dev = step.dev()?;
        if usize::from(dev) >= self.devices.len()
            || step.server().is_some_and(|server| usize::from(server) >= self.alive.len())
        {
            return Some("there is no such device or server in this test");
        }
        if let Step::Add { recovery, quiesce, .. } = step {
            return self.forbids_add(*recovery, *quiesce);
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
            .or_else(|| ambiguous(device, step))
            .or_else(|| older::forbids(&self.profile, device, step))
            .or_else(|| {
                let leaves = matches!(step, Step::CloseChar { .. });
                leaves.then(|| older::must_not_leave(&self.profile, device)).flatten()
            })
    }

    fn is_deleting_slowly(&self) -> bool {
        let mut waiting = self.devices.iter().flatten().flat_map(|device| &device.waiting);
        waiting.any(|waiting| matches!(waiting.what, Waits::StopOfDel { .. }))
    }

    fn forbids_add(&self, recovery: super::step::Recovery, quiesce: bool) -> Option<&'static str> {
        if self.is_deleting_slowly() {
            return Some("a DEL_DEV that waits for requests holds ADD_DEV's lock");
        }
        if quiesce && !self.profile.quiesce {
            return Some("this kernel ignores the flag");
        }
        if recovery == super::step::Recovery::FailIo && !self.profile.fail_io {
            return Some("this kernel ignores the flag");
        }
        None
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
            | Step::Answer { .. }
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
        Step::Fetch { tag, .. } if *tag >= TAGS => Some("the errno catalogue does that"),
        Step::Mmap { .. } | Step::Fetch { .. } | Step::FetchAll { .. } | Step::CloseChar { .. }
            if device.opener.is_none() =>
        {
            Some("nobody has the char device open")
        }
        Step::OpenBlock { .. } if device.block_open => Some("the client has it open"),
        Step::CloseBlock { .. } | Step::Read { .. } if !device.block_open => {
            Some("the client does not have it open")
        }
        Step::CloseBlock { .. } if !device.reads.is_empty() => {
            Some("reads keep the block device open")
        }
        Step::Read { .. } if device.reads.len() >= usize::from(TAGS) => {
            Some("a further read would wait for a tag")
        }
        Step::Answer { .. } if !device.is_serving() => Some("the server has no request"),
        _ => None,
    }
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
        Step::Answer { .. } | Step::CloseChar { .. } | Step::GetAffinity { .. } | Step::Mmap { .. }
    );
    if device.is_stopping_slowly() && !free_of_the_mutex {
        return Some("a stop that waits for requests holds the device's mutex");
    }
    let dead = device.count(Tag::Cancelled) + device.count(Tag::Stale);
    let broken = dead > 0 && !device.cancelling;
    let serves = device.state != State::Dead && matches!(step, Step::Read { .. });
    (broken && serves).then_some("a request would meet a cancelled tag")
}
