//! What each control command answers about a device that is there, and which of them wait.

use super::device::{Device, State, Waiting, Waits};
use super::effects::Effects;
use super::profile::Profile;
use super::sort::{Recovery, Sort};
use super::step::Step;
use crate::rig::{EACCES, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP};

/// A control command about a device that is there.
pub(super) fn command(
    device: &mut Device,
    step: &Step,
    slot: u8,
    profile: &Profile,
    effects: &mut Effects,
) {
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
        Step::TryStop { .. } if device.is_open() => effects.result(-EBUSY),
        Step::TryStop { .. } => wait(device, slot, Waits::TryStop, effects),
        Step::Quiesce { .. } => effects.result(quiesce(device, profile)),
        Step::UpdateSize { .. } if !profile.update_size => effects.result(-EOPNOTSUPP),
        Step::UpdateSize { .. } if !device.has_disk() => effects.result(-ENODEV),
        Step::UpdateSize { mib, .. } => {
            device.mib = mib;
            effects.result(0);
        }
        // The path that it carries is looked up.
        Step::GetInfo2 { .. } if device.deleted => effects.result(-ENOENT),
        Step::RegBuf { .. } | Step::UnregBuf { .. } if !device.sort.shared => {
            effects.result(-EOPNOTSUPP);
        }
        Step::RegBuf { page, .. } => effects.result(reg_buf(device, page)),
        Step::UnregBuf { index, .. } => effects.result(unreg_buf(device, index)),
        Step::Del { .. } if device.deleted => wait(device, slot, Waits::DelAgain, effects),
        Step::Del { .. } => wait(device, slot, Waits::StopOfDel { wait: true }, effects),
        Step::DelAsync { .. } if device.deleted => effects.result(0),
        Step::DelAsync { .. } => wait(device, slot, Waits::StopOfDel { wait: false }, effects),
        // GET_PARAMS, GET_DEV_INFO2, and mmap by the opener, which always may.
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
            Waits::Del | Waits::DelAgain => "the last holder of the device is gone",
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

/// The smallest index that is free, unless the page is registered already.
fn reg_buf(device: &mut Device, page: u8) -> i32 {
    if device.shared[usize::from(page)].is_some() {
        return -EEXIST;
    }
    let free = (0..=u8::MAX).find(|index| !device.shared.contains(&Some(*index)));
    device.shared[usize::from(page)] = free;
    free.map_or(0, i32::from)
}

fn unreg_buf(device: &mut Device, index: u8) -> i32 {
    match device.shared.iter_mut().find(|held| **held == Some(index)) {
        Some(held) => {
            *held = None;
            0
        }
        None => -ENOENT,
    }
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
