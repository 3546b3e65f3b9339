//! How commands that wait are answered, once what they wait for is there.

use super::device::{Device, State, Waiting, Waits};
use super::effects::Effects;
use super::profile::Profile;
use super::sort::Recovery;
use crate::rig::{EBUSY, EEXIST, EINVAL};

/// Whether it was a TRY_STOP_DEV that has removed a disk.
pub(super) fn finish_stops(device: &mut Device, profile: &Profile, effects: &mut Effects) -> bool {
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
pub(super) fn finish_starts(
    device: &mut Device,
    profile: &Profile,
    tried: bool,
    effects: &mut Effects,
) {
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
