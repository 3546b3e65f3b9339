//! What sort of device ADD_DEV makes: what it promises, how its data goes, how many queues it has.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a device promises for the time without a server.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// The device goes with its server.
    #[default]
    None,
    /// It stays; requests that the server had fail, new ones wait.
    Plain,
    /// It stays, and no request fails.
    Reissue,
    /// It stays, and requests fail until there is a server again.
    FailIo,
}

/// How the bytes of a request come to the server.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The driver copies them.
    #[default]
    Copy,
    /// The server does, with pread and pwrite: UBLK_F_USER_COPY.
    UserCopy,
    /// The server registers the pages: UBLK_F_SUPPORT_ZERO_COPY.
    ZeroCopy,
    /// The driver copies them, those of a write when the server asks for them: UBLK_F_NEED_GET_DATA.
    GetData,
}

/// What ADD_DEV is asked for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Sort {
    /// What it promises.
    pub recovery: Recovery,
    /// UBLK_F_QUIESCE.
    pub quiesce: bool,
    /// Has a second queue.
    #[serde(default, skip_serializing_if = "is_default")]
    pub two_queues: bool,
    /// How its data goes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// UBLK_F_SHMEM_ZC: memory can be registered with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Sort {
    /// Of one queue, whose data the driver copies.
    #[must_use]
    pub const fn plain(recovery: Recovery, quiesce: bool) -> Self {
        Self { recovery, quiesce, two_queues: false, mode: Mode::Copy, shared: false }
    }

    /// The same with a second queue.
    #[must_use]
    pub const fn with_two_queues(self) -> Self {
        Self { two_queues: true, ..self }
    }

    /// The same, whose data goes otherwise.
    #[must_use]
    pub const fn with_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// The same, with which memory can be registered.
    #[must_use]
    pub const fn with_shared_memory(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Number of queues.
    #[must_use]
    pub fn queues(self) -> u8 {
        1 + u8::from(self.two_queues)
    }

    /// Those that random sequences are made of.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let recoveries = [Recovery::None, Recovery::Plain, Recovery::Reissue, Recovery::FailIo];
        let mut all = Vec::new();
        for recovery in recoveries {
            all.extend([Self::plain(recovery, false), Self::plain(recovery, true)]);
        }
        let plain = |recovery| Self::plain(recovery, recovery != Recovery::None);
        all.extend(recoveries.map(|recovery| plain(recovery).with_two_queues()));
        all.extend([
            plain(Recovery::None).with_mode(Mode::UserCopy),
            plain(Recovery::Reissue).with_two_queues().with_mode(Mode::UserCopy),
            plain(Recovery::None).with_mode(Mode::ZeroCopy),
            plain(Recovery::Plain).with_two_queues().with_mode(Mode::ZeroCopy),
            plain(Recovery::FailIo).with_mode(Mode::ZeroCopy),
            plain(Recovery::None).with_mode(Mode::GetData),
            plain(Recovery::None).with_two_queues().with_mode(Mode::GetData),
            plain(Recovery::Plain).with_mode(Mode::GetData),
            plain(Recovery::FailIo).with_mode(Mode::GetData),
            plain(Recovery::Reissue).with_two_queues().with_mode(Mode::GetData),
            plain(Recovery::None).with_shared_memory(),
            plain(Recovery::Plain).with_mode(Mode::UserCopy).with_shared_memory(),
        ]);
        all
    }

    /// Simpler ones, the simplest first.
    #[must_use]
    pub fn simpler(self) -> Vec<Self> {
        let mut all: Vec<Self> = [Recovery::None, Recovery::Plain]
            .into_iter()
            .take_while(|plain| *plain < self.recovery)
            .map(|recovery| Self::plain(recovery, false))
            .collect();
        all.extend([
            Self { quiesce: false, ..self },
            Self { two_queues: false, ..self },
            Self { mode: Mode::Copy, ..self },
            Self { shared: false, ..self },
        ]);
        all.retain(|simpler| *simpler != self);
        all
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.recovery {
            Recovery::None => "no recovery",
            Recovery::Plain => "USER_RECOVERY",
            Recovery::Reissue => "USER_RECOVERY_REISSUE",
            Recovery::FailIo => "USER_RECOVERY_FAIL_IO",
        })?;
        let extras = [
            (self.quiesce, "with QUIESCE"),
            (self.two_queues, "two queues"),
            (self.mode == Mode::UserCopy, "USER_COPY"),
            (self.mode == Mode::ZeroCopy, "SUPPORT_ZERO_COPY"),
            (self.mode == Mode::GetData, "NEED_GET_DATA"),
            (self.shared, "SHMEM_ZC"),
        ];
        for (has, text) in extras {
            if has {
                write!(out, ", {text}")?;
            }
        }
        Ok(())
    }
}
