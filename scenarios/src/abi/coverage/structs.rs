//! Structs, by groups of fields.

use super::{Row, Table};

/// Section 6.
pub(super) const TABLES: &[Table] = &[
    Table {
        title: "struct ublksrv_ctrl_cmd",
        rows: rows! {
            "dev_id, len, addr" => "abi/malformed-questions", "abi/malformed-add-and-set";
            "queue_id" => "startup/add-that-is-refused", "abi/malformed-questions";
            "data" => "abi/update-size", "abi/malformed-questions", "startup/wrong-pid-in-start";
            "dev_path_len" => "abi/get-dev-info2-needs-the-path";
            "pad, reserved" => "abi/malformed-questions";
        },
    },
    Table {
        title: "struct ublksrv_ctrl_dev_info",
        rows: rows! {
            "nr_hw_queues, queue_depth" => "startup/add-that-is-refused", "abi/dev-info-round-trip";
            "state, ublksrv_pid" => "abi/dev-info-round-trip", "abi/quiesce";
            "io_desc_size" => "abi/io-desc-size";
            "max_io_buf_bytes" => "abi/dev-info-round-trip", "startup/params-that-are-refused";
            "dev_id" => "startup/add-that-is-refused", "abi/delete-without-waiting";
            "flags" => "abi/add-dev-flag-arithmetic";
            "ublksrv_flags" => "abi/server-flags-round-trip", "abi/dev-info-round-trip";
            "owner_uid, owner_gid" => "abi/unprivileged-flag-arithmetic", "abi/dev-info-round-trip";
            "pad1, reserved1, reserved2" => "abi/dev-info-round-trip";
        },
    },
    Table {
        title: "struct ublksrv_io_desc",
        rows: rows! {
            "op_flags" => "abi/need-get-data", "data/discard-and-write-zeroes", "abi/auto-buf-reg-that-fails";
            "nr_sectors, start_sector" => "abi/need-get-data", "data/request-sizes-around-the-buffer-limit";
            "addr" => "modes/shmem-zero-copy";
        },
    },
    Table {
        title: "struct ublksrv_io_cmd",
        rows: rows! {
            "q_id, tag" => "startup/fetch-out-of-range";
            "result" => "abi/need-get-data", "lifecycle/errors-do-not-stop-a-queue";
            "addr" => "startup/fetch-without-buffer", "abi/register-io-buf";
        },
    },
    Table {
        title: "struct ublk_auto_buf_reg",
        rows: rows! {
            "index" => "abi/auto-buf-reg", "abi/auto-buf-reg-that-fails";
            "flags" => "abi/auto-buf-reg-that-fails";
            "reserved0, reserved1" => "abi/auto-buf-reg-malformed", "abi/auto-buf-reg";
        },
    },
    Table {
        title: "struct ublk_batch_io",
        rows: rows! {
            "q_id, flags, nr_elem, elem_bytes" => "abi/batch-prepare-and-commit-refusals", "abi/batch-fetch-refusals";
            "reserved, reserved2" => "abi/batch-server";
        },
    },
    Table {
        title: "struct ublk_elem_header",
        rows: rows! {
            "tag, result" => "abi/batch-server", "abi/batch-prepare-and-commit-refusals";
            "buf_index" => "abi/batch-auto-registration", "modes/batch-auto-zero-copy-file";
        },
    },
    Table {
        title: "struct ublk_shmem_buf_reg",
        rows: rows! {
            "addr, len, flags, reserved" => "abi/shared-memory-registration";
        },
    },
    Table {
        title: "struct ublk_params",
        rows: rows! {
            "len, types" => "abi/params-are-an-overlay", "startup/params-that-are-refused";
            "basic" => "abi/basic-params-in-sysfs";
            "discard" => "abi/discard-params-in-sysfs";
            "devt" => "abi/devt-matches-sysfs";
            "zoned" => "targets/zoned*";
            "dma, padding" => "abi/dma-align-in-sysfs";
            "seg" => "abi/segment-limits-in-sysfs";
            "integrity" => "abi/integrity-in-sysfs", "targets/integrity-checksums";
        },
    },
    Table {
        title: "struct ublk_param_basic",
        rows: rows! {
            "attrs" => "abi/basic-params-in-sysfs", "data/options-visible-in-sysfs";
            "logical_bs_shift, physical_bs_shift, io_opt_shift, io_min_shift" => "abi/basic-params-in-sysfs", "abi/units-that-are-refused";
            "max_sectors, chunk_sectors, dev_sectors, virt_boundary_mask" => "abi/basic-params-in-sysfs";
        },
    },
    Table {
        title: "struct ublk_param_discard",
        rows: rows! {
            "discard_alignment, discard_granularity, max_discard_sectors, max_write_zeroes_sectors, max_discard_segments" => "abi/discard-params-in-sysfs", "startup/params-that-are-refused";
            "reserved0" => "abi/params-are-an-overlay";
        },
    },
    Table {
        title: "struct ublk_param_devt",
        rows: rows! {
            "char_major, char_minor, disk_major, disk_minor" => "abi/devt-matches-sysfs";
        },
    },
    Table {
        title: "struct ublk_param_zoned",
        rows: rows! {
            "max_open_zones, max_active_zones, max_zone_append_sectors, reserved" => "targets/zoned*";
        },
    },
    Table {
        title: "struct ublk_param_dma_align",
        rows: rows! {
            "alignment, pad" => "abi/dma-align-in-sysfs", "abi/memory-limits-that-are-refused";
        },
    },
    Table {
        title: "struct ublk_param_segment",
        rows: rows! {
            "seg_boundary_mask" => "abi/memory-limits-that-are-refused", "abi/segment-limits-in-sysfs";
            "max_segment_size, max_segments, pad" => "abi/segment-limits-in-sysfs", "abi/memory-limits-that-are-refused";
        },
    },
    Table {
        title: "struct ublk_param_integrity",
        rows: rows! {
            "metadata_size, pi_offset, csum_type" => "targets/integrity-checksums", "targets/integrity-opaque", "abi/integrity-that-is-refused";
            "flags" => "targets/integrity-corruption", "abi/integrity-in-sysfs", "abi/integrity-that-is-refused";
            "interval_exp, tag_size" => "targets/integrity-checksums", "abi/integrity-in-sysfs";
            "max_integrity_segments, pad" => "abi/integrity-in-sysfs", "abi/integrity-that-is-refused";
        },
    },
];
