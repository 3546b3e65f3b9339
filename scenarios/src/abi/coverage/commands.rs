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
    "GET_QUEUE_AFFINITY", "6.0", "Control::get_queue_affinity, QueueTicket::affinity" => "modes/threads-run-where-their-queues-are", "startup/queue-affinity-covers-the-cpus", "abi/malformed-questions";
    "GET_DEV_INFO", "6.0", "Control::get_dev_info, Server::info" => "abi/dev-info-round-trip", "abi/malformed-questions";
    "ADD_DEV", "6.0", "Control::add_dev, Device::add, ServerBuilder::start" => "abi/add-dev-flag-arithmetic", "startup/add-that-is-refused";
    "DEL_DEV", "6.0", "Control::del_dev, Device::delete, Server::stop" => "startup/stop-and-delete-in-any-state";
    "START_DEV", "6.0", "Control::start_dev, Device::begin_start" => "startup/start-twice", "startup/start-before-fetch";
    "STOP_DEV", "6.0", "Control::stop_dev, Device::stop, Server::stop" => "startup/stop-and-delete-in-any-state";
    "SET_PARAMS", "6.0", "Control::set_params, Device::set_params" => "abi/params-are-an-overlay", "startup/params-that-are-refused";
    "GET_PARAMS", "6.0", "Control::get_params, Device::params" => "abi/params-are-an-overlay", "abi/malformed-questions";
    "START_USER_RECOVERY", "6.1", "Control::start_user_recovery, Device::recover, ServerBuilder::recover" => "recovery/killed-plain", "abi/recovery-refusals";
    "END_USER_RECOVERY", "6.1", "Control::end_user_recovery, Device::begin_recovery, Takeover::start" => "recovery/killed-plain", "abi/recovery-refusals";
    "GET_DEV_INFO2", "6.3", "Control::get_dev_info2, Control::address" => "abi/get-dev-info2-needs-the-path";
    "GET_FEATURES", "6.5", "Control::get_features" => "startup/flags-in-and-out", "abi/malformed-questions";
    "DEL_DEV_ASYNC", "6.9", "Control::del_dev_async" => "abi/delete-without-waiting", "recovery/delete-without-waiting";
    "UPDATE_SIZE", "6.16", "Control::update_size, Server::resize" => "abi/update-size", "abi/update-size-without-a-disk", "recovery/resize-ram";
    "QUIESCE_DEV", "6.16", "Control::quiesce_dev, Device::quiesce, Server::detach, Takeover::replace" => "abi/quiesce", "recovery/quiesce-and-upgrade";
    "TRY_STOP_DEV", "7.0", "Control::try_stop_dev" => "abi/safe-stop", "recovery/stop-unless-in-use";
    "REG_BUF", "7.1", "Control::reg_buf, Control::reg_shared, Device::share, ServerBuilder::shared_memory" => "abi/shared-memory-registration";
    "UNREG_BUF", "7.1", "Control::unreg_buf" => "abi/shared-memory-registration";
};

pub(super) const IO: &str = "I/O commands";
const IO_ROWS: &[Row] = rows! {
    "FETCH_REQ", "6.0", "Worker::fetch_all, RawSqe::io" => "startup/fetch-before-start", "startup/fetch-twice", "abi/legacy-io-opcodes";
    "COMMIT_AND_FETCH_REQ", "6.0", "Request::complete, RawSqe::io" => "startup/commit-of-an-idle-tag", "abi/legacy-io-opcodes";
    "NEED_GET_DATA", "6.0", "DataMode::GetData, RawSqe::io" => "abi/need-get-data";
    "REGISTER_IO_BUF", "6.15", "DataMode::ZeroCopy, AsyncRequest::move_extents, RawSqe::io" => "abi/register-io-buf", "abi/register-from-another-task";
    "UNREGISTER_IO_BUF", "6.15", "DataMode::ZeroCopy, AsyncRequest::move_extents, RawSqe::io" => "abi/register-io-buf", "abi/register-from-another-task";
    "PREP_IO_CMDS", "7.0", "ServerBuilder::batch, RawSqe::batch" => "abi/batch-server", "abi/batch-prepare-and-commit-refusals";
    "COMMIT_IO_CMDS", "7.0", "ServerBuilder::batch, RawSqe::batch" => "abi/batch-server", "abi/batch-prepare-and-commit-refusals";
    "FETCH_IO_CMDS", "7.0", "ServerBuilder::batch, RawSqe::batch_fetch" => "abi/batch-server", "abi/batch-fetch-refusals";
};

pub(super) const FLAGS: &str = "Feature flags";
const FLAG_ROWS: &[Row] = rows! {
    "SUPPORT_ZERO_COPY", "6.15", "DataMode::ZeroCopy" => "abi/register-io-buf";
    "URING_CMD_COMP_IN_TASK", "6.0", "Server::info" => "startup/flags-in-and-out", "abi/add-dev-flag-arithmetic";
    "NEED_GET_DATA", "6.0", "DataMode::GetData" => "abi/need-get-data";
    "USER_RECOVERY", "6.1", "Recovery::Plain" => "recovery/killed-plain";
    "USER_RECOVERY_REISSUE", "6.1", "Recovery::Reissue" => "recovery/killed-reissue";
    "UNPRIVILEGED_DEV", "6.3", "ServerBuilder::unprivileged, Control::for_unprivileged" => "recovery/unprivileged", "abi/unprivileged-flag-arithmetic";
    "CMD_IOCTL_ENCODE", "6.4", "CtrlOp::encoded, IoCmdOp::encoded" => "abi/legacy-io-opcodes", "startup/unencoded-opcodes";
    "USER_COPY", "6.5", "DataMode::UserCopy" => "abi/user-copy";
    "ZONED", "6.6", "Target::zoned" => "targets/zoned*", "abi/flag-constraint-matrix";
    "USER_RECOVERY_FAIL_IO", "6.13", "Recovery::FailIo" => "recovery/killed-fail-io";
    "UPDATE_SIZE", "6.16", "Server::resize" => "abi/update-size";
    "AUTO_BUF_REG", "6.16", "DataMode::AutoZeroCopy" => "abi/auto-buf-reg", "abi/auto-buf-reg-that-fails";
    "QUIESCE", "6.16", "ServerBuilder::recovery" => "abi/quiesce", "recovery/quiesce-and-upgrade";
    "PER_IO_DAEMON", "6.16", "ServerBuilder::threads, ServerBuilder::share_queues, QueueTicket::split" => "startup/tags-of-one-queue-on-two-threads";
    "BUF_REG_OFF_DAEMON", "6.17", "RawSqe::io" => "abi/register-from-another-task";
    "BATCH_IO", "7.0", "ServerBuilder::batch" => "recovery/killed-in-batches", "abi/batch-server";
    "INTEGRITY", "7.0", "Target::integrity, AsyncTarget::integrity" => "abi/integrity-in-sysfs", "targets/integrity-checksums", "targets/integrity-modes";
    "SAFE_STOP_DEV", "7.0", "Control::try_stop_dev" => "abi/safe-stop";
    "NO_AUTO_PART_SCAN", "7.0", "ServerBuilder::features" => "abi/no-auto-part-scan";
    "SHMEM_ZC", "7.1", "ServerBuilder::shared_memory" => "modes/shmem-zero-copy", "abi/shared-memory-registration";
    "IO_DESC_SIZE", "7.3", "ServerBuilder::io_desc_size_bytes" => "abi/io-desc-size";
};

pub(super) const MATRIX: &str = "Flag constraint matrix, by the planner's rules";
const MATRIX_ROWS: &[Row] = rows! {
    "capability", "6.0", "features::plan" => "abi/unprivileged-flag-arithmetic";
    "unprivileged-as-root", "6.3", "features::plan" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "recovery-kind-alone", "6.1", "features::plan" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "two-recovery-kinds", "6.13", "features::plan" => "abi/flag-constraint-matrix";
    "quiesce-alone", "6.16", "features::plan" => "abi/flag-constraint-matrix";
    "unprivileged-copy-mode", "6.5", "features::plan" => "abi/unprivileged-flag-arithmetic";
    "unprivileged-recovery", "6.3", "features::plan" => "abi/unprivileged-flag-arithmetic";
    "integrity-without-user-copy", "7.0", "features::plan" => "abi/flag-constraint-matrix";
    "io-desc-size-range", "7.3", "features::plan" => "abi/add-dev-flag-arithmetic", "abi/io-desc-size";
    "zoned-copy-mode", "6.6", "features::plan" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "zoned-config", "6.6", "features::plan" => "abi/flag-constraint-matrix";
    "shared-memory-get-data", "7.1", "features::plan" => "abi/shared-memory-and-get-data", "abi/flag-constraint-matrix";
    "get-data-without-copies", "6.5", "features::plan" => "abi/flag-constraint-matrix", "abi/planned-features-are-effective";
    "batch-per-io-daemon", "7.0", "features::plan" => "abi/flag-constraint-matrix";
    "batch-depth", "7.0", "features::plan" => "abi/flag-constraint-matrix";
    "fallback-without-auto-buf", "6.16", "features::plan" => "abi/auto-buf-reg-that-fails";
    "fallback-without-zero-copy", "6.16", "features::plan" => "abi/auto-buf-reg-that-fails";
};
