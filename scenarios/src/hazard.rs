//! What is not run on a machine that is used for something else: whatever may cost its kernel, change what others see of it,
//! or touch devices of others.
//!
//! Groups are named one by one: one that is not named here is not run there.

use crate::Scenario;
use crate::kernel::KernelRelease;

/// What was asked, as a skip says it.
pub const PROBE: &str = "a machine that others use";

/// Groups whose scenarios work on devices of their own and with commands that the driver is known to survive.
const GROUPS: &[&str] =
    &["lifecycle", "startup", "abi", "data", "modes", "targets", "property", "recovery", "command"];

/// Whole groups, and why not.
const NOT_GROUPS: &[(&str, &str)] = &[
    ("model", "orders of commands that nobody has tried can crash or block a driver"),
    ("fuzz", "malformed commands can crash or block a driver"),
    ("canary", "it is a disaster on purpose"),
];

/// Of a group that is not run, yet harmless: what its server does wrong stays on its own device.
const HARMLESS: &[&str] = &["canary/corrupt-byte"];

const CONTROL_FOR_ALL: &str = "it opens the driver's control node to every user for a while";
const EVERY_DEVICE: &str = "it deletes every ublk device there is";
const EVERY_ORPHAN: &str = "it deletes every ublk device without a server";
const ITSELF: &str = "it starts such a run itself";

/// Single scenarios of the groups that are run.
const NOT: &[(&str, &str)] = &[
    ("abi/unprivileged-flag-arithmetic", CONTROL_FOR_ALL),
    ("abi/users-quota", "it changes a parameter of the module"),
    ("recovery/orphan-in-use", EVERY_ORPHAN),
    ("recovery/orphans", EVERY_ORPHAN),
    ("recovery/unprivileged", CONTROL_FOR_ALL),
    ("recovery/unprivileged-refused", EVERY_DEVICE),
    ("recovery/unprivileged-server-that-keeps-a-request", CONTROL_FOR_ALL),
    ("targets/fault-reorder", "it clears the kernel's trace"),
    ("command/daemon-killed-at-any-moment", EVERY_DEVICE),
    ("command/daemon-killed-while-partitions-are-read", EVERY_DEVICE),
    ("command/here-asks-first", ITSELF),
    ("command/here-runs-the-plan", ITSELF),
    ("command/here-ends-when-told", ITSELF),
    ("command/here-is-red", ITSELF),
];

/// Why `scenario` is not run on a machine with this kernel that others use; nothing where it may be.
#[must_use]
pub fn of(scenario: &Scenario, kernel: KernelRelease) -> Option<String> {
    let named = |table: &[(&str, &str)], name: &str| {
        table.iter().find(|(of, _)| *of == name).map(|(_, why)| (*why).to_owned())
    };
    if let Some(reference) = (scenario.known_bug)(kernel) {
        return Some(format!(
            "this kernel is known to fail it, with whatever follows: {reference}"
        ));
    }
    if HARMLESS.contains(&scenario.id) {
        return None;
    }
    let group = scenario.id.split('/').next().unwrap_or_default();
    match named(NOT_GROUPS, group).or_else(|| named(NOT, scenario.id)) {
        Some(why) => Some(why),
        None if GROUPS.contains(&group) => None,
        None => Some("nobody has said that this group is harmless".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn of_id(id: &str, release: &str) -> Option<String> {
        of(catalogue::find(id).unwrap(), KernelRelease::parse(release).unwrap())
    }

    #[test]
    fn every_group_is_named_and_every_name_is_in_the_catalogue() {
        let groups: Vec<_> =
            GROUPS.iter().chain(NOT_GROUPS.iter().map(|(group, _)| group)).collect();
        for scenario in catalogue::all() {
            let group = scenario.id.split('/').next().unwrap();
            assert!(groups.iter().any(|named| **named == group), "{group} is not named");
        }
        for id in HARMLESS.iter().chain(NOT.iter().map(|(id, _)| id)) {
            assert!(catalogue::find(id).is_some(), "there is no {id}");
        }
    }

    #[test]
    fn disasters_and_known_bugs_stay_out() {
        for id in ["canary/panic", "canary/warn", "recovery/unprivileged", "recovery/orphans"] {
            assert!(of_id(id, "7.3.4").is_some(), "{id} would run");
        }
        assert_eq!(of_id("canary/corrupt-byte", "7.3.4"), None);
        assert_eq!(of_id("data/request-sizes-around-the-buffer-limit", "7.3.4"), None);
        let known = catalogue::all().find(|scenario| {
            (scenario.known_bug)(KernelRelease::parse("7.2.1").unwrap()).is_some()
        });
        assert!(of_id(known.unwrap().id, "7.2.1").is_some());
    }
}
