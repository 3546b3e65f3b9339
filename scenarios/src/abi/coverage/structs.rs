//! Structs, by groups of fields.

use super::{Row, Table};

/// Section 6.
pub(super) const TABLES: &[Table] = &[
    Table {
        title: "struct ublksrv_ctrl_cmd",
        rows: rows! {
            "dev_id, len, addr", "6.0", "CtrlPayload, Control::submit" => "abi/malformed-questions", "abi/malformed-add-and-set";
            "queue_id", "6.0", "CtrlPayload, Control::get_queue_affinity" => "startup/add-that-is-refused", "abi/malformed-questions";
            "data", "6.0", "CtrlPayload, Control::update_size" => "abi/update-size", "abi/malformed-questions", "startup/wrong-pid-in-start";
            "dev_path_len", "6.3", "CtrlPayload, Control::for_unprivileged" => "abi/get-dev-info2-needs-the-path";
            "pad, reserved", "6.0", "CtrlPayload" => "abi/malformed-questions";
        },
    },
    Table {
        title: "struct ublksrv_ctrl_dev_info",
        rows: rows! {
            "nr_hw_queues, queue_depth", "6.0", "ServerBuilder::queues, ServerBuilder::depth" => "startup/add-that-is-refused", "abi/dev-info-round-trip";
            "state, ublksrv_pid", "6.0", "DevInfo::state, Server::info" => "abi/dev-info-round-trip", "abi/quiesce";
            "io_desc_size", "7.3", "ServerBuilder::io_desc_size_bytes" => "abi/io-desc-size";
            "max_io_buf_bytes", "6.0", "ServerBuilder::max_io_bytes" => "abi/dev-info-round-trip", "startup/params-that-are-refused";
            "dev_id", "6.0", "ServerBuilder::id" => "startup/add-that-is-refused", "abi/delete-without-waiting";
            "flags", "6.0", "ServerBuilder::features, Server::info" => "abi/add-dev-flag-arithmetic";
            "ublksrv_flags", "6.0", "ServerBuilder::server_flags" => "abi/server-flags-round-trip", "abi/dev-info-round-trip";
            "owner_uid, owner_gid", "6.3", "Server::info" => "abi/unprivileged-flag-arithmetic", "abi/dev-info-round-trip";
            "pad1, reserved1, reserved2", "6.0", "DevInfo, Control::add_dev" => "abi/dev-info-round-trip";
        },
    },
    Table {
        title: "struct ublksrv_io_desc",
        rows: rows! {
            "op_flags", "6.0", "Descriptor, AsyncRequest::descriptor, Target::read_hinted" => "modes/hints-reach-the-target", "abi/need-get-data", "data/discard-and-write-zeroes", "abi/auto-buf-reg-that-fails", "property/descriptors-copy";
            "nr_sectors, start_sector", "6.0", "Descriptor, AsyncRequest::offset_bytes, AsyncRequest::len_bytes" => "abi/need-get-data", "data/request-sizes-around-the-buffer-limit", "property/descriptors-copy";
            "addr", "6.0", "Descriptor, IoDesc" => "modes/shmem-zero-copy";
        },
    },
    Table {
        title: "struct ublksrv_io_cmd",
        rows: rows! {
            "q_id, tag", "6.0", "IoPayload, Request::queue_id, Request::tag" => "startup/fetch-out-of-range";
            "result", "6.0", "IoPayload, Request::complete" => "abi/need-get-data", "lifecycle/errors-do-not-stop-a-queue", "property/results-copy";
            "addr", "6.0", "IoPayload, Request::complete_with" => "startup/fetch-without-buffer", "abi/register-io-buf";
        },
    },
    Table {
        title: "struct ublk_auto_buf_reg",
        rows: rows! {
            "index", "6.16", "RawSqe::sqe_addr, QueueTicket::rotating" => "abi/auto-buf-reg", "abi/auto-buf-reg-that-fails";
            "flags", "6.16", "RawSqe::sqe_addr, DataMode::AutoZeroCopyFallback" => "abi/auto-buf-reg-that-fails";
            "reserved0, reserved1", "6.16", "RawSqe::sqe_addr" => "abi/auto-buf-reg-malformed", "abi/auto-buf-reg-malformed-commit";
        },
    },
    Table {
        title: "struct ublk_batch_io",
        rows: rows! {
            "q_id, flags, nr_elem, elem_bytes", "7.0", "RawSqe::batch, ServerBuilder::batch" => "abi/batch-prepare-and-commit-refusals", "abi/batch-fetch-refusals";
            "reserved, reserved2", "7.0", "RawSqe::batch" => "abi/batch-server";
        },
    },
    Table {
        title: "struct ublk_elem_header",
        rows: rows! {
            "tag, result", "7.0", "BatchElement, ServerBuilder::batch" => "abi/batch-server", "abi/batch-prepare-and-commit-refusals", "property/partial-commit-copy";
            "buf_index", "7.0", "BatchElement, QueueTicket::rotating" => "abi/batch-auto-registration", "modes/batch-auto-zero-copy-file";
        },
    },
    Table {
        title: "struct ublk_shmem_buf_reg",
        rows: rows! {
            "addr, len, flags, reserved", "7.1", "Control::reg_buf, SharedMemory::from_file, SharedMemory::read_only_from_file" => "abi/shared-memory-registration";
        },
    },
    Table {
        title: "struct ublk_params",
        rows: rows! {
            "len, types", "6.0", "Params, ParamsBuilder::build" => "abi/params-are-an-overlay", "startup/params-that-are-refused";
            "basic", "6.0", "ParamsBuilder" => "abi/basic-params-in-sysfs";
            "discard", "6.0", "ParamsBuilder::discard, Capabilities" => "abi/discard-params-in-sysfs";
            "devt", "6.3", "Device::numbers" => "abi/devt-matches-sysfs";
            "zoned", "6.6", "ParamsBuilder::zoned, ZoneGeometry" => "targets/zoned*";
            "dma, padding", "6.15", "ParamsBuilder::dma_alignment_bytes" => "abi/dma-align-in-sysfs";
            "seg", "6.15", "ParamsBuilder::segments" => "abi/segment-limits-in-sysfs";
            "integrity", "7.0", "ParamsBuilder::integrity, IntegrityTarget::options" => "abi/integrity-in-sysfs", "targets/integrity-checksums";
        },
    },
    Table {
        title: "struct ublk_param_basic",
        rows: rows! {
            "attrs", "6.0", "ParamsBuilder::read_only, ParamsBuilder::rotational, Capabilities" => "abi/basic-params-in-sysfs", "data/options-visible-in-sysfs";
            "logical_bs_shift, physical_bs_shift, io_opt_shift, io_min_shift", "6.0", "ParamsBuilder::logical_block_bytes, ParamsBuilder::physical_block_bytes, ParamsBuilder::io_opt_bytes, ParamsBuilder::io_min_bytes" => "abi/basic-params-in-sysfs", "abi/units-that-are-refused";
            "max_sectors, chunk_sectors, dev_sectors, virt_boundary_mask", "6.0", "ParamsBuilder::max_io_bytes, ParamsBuilder::chunk_bytes, Target::size_bytes, ParamsBuilder::virt_boundary_bytes" => "abi/basic-params-in-sysfs", "property/limits-in-sysfs";
        },
    },
    Table {
        title: "struct ublk_param_discard",
        rows: rows! {
            "discard_alignment, discard_granularity, max_discard_sectors, max_write_zeroes_sectors, max_discard_segments", "6.0", "ParamsBuilder::discard, DiscardLimits" => "abi/discard-params-in-sysfs", "startup/params-that-are-refused";
            "reserved0", "6.0", "Params, Control::set_params" => "abi/params-are-an-overlay";
        },
    },
    Table {
        title: "struct ublk_param_devt",
        rows: rows! {
            "char_major, char_minor, disk_major, disk_minor", "6.3", "Device::numbers" => "abi/devt-matches-sysfs";
        },
    },
    Table {
        title: "struct ublk_param_zoned",
        rows: rows! {
            "max_open_zones, max_active_zones, max_zone_append_sectors, reserved", "6.6", "ZoneGeometry, ZonedTarget::geometry" => "targets/zoned*";
        },
    },
    Table {
        title: "struct ublk_param_dma_align",
        rows: rows! {
            "alignment, pad", "6.15", "ParamsBuilder::dma_alignment_bytes" => "abi/dma-align-in-sysfs", "abi/memory-limits-that-are-refused";
        },
    },
    Table {
        title: "struct ublk_param_segment",
        rows: rows! {
            "seg_boundary_mask", "6.15", "ParamsBuilder::segments, SegmentLimits" => "abi/memory-limits-that-are-refused", "abi/segment-limits-in-sysfs";
            "max_segment_size, max_segments, pad", "6.15", "ParamsBuilder::segments, SegmentLimits" => "abi/segment-limits-in-sysfs", "abi/memory-limits-that-are-refused", "property/limits-in-sysfs";
        },
    },
    Table {
        title: "struct ublk_param_integrity",
        rows: rows! {
            "metadata_size, pi_offset, csum_type", "7.0", "IntegrityOptions" => "targets/integrity-checksums", "targets/integrity-opaque", "abi/integrity-that-is-refused";
            "flags", "7.0", "IntegrityOptions" => "targets/integrity-corruption", "abi/integrity-in-sysfs", "abi/integrity-that-is-refused";
            "interval_exp, tag_size", "7.0", "IntegrityOptions" => "targets/integrity-checksums", "abi/integrity-in-sysfs";
            "max_integrity_segments, pad", "7.0", "IntegrityOptions" => "abi/integrity-in-sysfs", "abi/integrity-that-is-refused";
        },
    },
];
