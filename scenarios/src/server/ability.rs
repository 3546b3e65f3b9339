//! What a server can or cannot do, in the words of adapter files, and what the driver reports of a device that does it.

use std::fmt;

use serde::{Deserialize, Serialize};
use ublk::uapi::Features;

/// One thing a server may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ability {
    /// The driver copies the bytes.
    Copy,
    /// The server copies them, by reads and writes of the character device.
    UserCopy,
    /// The server registers a request's pages itself.
    ZeroCopy,
    /// The driver registers them with the fetch.
    AutoZeroCopy,
    /// Commands for many tags at once.
    Batch,
    /// A volatile cache that is flushed.
    Flush,
    /// Writes that are durable when they are acknowledged.
    Fua,
    /// Ranges that are given back.
    Discard,
    /// Ranges that are zeroed without bytes.
    WriteZeroes,
    /// A device that outlives its server; what the server had fails.
    Recovery,
    /// The same; what the server had goes to the next one.
    RecoveryReissue,
    /// The same; requests fail as long as nobody serves.
    RecoveryFailIo,
}

impl Ability {
    /// The ways for the bytes, the usual one first.
    pub const MODES: [Self; 4] = [Self::Copy, Self::UserCopy, Self::ZeroCopy, Self::AutoZeroCopy];
    /// The answers to a server's death.
    pub const RECOVERIES: [Self; 3] = [Self::Recovery, Self::RecoveryReissue, Self::RecoveryFailIo];

    /// The flags that a device with it has.
    #[must_use]
    pub fn features(self) -> Features {
        match self {
            Self::Copy | Self::Flush | Self::Fua | Self::Discard | Self::WriteZeroes => {
                Features::empty()
            }
            Self::UserCopy => Features::USER_COPY,
            Self::ZeroCopy => Features::SUPPORT_ZERO_COPY,
            Self::AutoZeroCopy => Features::AUTO_BUF_REG,
            Self::Batch => Features::BATCH_IO,
            Self::Recovery => Features::USER_RECOVERY,
            Self::RecoveryReissue => Features::USER_RECOVERY.union(Features::USER_RECOVERY_REISSUE),
            Self::RecoveryFailIo => Features::USER_RECOVERY.union(Features::USER_RECOVERY_FAIL_IO),
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copy => "copy",
            Self::UserCopy => "user-copy",
            Self::ZeroCopy => "zero-copy",
            Self::AutoZeroCopy => "auto-zero-copy",
            Self::Batch => "batch",
            Self::Flush => "flush",
            Self::Fua => "fua",
            Self::Discard => "discard",
            Self::WriteZeroes => "write-zeroes",
            Self::Recovery => "recovery",
            Self::RecoveryReissue => "recovery-reissue",
            Self::RecoveryFailIo => "recovery-fail-io",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for ability in Ability::MODES.into_iter().chain(Ability::RECOVERIES) {
            let name = format!("\"{ability}\"");
            assert_eq!(serde_json::to_string(&ability).unwrap(), name);
        }
    }
}
