//! What the block layer makes of a device's parameters: the rules by which it rounds limits, caps them and fills in what is
//! missing, and the names that sysfs has for the results.

use ublk::uapi::{Attrs, ParamTypes, Params};

use crate::block::page_bytes;
use crate::kernel::KernelRelease;

/// Largest request that the page cache asks for, where a disk takes larger ones and names no better size, in sectors.
const DEFAULT_MAX_SECTORS: u32 = 8192;
/// The same in older kernels.
const OLD_DEFAULT_MAX_SECTORS: u32 = 2560;
/// Segments of a disk that says nothing of them.
const DEFAULT_SEGMENTS: u16 = 128;

/// One file of a disk's folder in sysfs, and what has to be in it.
pub(super) type File = (&'static str, String);

/// What sysfs says of a disk with these parameters.
pub(super) fn files(kernel: KernelRelease, params: &Params) -> Vec<File> {
    let basic = params.basic;
    let logical = 1_u64 << basic.logical_bs_shift;
    let physical = 1_u64 << basic.physical_bs_shift;
    let io_min = (1_u64 << basic.io_min_shift).max(physical);
    let io_opt = optimal(kernel, 1 << basic.io_opt_shift, physical);
    let hard = round_down(u64::from(basic.max_sectors), logical / 512);
    let soft = round_down(soft_sectors(kernel, hard, io_min, io_opt), logical / 512);
    let has = |attr| u8::from(basic.attrs.contains(attr)).to_string();
    let cache = basic.attrs.contains(Attrs::VOLATILE_CACHE);
    let fua = cache && basic.attrs.contains(Attrs::FUA);
    let mut files = vec![
        ("size", basic.dev_sectors.to_string()),
        ("ro", has(Attrs::READ_ONLY)),
        ("queue/logical_block_size", logical.to_string()),
        ("queue/hw_sector_size", logical.to_string()),
        ("queue/physical_block_size", physical.to_string()),
        ("queue/minimum_io_size", io_min.to_string()),
        ("queue/optimal_io_size", io_opt.to_string()),
        ("queue/max_hw_sectors_kb", (hard / 2).to_string()),
        ("queue/max_sectors_kb", (soft / 2).to_string()),
        ("queue/chunk_sectors", basic.chunk_sectors.to_string()),
        ("queue/virt_boundary_mask", basic.virt_boundary_mask.to_string()),
        ("queue/rotational", has(Attrs::ROTATIONAL)),
        ("queue/write_cache", if cache { "write back" } else { "write through" }.to_owned()),
        ("queue/fua", u8::from(fua).to_string()),
        ("queue/zoned", "none".to_owned()),
        ("queue/max_discard_segments", "1".to_owned()),
    ];
    files.extend(clearing(params, physical));
    files.extend(memory(params));
    files
}

/// An optimal size that is no multiple of a physical block is none.
fn optimal(_: KernelRelease, io_opt: u64, physical: u64) -> u64 {
    round_down(io_opt, physical)
}

/// The largest request of the page cache: what the disk takes, up to a default, unless it names a larger size itself.
fn soft_sectors(kernel: KernelRelease, hard: u64, io_min: u64, io_opt: u64) -> u64 {
    let default = u64::from(if kernel.at_least(6, 17) {
        DEFAULT_MAX_SECTORS
    } else {
        OLD_DEFAULT_MAX_SECTORS
    });
    let wished = [io_opt / 512, io_min / 512].into_iter().find(|wished| *wished > default);
    hard.min(wished.unwrap_or(default))
}

/// DISCARD and WRITE_ZEROES.
fn clearing(params: &Params, physical: u64) -> Vec<File> {
    let discard = params.discard;
    let told = params.types.contains(ParamTypes::DISCARD);
    let bytes = |sectors: u32| if told { u64::from(sectors) * 512 } else { 0 };
    let max_discard = bytes(discard.max_discard_sectors);
    let granularity =
        if max_discard == 0 { 0 } else { u64::from(discard.discard_granularity).max(physical) };
    vec![
        ("queue/discard_max_hw_bytes", max_discard.to_string()),
        ("queue/discard_max_bytes", max_discard.to_string()),
        ("queue/discard_granularity", granularity.to_string()),
        ("queue/write_zeroes_max_bytes", bytes(discard.max_write_zeroes_sectors).to_string()),
    ]
}

/// Segments and alignment of memory; 0 stands for a default of the block layer's, and absence for one of the driver's.
fn memory(params: &Params) -> Vec<File> {
    let (mut segments, mut segment_bytes, mut alignment) = (u16::MAX, u32::MAX, 3);
    if params.types.contains(ParamTypes::SEGMENT) {
        segments = params.seg.max_segments;
        segment_bytes = params.seg.max_segment_size;
    }
    if params.types.contains(ParamTypes::DMA_ALIGN) {
        alignment = params.dma.alignment;
    }
    let segments = if segments == 0 { DEFAULT_SEGMENTS } else { segments };
    let alignment = if alignment == 0 { 511 } else { alignment };
    vec![
        ("queue/max_segments", segments.to_string()),
        ("queue/max_segment_size", segment_bytes.to_string()),
        ("queue/dma_alignment", alignment.to_string()),
    ]
}

fn round_down(number: u64, unit: u64) -> u64 {
    number / unit.max(1) * unit.max(1)
}

/// The least a disk's largest request may be.
pub(super) fn page_sectors() -> u32 {
    (page_bytes() / 512) as u32
}

#[cfg(test)]
mod tests {
    use ublk::uapi::ParamBasic;

    use super::*;

    fn of(basic: ParamBasic) -> std::collections::BTreeMap<&'static str, String> {
        let kernel = KernelRelease::parse("7.3.4").unwrap();
        files(kernel, &Params::new(basic)).into_iter().collect()
    }

    #[test]
    fn sizes_below_a_physical_block_are_lifted_or_dropped() {
        let basic = ParamBasic {
            logical_bs_shift: 9,
            physical_bs_shift: 13,
            io_min_shift: 9,
            io_opt_shift: 12,
            max_sectors: 15,
            attrs: Attrs::FUA,
            ..ParamBasic::default()
        };
        let files = of(basic);
        assert_eq!(files["queue/minimum_io_size"], "8192");
        assert_eq!(files["queue/optimal_io_size"], "0");
        assert_eq!(files["queue/max_hw_sectors_kb"], "7");
        assert_eq!(files["queue/fua"], "0", "without a cache to write through");
        assert_eq!(files["queue/discard_granularity"], "0");
    }

    #[test]
    fn a_large_disk_is_capped_unless_it_wishes_for_more() {
        let basic = ParamBasic {
            logical_bs_shift: 12,
            physical_bs_shift: 12,
            io_min_shift: 12,
            io_opt_shift: 12,
            max_sectors: (16 << 11) + 3,
            ..ParamBasic::default()
        };
        assert_eq!(of(basic)["queue/max_hw_sectors_kb"], "16384");
        assert_eq!(of(basic)["queue/max_sectors_kb"], "4096");
        let wishes = ParamBasic { io_opt_shift: 23, ..basic };
        assert_eq!(of(wishes)["queue/max_sectors_kb"], "8192");
    }
}
