//! The combinations of flags that do not work, as a table: one row for each row of the driver's own matrix that
//! refuses, changes or disarms what was asked for.

use super::{Host, Wish, is_io_desc_size};
use crate::uapi::Features;

/// A combination that must not be sent.
#[derive(Debug)]
pub struct Rule {
    /// A name for tests and for `FeatureError::Conflict`.
    pub id: &'static str,
    /// The flags concerned, for the error's words.
    pub flags: Features,
    /// What is wrong, and what to do.
    pub reason: &'static str,
    /// Whether ADD_DEV takes the word as it is and only the use suffers.
    pub accepted: bool,
    broken: fn(Features, &Wish, &Host) -> bool,
}

impl Rule {
    /// Whether `wish` breaks it.
    #[must_use]
    pub fn is_broken(&self, wish: &Wish, host: &Host) -> bool {
        (self.broken)(wish.all_features(), wish, host)
    }
}

const RECOVERY_KINDS: Features =
    Features::USER_RECOVERY_REISSUE.union(Features::USER_RECOVERY_FAIL_IO);
/// What moves data in another way than by copies of the driver.
const NO_COPY: Features =
    Features::USER_COPY.union(Features::SUPPORT_ZERO_COPY).union(Features::AUTO_BUF_REG);
const WITHOUT_GET_DATA: Features = NO_COPY.union(Features::BATCH_IO);
const UNPRIVILEGED: Features = Features::UNPRIVILEGED_DEV;

/// Every rule, in the order in which they are looked at.
pub const RULES: &[Rule] = &[
    Rule {
        id: "capability",
        flags: Features::empty(),
        reason: "without CAP_SYS_ADMIN a device must ask for UNPRIVILEGED_DEV",
        accepted: false,
        broken: |flags, _, host| !host.privileged && !flags.contains(UNPRIVILEGED),
    },
    Rule {
        id: "unprivileged-as-root",
        flags: UNPRIVILEGED,
        reason: "the driver clears it for callers with CAP_SYS_ADMIN: drop the flag or the capability",
        accepted: false,
        broken: |flags, _, host| host.privileged && flags.contains(UNPRIVILEGED),
    },
    Rule {
        id: "recovery-kind-alone",
        flags: RECOVERY_KINDS,
        reason: "it says how to recover and needs USER_RECOVERY",
        // 6.12 has no such check and stores REISSUE without an effect.
        accepted: true,
        broken: |flags, _, _| {
            flags.intersects(RECOVERY_KINDS) && !flags.contains(Features::USER_RECOVERY)
        },
    },
    Rule {
        id: "two-recovery-kinds",
        flags: RECOVERY_KINDS,
        reason: "requests of a dead server are either sent again or failed: choose one",
        accepted: false,
        broken: |flags, _, _| flags.contains(RECOVERY_KINDS),
    },
    Rule {
        id: "quiesce-alone",
        flags: Features::QUIESCE,
        reason: "a quiesced device waits for another server, which needs USER_RECOVERY",
        accepted: false,
        broken: |flags, _, _| {
            flags.contains(Features::QUIESCE) && !flags.contains(Features::USER_RECOVERY)
        },
    },
    Rule {
        id: "unprivileged-copy-mode",
        flags: UNPRIVILEGED.union(NO_COPY),
        reason: "an unprivileged device moves its data by copies of the driver only",
        accepted: false,
        broken: |flags, _, _| flags.contains(UNPRIVILEGED) && flags.intersects(NO_COPY),
    },
    Rule {
        id: "unprivileged-recovery",
        flags: UNPRIVILEGED.union(Features::USER_RECOVERY).union(RECOVERY_KINDS),
        reason: "the driver clears recovery of an unprivileged device, which then goes with its server",
        accepted: false,
        broken: |flags, _, _| {
            flags.contains(UNPRIVILEGED)
                && flags.intersects(Features::USER_RECOVERY | RECOVERY_KINDS)
        },
    },
    Rule {
        id: "integrity-without-user-copy",
        flags: Features::INTEGRITY,
        reason: "metadata is moved by pread and pwrite, which need USER_COPY",
        accepted: false,
        broken: |flags, _, _| {
            flags.contains(Features::INTEGRITY) && !flags.contains(Features::USER_COPY)
        },
    },
    Rule {
        id: "io-desc-size-range",
        flags: Features::IO_DESC_SIZE,
        reason: "the size of a descriptor is a multiple of 8 from 24 to 256, and has to be given",
        accepted: false,
        broken: |flags, wish, _| {
            flags.contains(Features::IO_DESC_SIZE)
                && !wish.io_desc_size_bytes.is_some_and(is_io_desc_size)
        },
    },
    Rule {
        id: "zoned-copy-mode",
        flags: Features::ZONED,
        reason: "a zoned device needs USER_COPY or SUPPORT_ZERO_COPY; AUTO_BUF_REG alone is not enough",
        accepted: false,
        broken: |flags, _, _| {
            flags.contains(Features::ZONED)
                && !flags.intersects(Features::USER_COPY | Features::SUPPORT_ZERO_COPY)
        },
    },
    Rule {
        id: "zoned-config",
        flags: Features::ZONED,
        reason: "this kernel was built without CONFIG_BLK_DEV_ZONED",
        accepted: false,
        broken: |flags, _, host| flags.contains(Features::ZONED) && host.zoned == Some(false),
    },
    Rule {
        id: "get-data-without-copies",
        flags: Features::NEED_GET_DATA.union(WITHOUT_GET_DATA),
        reason: "the driver clears NEED_GET_DATA where it does not copy by tag: drop it",
        accepted: false,
        broken: |flags, _, _| {
            flags.contains(Features::NEED_GET_DATA) && flags.intersects(WITHOUT_GET_DATA)
        },
    },
    Rule {
        id: "shared-memory-get-data",
        flags: Features::SHMEM_ZC.union(Features::NEED_GET_DATA),
        reason: "the driver forgets where in shared memory a write is once its data is asked for: drop one",
        accepted: true,
        broken: |flags, _, _| flags.contains(Features::SHMEM_ZC | Features::NEED_GET_DATA),
    },
    Rule {
        id: "batch-per-io-daemon",
        flags: Features::BATCH_IO.union(Features::PER_IO_DAEMON),
        reason: "tags of a batch device belong to no task, the driver clears PER_IO_DAEMON: drop it",
        accepted: false,
        broken: |flags, _, _| flags.contains(Features::BATCH_IO | Features::PER_IO_DAEMON),
    },
    Rule {
        id: "batch-depth",
        flags: Features::BATCH_IO,
        reason: "the driver cannot make a queue of one tag with it: use a depth of 2 or more",
        accepted: false,
        broken: |flags, wish, _| flags.contains(Features::BATCH_IO) && wish.queue_depth < 2,
    },
    Rule {
        id: "fallback-without-auto-buf",
        flags: Features::AUTO_BUF_REG,
        reason: "the fallback of automatic registration needs AUTO_BUF_REG",
        accepted: true,
        broken: |flags, wish, _| wish.auto_buf_fallback && !flags.contains(Features::AUTO_BUF_REG),
    },
    Rule {
        id: "fallback-without-zero-copy",
        flags: Features::AUTO_BUF_REG,
        reason: "a request that falls back is registered by hand, which needs SUPPORT_ZERO_COPY",
        accepted: true,
        broken: |flags, wish, _| {
            wish.auto_buf_fallback
                && !flags.intersects(Features::SUPPORT_ZERO_COPY | Features::USER_COPY)
        },
    },
];
