//! Commands, feature flags, and the combinations of flags.

use super::{Row, Table};

/// Sections 3 to 5.
pub(super) const TABLES: &[Table] = &[
    Table { title: CONTROL, rows: CONTROL_ROWS },
    Table { title: IO, rows: IO_ROWS },
    Table { title: FLAGS, rows: FLAG_ROWS },
    Table { title: MATRIX, rows: MATRIX_ROWS },
];

pub(super) const CONTROL: &str = "Control commands";
const CONTROL_ROWS: &[Row] = rows! {
    "GET_QUEUE_AFFINITY" => "startup/queue-affinity-covers-the-cpus", "abi/malformed-questions";
    "GET_DEV_INFO" => "abi/dev-info-round-trip", "abi/malformed-questions";
    "ADD_DEV" => "abi/add-dev-flag-arithmetic", "startup/add-that-is-refused";
    "DEL_DEV" => "startup/stop-and-delete-in-any-state";
    "START_DEV" => "startup/start-twice", "startup/start-before-fetch";
    "STOP_DEV" => "startup/stop-and-delete-in-any-state";
    "SET_PARAMS" => "abi/params-are-an-overlay", "startup/params-that-are-refused";
    "GET_PARAMS" => "abi/params-are-an-overlay", "abi/malformed-questions";
    "START_USER_RECOVERY" => "recovery/killed-plain", "abi/recovery-refusals";
    "END_USER_RECOVERY" => "recovery/killed-plain", "abi/recovery-refusals";
    "GET_DEV_INFO2" => "abi/get-dev-info2-needs-the-path";
    "GET_FEATURES" => "startup/flags-in-and-out", "abi/malformed-questions";
    "DEL_DEV_ASYNC" => "abi/delete-without-waiting", "recovery/delete-without-waiting";
    "UPDATE_SIZE" => "abi/update-size", "recovery/resize-ram";
    "QUIESCE_DEV" => "abi/quiesce", "recovery/quiesce-and-upgrade";
    "TRY_STOP_DEV" => "abi/safe-stop", "recovery/stop-unless-in-use";
    "REG_BUF" => "abi/shared-memory-registration";
    "UNREG_BUF" => "abi/shared-memory-registration";
};

pub(super) const IO: &str = "I/O commands";
const IO_ROWS: &[Row] = rows! {
    "FETCH_REQ" => "startup/fetch-before-start", "startup/fetch-twice", "abi/legacy-io-opcodes";
    "COMMIT_AND_FETCH_REQ" => "startup/commit-of-an-idle-tag", "abi/legacy-io-opcodes";
    "NEED_GET_DATA" => "abi/need-get-data";
    "REGISTER_IO_BUF" => "abi/register-io-buf", "abi/register-from-another-task";
    "UNREGISTER_IO_BUF" => "abi/register-io-buf", "abi/register-from-another-task";
    "PREP_IO_CMDS" => "abi/batch-server", "abi/batch-prepare-and-commit-refusals";
    "COMMIT_IO_CMDS" => "abi/batch-server", "abi/batch-prepare-and-commit-refusals";
    "FETCH_IO_CMDS" => "abi/batch-server", "abi/batch-fetch-refusals";
};

pub(super) const FLAGS: &str = "Feature flags";
const FLAG_ROWS: &[Row] = rows! {
    "SUPPORT_ZERO_COPY" => "abi/register-io-buf";
    "URING_CMD_COMP_IN_TASK" => "startup/flags-in-and-out", "abi/add-dev-flag-arithmetic";
    "NEED_GET_DATA" => "abi/need-get-data";
    "USER_RECOVERY" => "recovery/killed-plain";
    "USER_RECOVERY_REISSUE" => "recovery/killed-reissue";
    "UNPRIVILEGED_DEV" => "recovery/unprivileged", "abi/unprivileged-flag-arithmetic";
    "CMD_IOCTL_ENCODE" => "abi/legacy-io-opcodes", "startup/unencoded-opcodes";
    "USER_COPY" => "abi/user-copy";
    "ZONED" => "targets/zoned*", "abi/flag-constraint-matrix";
    "USER_RECOVERY_FAIL_IO" => "recovery/killed-fail-io";
    "UPDATE_SIZE" => "abi/update-size";
    "AUTO_BUF_REG" => "abi/auto-buf-reg", "abi/auto-buf-reg-that-fails";
    "QUIESCE" => "abi/quiesce", "recovery/quiesce-and-upgrade";
    "PER_IO_DAEMON" => "startup/tags-of-one-queue-on-two-threads";
    "BUF_REG_OFF_DAEMON" => "abi/register-from-another-task";
    "BATCH_IO" => "abi/batch-server";
    "INTEGRITY" => "abi/integrity-in-sysfs", "targets/integrity-checksums", "targets/integrity-modes";
    "SAFE_STOP_DEV" => "abi/safe-stop";
    "NO_AUTO_PART_SCAN" => "abi/no-auto-part-scan";
    "SHMEM_ZC" => "modes/shmem-zero-copy", "abi/shared-memory-registration";
    "IO_DESC_SIZE" => "abi/io-desc-size";
};

pub(super) const MATRIX: &str = "Flag constraint matrix, by the planner's rules";
const MATRIX_ROWS: &[Row] = rows! {
    "capability" => "abi/unprivileged-flag-arithmetic";
    "unprivileged-as-root" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "recovery-kind-alone" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "two-recovery-kinds" => "abi/flag-constraint-matrix";
    "quiesce-alone" => "abi/flag-constraint-matrix";
    "unprivileged-copy-mode" => "abi/unprivileged-flag-arithmetic";
    "unprivileged-recovery" => "abi/unprivileged-flag-arithmetic";
    "integrity-without-user-copy" => "abi/flag-constraint-matrix";
    "io-desc-size-range" => "abi/add-dev-flag-arithmetic", "abi/io-desc-size";
    "zoned-copy-mode" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "zoned-config" => "abi/flag-constraint-matrix";
    "shared-memory-get-data" => "abi/shared-memory-and-get-data", "abi/flag-constraint-matrix";
    "get-data-without-copies" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "batch-per-io-daemon" => "abi/flag-constraint-matrix";
    "batch-depth" => "abi/flag-constraint-matrix";
    "fallback-without-auto-buf" => "abi/auto-buf-reg-that-fails";
    "fallback-without-zero-copy" => "abi/auto-buf-reg-that-fails";
};
