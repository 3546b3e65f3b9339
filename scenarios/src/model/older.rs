//! What the series before 7.3 do not take: states from which a device does not come back, or from which the kernel does not.
//!
//! A device that is `spent` there may be looked at and deleted. Reasons were read from the drivers' sources
//! (`state-machine.md`, section 12) and from docs/kernel-facts.md.

use nix::libc::EBUSY;

use super::device::{Device, State, Waiting, Waits};
use super::profile::Profile;
use super::queue::{TAGS, Tag};
use super::sort::Mode;
use super::step::Step;

/// Why `step` is left out on this kernel; none where it is allowed.
pub(super) fn forbids(profile: &Profile, device: &Device, step: &Step) -> Option<&'static str> {
    if matches!(step, Step::UpdateSize { .. })
        && profile.update_size
        && !profile.update_size_checks
        && !device.has_disk()
    {
        return Some("UPDATE_SIZE without a disk is a NULL dereference before 7.0");
    }
    if matches!(step, Step::Quiesce { .. }) && device.has_disk() && device.state != State::Live {
        return Some("QUIESCE_DEV takes the new server's tags back, and a request then meets one");
    }
    let waits = |waiting: &Waiting| matches!(waiting.what, Waits::Start(_));
    if matches!(step, Step::SetParams { valid: false, .. })
        && !profile.update_size_checks
        && device.waiting.iter().any(waits)
    {
        return Some("what is left of the parameters was not looked up before 7.0");
    }
    if device.spent && begins(step) {
        return Some("the round is not begun anew before 7.3: START_DEV would use dead commands");
    }
    if !profile.pid_checked {
        let server = step.server();
        let starts = matches!(step, Step::Start { .. } | Step::EndRecovery { .. });
        if starts && (device.opener.is_none() || device.opener != server) {
            return Some("6.12 stores any pid unchecked");
        }
    }
    let starts = matches!(step, Step::Start { .. } | Step::EndRecovery { .. });
    if starts && device.kept_ready && !device.is_ready() && step.server() == device.opener {
        return Some(
            "before 7.0 nobody waits for the tags of a second round, which a request then misses",
        );
    }
    if matches!(step, Step::Fetch { .. })
        && !profile.update_size_checks
        && device.started
        && device.count(Tag::Free) > 1
    {
        return Some(
            "before 7.0 a stop does not take back what a second server has fetched so far",
        );
    }
    if let Step::Read { queue, .. } | Step::Write { queue, .. } = *step
        && !profile.close_clears
        && device.requests_of(queue) + 1 >= usize::from(TAGS)
    {
        return Some("6.12 clears a queue whose tags are all with a dead server after 30 s");
    }
    if matches!(step, Step::Fetch { .. } | Step::FetchAll { .. })
        && profile.fetch_again == -EBUSY
        && device.wanting().is_some()
    {
        return Some(
            "EINVAL of the tag whose data is wanted, EBUSY of another: the block layer chose",
        );
    }
    let ends = |waiting: &Waiting| matches!(waiting.what, Waits::End(_));
    if profile.ready_is_kept
        && matches!(step, Step::StartRecovery { .. })
        && device.waiting.iter().any(ends)
    {
        return Some("before 7.0 it forgets an END_USER_RECOVERY that waits");
    }
    if !profile.recovery_in_two_steps {
        return None;
    }
    closes(device, step).or_else(|| in_two_steps(device, step).filter(|_| device.started))
}

/// Whether a server that leaves now takes the device with it: before 7.0 a successor that dies while it fetches. Or whether the
/// kernel complains.
pub(super) fn must_not_leave(profile: &Profile, device: &Device) -> Option<&'static str> {
    let copies = device.sort.mode == Mode::UserCopy;
    if profile.copier_dies_loudly && copies && device.is_serving() {
        return Some(
            "6.17 prints a WARNING when the server of a USER_COPY device dies with a request",
        );
    }
    let successor = matches!(device.state, State::Quiesced | State::FailIo);
    let fetches = device.count(Tag::Free) < usize::from(device.tags());
    (!profile.update_size_checks && successor && fetches)
        .then_some("before 7.0 the char device stays open for ever when a successor dies")
}

fn begins(step: &Step) -> bool {
    matches!(
        step,
        Step::Open { .. }
            | Step::Fetch { .. }
            | Step::FetchAll { .. }
            | Step::Start { .. }
            | Step::StartRecovery { .. }
            | Step::EndRecovery { .. }
    )
}

/// On 6.12 the ring of a server that lives on is closed with a WARNING, or after a second; a server that has fetched some of
/// a queue's tags must not leave at all.
fn closes(device: &Device, step: &Step) -> Option<&'static str> {
    match step {
        Step::CloseChar { .. } => Some("6.12 takes a second and prints a WARNING"),
        Step::Fetch { .. } if device.count(Tag::Free) > 1 => {
            Some("6.12 prints a WARNING when a server leaves with some of the tags fetched")
        }
        _ => None,
    }
}

/// On 6.12 START_USER_RECOVERY is what begins the new round, and only once.
fn in_two_steps(device: &Device, step: &Step) -> Option<&'static str> {
    let away = device.state == State::Quiesced;
    match step {
        Step::Open { .. } | Step::EndRecovery { .. } if away && !device.recovering => {
            Some("6.12 begins a new round with START_USER_RECOVERY only")
        }
        _ => None,
    }
}
