//! What becomes of a device when its server goes away: a choice of four, where the driver has three flags of whose
//! eight combinations half are wrong.

use crate::uapi::Features;

/// What becomes of a device, and of the requests its users make, when its server goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// The disk is removed. Requests fail.
    #[default]
    None,
    /// The disk stays. Requests the server had fail with EIO, new ones wait for the next server.
    /// Available since Linux 6.1.
    Plain,
    /// The disk stays. Requests the server had go to the next one, new ones wait for it; so a write may be
    /// done twice. Available since Linux 6.1.
    Reissue,
    /// The disk stays. Requests the server had fail with EIO, new ones with EREMOTEIO until the next server is
    /// there. Available since Linux 6.13.
    FailIo,
}

impl Recovery {
    /// The flags ADD_DEV is asked for.
    #[must_use]
    pub const fn features(self) -> Features {
        match self {
            Self::None => Features::empty(),
            Self::Plain => Features::USER_RECOVERY,
            Self::Reissue => Features::USER_RECOVERY.union(Features::USER_RECOVERY_REISSUE),
            Self::FailIo => Features::USER_RECOVERY.union(Features::USER_RECOVERY_FAIL_IO),
        }
    }

    /// What a device with these flags does.
    #[must_use]
    pub const fn of(flags: Features) -> Self {
        if !flags.contains(Features::USER_RECOVERY) {
            Self::None
        } else if flags.contains(Features::USER_RECOVERY_FAIL_IO) {
            Self::FailIo
        } else if flags.contains(Features::USER_RECOVERY_REISSUE) {
            Self::Reissue
        } else {
            Self::Plain
        }
    }

    /// As on the command line: `none`, `plain`, `reissue`, `fail-io`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Plain => "plain",
            Self::Reissue => "reissue",
            Self::FailIo => "fail-io",
        }
    }
}

impl std::fmt::Display for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{FeatureError, Host, Wish, plan};

    const RECOVERIES: [Recovery; 4] =
        [Recovery::None, Recovery::Plain, Recovery::Reissue, Recovery::FailIo];

    fn ask(features: Features, offered: u64) -> Result<(), FeatureError> {
        let host = Host { features: Features::from_bits(offered), privileged: true, zoned: None };
        plan(&Wish { features, ..Wish::default() }, &host).map(drop)
    }

    #[test]
    fn each_recovery_is_a_legal_word_and_found_again_in_it() {
        for one in RECOVERIES {
            assert_eq!(Recovery::of(one.features()), one);
            ask(one.features(), 0x001f_ffff).unwrap();
        }
    }

    #[test]
    fn what_6_12_lacks_is_named_with_the_kernel_that_has_it() {
        ask(Recovery::Reissue.features(), 0x1fe).unwrap();
        let text = ask(Recovery::FailIo.features(), 0x1fe).unwrap_err().to_string();
        assert!(text.contains("USER_RECOVERY_FAIL_IO") && text.contains("6.13"), "{text}");
    }
}
