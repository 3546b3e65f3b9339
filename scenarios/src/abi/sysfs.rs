//! Every option of the parameters, asked for through the server's builder and read back from sysfs.

use reports::event::FailureKind;
use ublk::device::DeviceError;
use ublk::params::{Checksum, DiscardLimits, IntegrityOptions, ParamsBuilder, SegmentLimits};
use ublk::server::{Server, StartError};
use ublk::target::{Capabilities, RamTarget};
use ublk::uapi::Features;

use std::sync::Arc;

use crate::block::sysfs_block;
use crate::context::{Context, During, Stop};
use crate::rig::{Fetcher, Rig, stop_served};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "abi/basic-params-in-sysfs",
        title: "units, capacity, chunk, boundary, rotation and write protection are in sysfs as asked",
        covers: &["ublk_param_basic", "S3", "R:2", "R:3"],
        run: basic,
        ..Scenario::SERVER
    },
    Scenario {
        id: "abi/discard-params-in-sysfs",
        title: "granularity and both limits of clearing are in sysfs as asked",
        covers: &["ublk_param_discard", "R:5"],
        run: discard,
        ..Scenario::SERVER
    },
    Scenario {
        id: "abi/dma-align-in-sysfs",
        title: "the alignment of buffers is in sysfs as asked",
        covers: &["ublk_param_dma_align"],
        run: dma_align,
        ..Scenario::SERVER
    },
    Scenario {
        id: "abi/segment-limits-in-sysfs",
        title: "number and size of segments are in sysfs as asked",
        covers: &["ublk_param_segment"],
        run: segments,
        ..Scenario::SERVER
    },
    Scenario {
        id: "abi/integrity-in-sysfs",
        title: "metadata size, interval, checksum and tag are in sysfs as asked",
        covers: &["ublk_param_integrity"],
        run: integrity,
        ..Scenario::DRIVER
    },
];

const SIZE_BYTES: u64 = 8 << 20;

type Choose = fn(ParamsBuilder) -> ParamsBuilder;

/// Serves a ramdisk with these options and compares files of its sysfs folder.
fn check_disk(
    context: &mut Context,
    what: &str,
    choose: Choose,
    expected: &[(&str, &str)],
) -> Result<(), Stop> {
    let target = RamTarget::new(SIZE_BYTES).during("make a ramdisk")?;
    let builder = Server::builder(target)
        .no_socket()
        .max_io_bytes(256 << 10)
        .params(choose)
        .start_timeout(context.command_timeout() * 2);
    let server = match builder.start() {
        Ok(server) => server,
        Err(StartError::Device(error @ DeviceError::ParamsIgnored { .. })) => {
            return Err(Stop::skip("GET_PARAMS after SET_PARAMS", error));
        }
        Err(error) => return Err(Stop::fail(FailureKind::Operation, error)),
    };
    let name = format!("ublkb{}", server.info().dev_id);
    let checked = expected.iter().try_for_each(|(file, value)| {
        let observed = sysfs_block(&name, file)?;
        let what = format!("{file} of a disk with {what}");
        context.check_eq(FailureKind::State, what, &observed.as_str(), value)
    });
    stop_served(context, server)?;
    checked
}

fn basic(context: &mut Context) -> Result<String, Stop> {
    check_disk(
        context,
        "the defaults",
        |params| params,
        &[
            ("size", "16384"),
            ("ro", "0"),
            ("queue/logical_block_size", "512"),
            ("queue/physical_block_size", "4096"),
            ("queue/minimum_io_size", "4096"),
            ("queue/optimal_io_size", "4096"),
            ("queue/chunk_sectors", "0"),
            ("queue/virt_boundary_mask", "0"),
            ("queue/rotational", "0"),
            ("queue/max_hw_sectors_kb", "256"),
            ("queue/write_cache", "write through"),
        ],
    )?;
    check_disk(
        context,
        "every unit chosen",
        |params| {
            params
                .logical_block_bytes(1024)
                .physical_block_bytes(8192)
                .io_min_bytes(16384)
                .io_opt_bytes(65536)
                .chunk_bytes(128 << 10)
                .virt_boundary_bytes(4096)
                .rotational(true)
                .read_only(true)
        },
        &[
            ("size", "16384"),
            ("ro", "1"),
            ("queue/logical_block_size", "1024"),
            ("queue/physical_block_size", "8192"),
            ("queue/minimum_io_size", "16384"),
            ("queue/optimal_io_size", "65536"),
            ("queue/chunk_sectors", "256"),
            ("queue/virt_boundary_mask", "4095"),
            ("queue/rotational", "1"),
        ],
    )?;
    check_disk(
        context,
        "blocks of a page",
        |params| params.logical_block_bytes(4096).physical_block_bytes(4096),
        &[("queue/logical_block_size", "4096"), ("queue/hw_sector_size", "4096")],
    )?;
    Ok("22 files of 3 disks".into())
}

fn discard(context: &mut Context) -> Result<String, Stop> {
    check_disk(
        context,
        "the target's limits",
        |params| params,
        &[
            ("queue/discard_granularity", "65536"),
            ("queue/discard_max_hw_bytes", "1073741824"),
            ("queue/write_zeroes_max_bytes", "1073741824"),
            ("discard_alignment", "0"),
        ],
    )?;
    check_disk(
        context,
        "limits chosen",
        |params| {
            params.discard(DiscardLimits {
                granularity_bytes: Some(16 << 10),
                alignment_bytes: 4096,
                max_discard_bytes: Some(256 << 10),
                max_write_zeroes_bytes: Some(64 << 10),
            })
        },
        &[
            ("queue/discard_granularity", "16384"),
            ("queue/discard_max_hw_bytes", "262144"),
            ("queue/write_zeroes_max_bytes", "65536"),
            // The file shows another limit than its name says, on every kernel tried: docs/kernel-facts.md.
            // GET_PARAMS, which the server compares at its start, has what was asked for.
            ("discard_alignment", "0"),
        ],
    )?;
    check_disk(
        context,
        "write protection",
        |params| params.read_only(true),
        &[("queue/discard_max_hw_bytes", "0"), ("queue/write_zeroes_max_bytes", "0")],
    )?;
    Ok("10 files of 3 disks".into())
}

fn dma_align(context: &mut Context) -> Result<String, Stop> {
    check_disk(
        context,
        "an alignment of 512",
        |params| params.dma_alignment_bytes(512),
        &[("queue/dma_alignment", "511")],
    )?;
    check_disk(
        context,
        "an alignment of a page",
        |params| params.dma_alignment_bytes(4096),
        &[("queue/dma_alignment", "4095")],
    )?;
    check_disk(context, "no alignment chosen", |params| params, &[("queue/dma_alignment", "3")])?;
    Ok("512, 4096 and the driver's 4".into())
}

fn segments(context: &mut Context) -> Result<String, Stop> {
    check_disk(
        context,
        "16 segments of 8 KiB",
        |params| {
            params.segments(SegmentLimits {
                boundary_bytes: 64 << 10,
                max_segment_bytes: 8192,
                max_segments: 16,
            })
        },
        &[("queue/max_segments", "16"), ("queue/max_segment_size", "8192")],
    )?;
    check_disk(
        context,
        "no limits chosen",
        |params| params,
        &[("queue/max_segments", "65535"), ("queue/max_segment_size", "4294967295")],
    )?;
    Ok("16 of 8192, and the driver's own".into())
}

/// The data plane of ours moves no metadata here: nothing is read or written, not even a partition table.
fn integrity(context: &mut Context) -> Result<String, Stop> {
    let features = Features::INTEGRITY | Features::USER_COPY | Features::NO_AUTO_PART_SCAN;
    let options = IntegrityOptions {
        metadata_bytes: 16,
        interval_bytes: Some(512),
        checksum: Checksum::Crc16T10Dif,
        tuple_offset_bytes: 8,
        tag_bytes: 2,
        storage_checks: true,
        reference_tag: true,
        max_segments: 0,
    };
    let opaque = IntegrityOptions { metadata_bytes: 8, ..IntegrityOptions::default() };
    for (options, expected) in [
        (
            options,
            [
                ("integrity/format", "T10-DIF-TYPE1-CRC"),
                ("integrity/protection_interval_bytes", "512"),
                ("integrity/tag_size", "2"),
                ("integrity/device_is_integrity_capable", "1"),
            ],
        ),
        (
            opaque,
            [
                ("integrity/format", "nop"),
                ("integrity/protection_interval_bytes", "512"),
                ("integrity/tag_size", "0"),
                ("integrity/device_is_integrity_capable", "0"),
            ],
        ),
    ] {
        let mut rig = Rig::add_with(context, 1, 4, features, |_| {})?;
        let params = ParamsBuilder::new(SIZE_BYTES, Capabilities::default())
            .max_io_bytes(64 << 10)
            .integrity(options)
            .build()
            .during("build the parameters")?;
        let id = rig.id;
        rig.control().set_params(id, &params)?;
        let file = Arc::new(rig.open(context)?);
        let mut fetcher = Fetcher::new(&rig, &file, 0)?;
        fetcher.fetch_all()?;
        let pending = rig.start_begin()?;
        let started = rig.drive(context, &pending, &mut fetcher)?;
        context.check_result("START_DEV with integrity", started, 0)?;
        for (file, value) in expected {
            let observed = sysfs_block(&format!("ublkb{id}"), file)?;
            context.check_eq(FailureKind::State, file, &observed.as_str(), &value)?;
        }
        rig.stop_driven(context, &mut fetcher)?;
        drop(fetcher);
        drop(file);
        rig.delete(context)?;
    }
    Ok("T10 DIF of 16 bytes and opaque metadata of 8".into())
}
