//! What the driver and the caller are, as far as flags depend on it: asked once, so that planning is a pure function.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::ctrl::{Control, CtrlError};
use crate::uapi::Features;

/// Bit of CAP_SYS_ADMIN in the capability words of `/proc`.
const CAP_SYS_ADMIN: u32 = 21;
/// A function that the block layer has exactly with CONFIG_BLK_DEV_ZONED.
const ZONED_SYMBOL: &str = "blk_revalidate_disk_zones";

/// The driver's offer and the caller's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// What GET_FEATURES answers.
    pub features: Features,
    /// Whether this thread has CAP_SYS_ADMIN over the machine, and not only in a user namespace.
    pub privileged: bool,
    /// Whether the kernel was built with CONFIG_BLK_DEV_ZONED; `None` when that was not asked or cannot be told.
    pub zoned: Option<bool>,
}

impl Host {
    /// Asks the driver and looks at this thread's capabilities.
    ///
    /// # Errors
    /// What GET_FEATURES says; ENODEV on kernels before 6.5, which have no such command.
    pub fn probe(control: &mut Control) -> Result<Self, CtrlError> {
        let features = control.get_features()?;
        Ok(Self { features, privileged: is_privileged(), zoned: None })
    }

    /// Looks for the block layer's zone code too. GET_FEATURES offers ZONED without it.
    #[must_use]
    pub fn with_zoned_probe(mut self) -> Self {
        self.zoned = File::open("/proc/kallsyms").ok().and_then(|f| has_zones(BufReader::new(f)));
        self
    }
}

/// A list of symbols that lacks it proves something only if it is a list at all.
fn has_zones(symbols: impl BufRead) -> Option<bool> {
    let mut lines = 0_u32;
    for line in symbols.lines().map_while(Result::ok) {
        lines += 1;
        if line.split_whitespace().nth(2) == Some(ZONED_SYMBOL) {
            return Some(true);
        }
    }
    (lines > 1000).then_some(false)
}

/// Whether the driver's `capable(CAP_SYS_ADMIN)` holds for this thread.
fn is_privileged() -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    has_admin(&read("/proc/thread-self/status")) && is_whole_id_range(&read("/proc/self/uid_map"))
}

fn has_admin(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|word| u64::from_str_radix(word.trim(), 16).ok())
        .is_some_and(|word| word >> CAP_SYS_ADMIN & 1 == 1)
}

/// A user namespace of its own maps less than everything, and its root is none to the driver. Where there is no
/// such file, there are no such namespaces.
fn is_whole_id_range(uid_map: &str) -> bool {
    let fields: Vec<_> = uid_map.split_whitespace().collect();
    matches!(fields.as_slice(), [] | ["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capability_is_bit_21_of_the_effective_word() {
        assert!(has_admin("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n"));
        assert!(has_admin("CapEff:\t0000000000200000"));
        assert!(!has_admin("CapEff:\t000001ffffdfffff"));
        assert!(!has_admin("CapPrm:\t000001ffffffffff"));
    }

    #[test]
    fn root_of_a_namespace_is_no_root() {
        assert!(is_whole_id_range("         0          0 4294967295\n"));
        assert!(!is_whole_id_range("         0       1000          1\n"));
    }

    #[test]
    fn a_short_list_of_symbols_proves_nothing() {
        assert_eq!(has_zones(&b"0000000000000000 T blk_revalidate_disk_zones"[..]), Some(true));
        assert_eq!(has_zones(&b"0000000000000000 T something"[..]), None);
        let many = "0000000000000000 t x\n".repeat(2000);
        assert_eq!(has_zones(many.as_bytes()), Some(false));
    }
}
