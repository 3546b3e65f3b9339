//! The ublk devices of a machine that is not ours alone: which there are, and whose.
//!
//! The driver notes who added a device. A run on such a machine has a group of its own, which nobody else is in, so that
//! every device it made can be told from all others, also after its servers have died.

use std::collections::BTreeSet;
use std::path::Path;

use ublk::ctrl::Control;

use crate::block;
use crate::context::{During, Stop};
use crate::process::remove_device;

/// Where the driver lists its devices, with or without nodes in `/dev`.
const CLASS: &str = "/sys/class/ublk-char";

/// Whether there is a driver that this process may command.
///
/// # Errors
/// One line that names what is missing and its remedy.
pub fn check_driver() -> Result<(), Stop> {
    Control::open().map(drop).map_err(Stop::error)
}

/// Ids of all devices, whoever made them.
///
/// # Errors
/// When `/dev` or sysfs cannot be read.
pub fn ids() -> Result<BTreeSet<u32>, Stop> {
    let mut names = block::all_nodes()?;
    // The class is there as long as the driver is loaded.
    if Path::new(CLASS).exists() {
        for entry in std::fs::read_dir(CLASS).during(format_args!("list {CLASS}"))? {
            let entry = entry.during(format_args!("list {CLASS}"))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names.iter().filter_map(|name| id_of(name)).collect())
}

/// The id of a node's name.
fn id_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix("ublkc").or_else(|| name.strip_prefix("ublkb"))?;
    // A partition, ublkb0p1, goes with its disk.
    number.split('p').next()?.parse().ok()
}

/// The devices of a machine by whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Added by processes of the group.
    pub ours: BTreeSet<u32>,
    /// Added by anybody else.
    pub others: BTreeSet<u32>,
}

impl Owned {
    /// Asks the driver about each device; one that goes meanwhile is nobody's.
    ///
    /// # Errors
    /// When devices cannot be listed, or the driver cannot be asked.
    pub fn by(group: u32) -> Result<Self, Stop> {
        let mut owned = Self::default();
        for id in ids()? {
            let mut control = Control::open().map_err(Stop::error)?;
            match control.address(id) {
                Ok(info) if info.owner_gid == group => owned.ours.insert(id),
                Err(_) if !is_there(id)? => continue,
                // What cannot be asked is not known to be ours.
                Ok(_) | Err(_) => owned.others.insert(id),
            };
        }
        Ok(owned)
    }
}

fn is_there(id: u32) -> Result<bool, Stop> {
    Ok(ids()?.contains(&id))
}

/// Stops and deletes every device of `group`, whose servers have to be gone. Returns those that are still there.
///
/// # Errors
/// As [`Owned::by`].
pub fn remove_all_of(group: u32) -> Result<BTreeSet<u32>, Stop> {
    for id in Owned::by(group)?.ours {
        remove_device(id);
    }
    Ok(Owned::by(group)?.ours)
}

/// Ids in a sentence: `0, 3`.
#[must_use]
pub fn listed(ids: &BTreeSet<u32>) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_its_disks() {
        assert_eq!(id_of("ublkb12p3"), Some(12));
        assert_eq!(id_of("ublkc0"), Some(0));
        assert_eq!(id_of("ublk-control"), None);
        assert_eq!(id_of("sda1"), None);
    }

    #[test]
    fn ids_are_listed_in_a_sentence() {
        assert_eq!(listed(&BTreeSet::from([3, 0])), "0, 3");
    }
}
