//! What follows from capabilities, and that each wrong value is told by its own words.

use super::discard::CLEAR_SECTORS_MAX;
use super::*;
use crate::uapi::Attrs;

fn all() -> Capabilities {
    Capabilities {
        flush: true,
        fua: true,
        discard: true,
        write_zeroes: true,
        ..Capabilities::default()
    }
}

fn plain() -> ParamsBuilder {
    ParamsBuilder::new(1 << 20, Capabilities::default())
}

#[test]
fn promises_follow_from_capabilities() {
    let params = ParamsBuilder::new(1 << 20, all()).build().unwrap();
    assert_eq!(params.basic.attrs, Attrs::VOLATILE_CACHE | Attrs::FUA);
    assert_eq!(params.types, ParamTypes::BASIC | ParamTypes::DISCARD);
    assert_eq!((params.basic.dev_sectors, params.basic.max_sectors), (2048, 1024));
    assert_eq!(params.discard.max_discard_segments, 1);
    assert_eq!(params.discard.discard_granularity, 512);

    let bare = plain().build().unwrap();
    assert_eq!(bare.basic.attrs, Attrs::empty());
    assert_eq!(bare.types, ParamTypes::BASIC);

    let fua_only = Capabilities { fua: true, ..Capabilities::default() };
    let params = ParamsBuilder::new(1 << 20, fua_only).build().unwrap();
    assert_eq!(params.basic.attrs, Attrs::empty());
}

#[test]
fn a_read_only_device_offers_no_discard() {
    let params = ParamsBuilder::new(1 << 20, all()).read_only(true).build().unwrap();
    assert!(params.basic.attrs.contains(Attrs::READ_ONLY));
    assert_eq!(params.types, ParamTypes::BASIC);
}

#[test]
fn write_zeroes_alone_has_no_discard_segment() {
    let zeroes = Capabilities { write_zeroes: true, ..Capabilities::default() };
    let discard = ParamsBuilder::new(1 << 20, zeroes).build().unwrap().discard;
    assert_eq!((discard.max_discard_sectors, discard.max_discard_segments), (0, 0));
    assert!(discard.max_write_zeroes_sectors > 0 && discard.discard_granularity != 0);
}

#[test]
fn every_wrong_value_is_named() {
    let error = |builder: ParamsBuilder| builder.build().unwrap_err().to_string();
    assert_eq!(
        error(plain().logical_block_bytes(768)),
        "logical block of 768 bytes is not a power of two from 512 to 4096"
    );
    assert!(error(plain().logical_block_bytes(8192)).starts_with("logical block of 8192"));
    assert!(error(plain().logical_block_bytes(256)).starts_with("logical block of 256"));
    assert_eq!(
        error(plain().logical_block_bytes(4096).physical_block_bytes(512)),
        "physical block of 512 bytes is smaller than the logical block of 4096"
    );
    for bytes in [0, 512, 4097, MAX_IO_BYTES_MAX + 4096] {
        assert!(error(plain().max_io_bytes(bytes)).starts_with("largest request of"));
    }
    assert!(error(plain().io_opt_bytes(3000)).starts_with("optimal I/O of 3000"));
    assert!(error(plain().io_min_bytes(0)).starts_with("minimum I/O of 0"));
    assert!(error(plain().physical_block_bytes(1 << 29)).starts_with("physical block"));
    let tiny = ParamsBuilder::new(4095, Capabilities::default()).logical_block_bytes(4096);
    assert_eq!(error(tiny), "4095 bytes do not fill one logical block of 4096 bytes");
    let coarse = Capabilities { logical_block_bytes_min: 4096, ..Capabilities::default() };
    let finer = ParamsBuilder::new(1 << 20, coarse).logical_block_bytes(512);
    assert!(error(finer).contains("finer than the target serves, use 4096"));
    let odd = Capabilities { discard: true, discard_granularity_bytes: 768, ..all() };
    assert!(error(ParamsBuilder::new(1 << 20, odd)).starts_with("discard granularity"));
}

#[test]
fn a_remainder_of_a_block_is_not_served() {
    let params = ParamsBuilder::new(10_000, Capabilities::default())
        .logical_block_bytes(4096)
        .build()
        .unwrap();
    assert_eq!(params.basic.dev_sectors, 16);
}

#[test]
fn the_limit_of_discard_is_whole_units() {
    let coarse = Capabilities { discard_granularity_bytes: 3 << 20, ..all() };
    let discard = ParamsBuilder::new(1 << 40, coarse).build().unwrap().discard;
    assert_eq!(discard.max_discard_sectors % (discard.discard_granularity >> 9), 0);
    assert!(discard.max_discard_sectors <= CLEAR_SECTORS_MAX);
}

#[test]
fn options_land_in_their_fields() {
    let params = ParamsBuilder::new(1 << 20, all())
        .rotational(true)
        .chunk_bytes(64 << 10)
        .virt_boundary_bytes(4096)
        .discard(DiscardLimits {
            granularity_bytes: Some(8192),
            alignment_bytes: 512,
            max_discard_bytes: Some(1 << 20),
            max_write_zeroes_bytes: Some(64 << 10),
        })
        .dma_alignment_bytes(512)
        .segments(SegmentLimits {
            boundary_bytes: 1 << 16,
            max_segment_bytes: 8192,
            max_segments: 16,
        })
        .integrity(IntegrityOptions {
            metadata_bytes: 16,
            checksum: Checksum::Crc16T10Dif,
            tuple_offset_bytes: 8,
            tag_bytes: 2,
            storage_checks: true,
            reference_tag: true,
            max_segments: 9,
            ..IntegrityOptions::default()
        })
        .build()
        .unwrap();
    assert_eq!(params.types.to_string(), "BASIC|DISCARD|DMA_ALIGN|SEGMENT|INTEGRITY");
    assert!(params.basic.attrs.contains(Attrs::ROTATIONAL));
    assert_eq!((params.basic.chunk_sectors, params.basic.virt_boundary_mask), (128, 4095));
    let discard = params.discard;
    assert_eq!((discard.discard_granularity, discard.discard_alignment), (8192, 512));
    assert_eq!((discard.max_discard_sectors, discard.max_write_zeroes_sectors), (2048, 128));
    assert_eq!(params.dma.alignment, 511);
    let seg = params.seg;
    assert_eq!((seg.seg_boundary_mask, seg.max_segment_size, seg.max_segments), (65535, 8192, 16));
    let integrity = params.integrity;
    assert_eq!((integrity.flags.bits(), integrity.csum_type, integrity.pi_offset), (3, 2, 8));
    assert_eq!((integrity.interval_exp, integrity.metadata_size), (9, 16));
    assert_eq!((integrity.tag_size, integrity.max_integrity_segments), (2, 9));
}

#[test]
fn every_wrong_option_is_named() {
    let error = |builder: ParamsBuilder| builder.build().unwrap_err().to_string();
    let able = || ParamsBuilder::new(1 << 20, all());
    for bytes in [0, 100, 4096 + 256] {
        assert!(error(plain().chunk_bytes(bytes)).starts_with("chunk of"), "{bytes}");
    }
    for bytes in [0, 256, 3000, 8192] {
        assert!(error(plain().virt_boundary_bytes(bytes)).starts_with("virtual boundary of"));
        assert!(
            bytes == 256 || error(plain().dma_alignment_bytes(bytes)).contains("at most a page")
        );
    }
    let low = plain().physical_block_bytes(4096);
    assert!(error(low.clone().io_min_bytes(512)).starts_with("minimum I/O of 512"));
    assert!(error(low.io_opt_bytes(2048)).starts_with("optimal I/O of 2048"));

    let limits = |change: fn(&mut DiscardLimits)| {
        let mut limits = DiscardLimits::default();
        change(&mut limits);
        limits
    };
    assert!(
        error(able().discard(limits(|l| l.granularity_bytes = Some(0)))).contains("of 0 bytes")
    );
    assert!(error(able().discard(limits(|l| l.granularity_bytes = Some(700)))).contains("700"));
    assert!(
        error(able().discard(limits(|l| l.alignment_bytes = 512))).contains("alignment of 512")
    );
    assert!(
        error(able().discard(limits(|l| l.max_discard_bytes = Some(0)))).contains("up to 1 GiB")
    );
    let huge = limits(|l| l.max_write_zeroes_bytes = Some(2 << 30));
    assert!(error(able().discard(huge)).starts_with("largest write-zeroes of 2147483648"));
    let one = limits(|l| l.max_discard_bytes = Some(4096));
    assert!(error(plain().discard(one)).starts_with("there is no discard to limit"));
    assert!(error(able().read_only(true).discard(one)).contains("read-only"));

    let right = SegmentLimits { boundary_bytes: 4096, max_segment_bytes: 4096, max_segments: 1 };
    assert!(plain().segments(right).build().is_ok());
    for wrong in [
        SegmentLimits { boundary_bytes: 2048, ..right },
        SegmentLimits { boundary_bytes: u64::MAX, ..right },
        SegmentLimits { boundary_bytes: 12288, ..right },
        SegmentLimits { max_segment_bytes: 4095, ..right },
        SegmentLimits { max_segments: 0, ..right },
    ] {
        assert!(error(plain().segments(wrong)).contains("must be"), "{wrong:?}");
    }
}

#[test]
fn every_wrong_integrity_option_is_named() {
    let right = IntegrityOptions {
        metadata_bytes: 8,
        checksum: Checksum::Ip,
        reference_tag: true,
        ..IntegrityOptions::default()
    };
    assert!(plain().integrity(right).build().is_ok());
    for (wrong, word) in [
        (IntegrityOptions { metadata_bytes: 0, ..right }, "leave the group out"),
        (IntegrityOptions { checksum: Checksum::None, ..right }, "needs a checksum"),
        (IntegrityOptions { checksum: Checksum::Crc64Nvme, ..right }, "tuple of 16 is beyond"),
        (IntegrityOptions { tuple_offset_bytes: 1, ..right }, "tuple of 9 is beyond"),
        (IntegrityOptions { interval_bytes: Some(256), ..right }, "interval of 256"),
        (IntegrityOptions { interval_bytes: Some(1024), ..right }, "interval of 1024"),
    ] {
        let error = plain().integrity(wrong).build().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn device_numbers_come_from_the_kernel_only() {
    let mut params = plain().build().unwrap();
    assert_eq!(DeviceNumbers::from_params(&params), None);
    params.types |= ParamTypes::DEVT;
    params.devt.char_major = 240;
    params.devt.char_minor = 3;
    let without_disk = DeviceNumbers { char_device: (240, 3), disk: None };
    assert_eq!(DeviceNumbers::from_params(&params), Some(without_disk));
    params.devt.disk_major = 259;
    let numbers = DeviceNumbers::from_params(&params).unwrap();
    assert_eq!(numbers.disk, Some((259, 0)));
}

#[test]
fn groups_of_a_feature_need_it() {
    let metadata = IntegrityOptions { metadata_bytes: 8, ..IntegrityOptions::default() };
    let params = plain().integrity(metadata).build().unwrap();
    let error = check_features(&params, Features::USER_COPY).unwrap_err().to_string();
    assert_eq!(error, "INTEGRITY parameters need a device with INTEGRITY");
    assert_eq!(check_features(&params, Features::INTEGRITY | Features::USER_COPY), Ok(()));
}
