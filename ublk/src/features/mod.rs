//! From what a user wants and what the driver offers to the exact flag word of ADD_DEV, or to the reason why there
//! is none.
//!
//! ADD_DEV answers most wrong combinations with a bare EINVAL, and worse: it clears some flags silently, so that a
//! device comes up as something else than was asked for. Both are found out here, before the kernel is asked, and
//! told apart. [`model`] is the driver's own arithmetic, against which the rules are tested and which a scenario
//! compares with real drivers.

mod host;
pub mod model;
mod rules;

use thiserror::Error;

pub use host::Host;
pub use rules::{RULES, Rule};

use crate::uapi::{Features, MIN_IO_DESC_SIZE_BYTES};

/// What a device is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Features that are needed. What drivers force on by themselves may be named too.
    pub features: Features,
    /// Tags per queue.
    pub queue_depth: u16,
    /// Bytes per descriptor, where other than 24: a multiple of 8 up to 256. Asks for
    /// [`Features::IO_DESC_SIZE`]. Available since Linux 7.3.
    pub io_desc_size_bytes: Option<u16>,
    /// Whether commands will carry [`AutoBufRegFlags::FALLBACK`](crate::uapi::AutoBufRegFlags::FALLBACK).
    /// Available since Linux 6.16.
    pub auto_buf_fallback: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            features: Features::empty(),
            queue_depth: 64,
            io_desc_size_bytes: None,
            auto_buf_fallback: false,
        }
    }
}

impl Wish {
    /// Every feature that is asked for, by name or by an option.
    #[must_use]
    pub fn all_features(&self) -> Features {
        match self.io_desc_size_bytes {
            Some(_) => self.features | Features::IO_DESC_SIZE,
            None => self.features,
        }
    }
}

/// What ADD_DEV is sent, and what it must make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The flag word to send.
    pub flags: Features,
    /// `io_desc_size` to send; 0 unless [`Features::IO_DESC_SIZE`] is.
    pub io_desc_size_bytes: u16,
    /// The flag word of the device, with what the driver forces on.
    pub effective: Features,
}

impl Plan {
    /// Compares a device's flag word with the plan. Flags that this crate has no name for are a newer driver's own
    /// affair.
    ///
    /// # Errors
    /// [`FeatureError::Changed`] when a flag that was asked for is not there, or one is that nobody asked for.
    pub fn check(&self, effective: Features) -> Result<(), FeatureError> {
        let missing = self.flags - effective;
        let extra = (effective & Features::all()) - self.effective;
        if missing.is_empty() && extra.is_empty() {
            return Ok(());
        }
        Err(FeatureError::Changed { asked: self.flags, missing, extra })
    }
}

/// Why a device cannot be had as it is wished.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The driver would drop these silently.
    #[error(
        "this kernel's driver does not offer {missing} (it offers {offered}); do without{hint}"
    )]
    NotOffered {
        /// What is missing.
        missing: Features,
        /// What GET_FEATURES says.
        offered: Features,
        /// Since when there is the first of them, in words.
        hint: String,
    },
    /// A combination that ADD_DEV refuses, or accepts as something else.
    #[error("{flags}: {reason}")]
    Conflict {
        /// The flags concerned.
        flags: Features,
        /// Which rule, by its id in [`RULES`].
        rule: &'static str,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// The driver made another device than was planned.
    #[error(
        "the driver changed {asked}: it dropped {missing} and added {extra}; report this kernel"
    )]
    Changed {
        /// What was sent.
        asked: Features,
        /// What is not there.
        missing: Features,
        /// What nobody asked for.
        extra: Features,
    },
}

/// What drivers switch on by themselves, as far as they have it.
const FORCED_ON: Features = Features::URING_CMD_COMP_IN_TASK
    .union(Features::CMD_IOCTL_ENCODE)
    .union(Features::PER_IO_DAEMON)
    .union(Features::BUF_REG_OFF_DAEMON)
    .union(Features::SAFE_STOP_DEV);

/// Plans ADD_DEV's flag word.
///
/// # Errors
/// [`FeatureError::NotOffered`] for what this driver has not, [`FeatureError::Conflict`] for the first broken rule
/// of [`RULES`].
pub fn plan(wish: &Wish, host: &Host) -> Result<Plan, FeatureError> {
    let flags = wish.all_features();
    let missing = flags - host.features;
    if !missing.is_empty() {
        let offered = host.features;
        return Err(FeatureError::NotOffered { missing, offered, hint: since(missing) });
    }
    if let Some(rule) = RULES.iter().find(|rule| rule.is_broken(wish, host)) {
        let flags = rule.flags & flags;
        return Err(FeatureError::Conflict { flags, rule: rule.id, reason: rule.reason });
    }
    let io_desc_size_bytes = wish.io_desc_size_bytes.unwrap_or(0);
    Ok(Plan { flags, io_desc_size_bytes, effective: forced(flags, host.features) })
}

/// The word with what the driver forces on and off.
fn forced(flags: Features, driver: Features) -> Features {
    let effective = flags | (FORCED_ON & driver);
    if flags.contains(Features::BATCH_IO) { effective - Features::PER_IO_DAEMON } else { effective }
}

/// Since when there is the first missing flag, for the error's words.
fn since(missing: Features) -> String {
    const SINCE: &[(Features, &str)] = &[
        (Features::SUPPORT_ZERO_COPY, "6.15"),
        (Features::USER_RECOVERY_FAIL_IO, "6.13"),
        (Features::UPDATE_SIZE, "6.16"),
        (Features::AUTO_BUF_REG, "6.16"),
        (Features::QUIESCE, "6.16"),
        (Features::PER_IO_DAEMON, "6.16"),
        (Features::BUF_REG_OFF_DAEMON, "6.17"),
        (Features::BATCH_IO, "7.0"),
        (Features::INTEGRITY, "7.0 with CONFIG_BLK_DEV_INTEGRITY"),
        (Features::SAFE_STOP_DEV, "7.0"),
        (Features::NO_AUTO_PART_SCAN, "7.0"),
        (Features::SHMEM_ZC, "7.1"),
        (Features::IO_DESC_SIZE, "7.3"),
    ];
    SINCE
        .iter()
        .find(|(flag, _)| missing.contains(*flag))
        .map_or_else(String::new, |(flag, version)| format!(", or use Linux {version} for {flag}"))
}

/// Whether the driver takes that descriptor size.
fn is_io_desc_size(bytes: u16) -> bool {
    let range = MIN_IO_DESC_SIZE_BYTES..=crate::uapi::MAX_IO_DESC_SIZE_BYTES;
    range.contains(&bytes) && bytes.is_multiple_of(8)
}

#[cfg(test)]
mod tests;
