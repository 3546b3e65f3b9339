//! What mappings, reads and writes of a char device are answered, as a model of the driver's and the kernel's checks.

use nix::libc::{EACCES, EFAULT, EINVAL, EPERM};
use ublk::uapi::{Features, desc_area_len_bytes, desc_area_stride_bytes};

use super::act::{Act, Stage};
use super::allowed::Allowed;
use crate::block::page_bytes;
use crate::kernel::KernelRelease;

fn page() -> u64 {
    page_bytes() as u64
}

const WRITE: u8 = 2;
const EXEC: u8 = 4;
/// Where the buffers of tags begin, and how a position is made.
const BUFFERS_AT: u64 = 0x8000_0000;
const QUEUE_SHIFT: u32 = 41;
const TAG_SHIFT: u32 = 25;
const INTEGRITY: u64 = 1 << 62;

/// A device, as far as its memory depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) queues: u16,
    pub(super) depth: u16,
    /// Bytes of a descriptor.
    pub(super) desc_bytes: u16,
    pub(super) features: Features,
    pub(super) stage: Stage,
}

/// A device's memory and what of it is mapped.
#[derive(Clone, Debug)]
pub(super) struct Maps {
    kernel: KernelRelease,
    offered: Features,
    geometry: Geometry,
    /// Lengths of the mappings.
    lens: Vec<u64>,
}

impl Maps {
    pub(super) fn new(kernel: KernelRelease, offered: Features, geometry: Geometry) -> Self {
        Self { kernel, offered, geometry, lens: Vec::new() }
    }

    /// What the result of an act may be; none where it is not about memory.
    pub(super) fn expect(&self, act: &Act) -> Option<Allowed> {
        Some(match act {
            Act::Map { offset, len, prot, .. } => self.mmap(*offset, u64::from(*len), *prot),
            Act::Protect { prot } => self.mprotect(*prot),
            Act::Remap { len } => self.mremap(u64::from(*len)),
            Act::Trim { .. } | Act::Look => Allowed::done(),
            Act::Pread { position, len } | Act::Pwrite { position, len } => {
                self.copy(*position, u64::from(*len))
            }
            _ => return None,
        })
    }

    /// Takes in what has succeeded.
    pub(super) fn done(&mut self, act: &Act) {
        let last = self.lens.last_mut();
        match (act, last) {
            (Act::Map { len, .. }, _) => self.lens.push(u64::from(*len).next_multiple_of(page())),
            (Act::Remap { len }, Some(last)) => *last = u64::from(*len).next_multiple_of(page()),
            (Act::Trim { len, .. }, Some(last)) => {
                *last -= (u64::from(*len) / page() * page()).min(*last - page());
            }
            _ => {}
        }
    }

    fn mmap(&self, offset: u64, len: u64, prot: u8) -> Allowed {
        if len == 0 || !offset.is_multiple_of(page()) {
            return Allowed::only(&[EINVAL]);
        }
        let Geometry { queues, depth, desc_bytes, .. } = self.geometry;
        let end = u64::from(queues) * desc_area_stride_bytes(desc_bytes, page());
        let right = desc_area_len_bytes(depth, desc_bytes, page());
        // What lies beyond what a file can have is refused before the driver is asked.
        let beyond = offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64);
        let allowed = if prot & WRITE != 0 {
            Allowed::only(&[EPERM])
        } else if offset >= end || len.next_multiple_of(page()) != right {
            Allowed::only(&[EINVAL])
        } else {
            Allowed::done()
        };
        let allowed = if beyond { allowed.or(&[nix::libc::EOVERFLOW]) } else { allowed };
        // A /dev that is mounted noexec.
        if prot & EXEC != 0 { allowed.or(&[EPERM]) } else { allowed }
    }

    fn mprotect(&self, prot: u8) -> Allowed {
        let allowed = if prot & WRITE == 0 {
            Allowed::done()
        } else if self.kernel.has_backport(111) {
            Allowed::only(&[EACCES])
        } else {
            // docs/kernel-facts.md: what can be read could be made writable.
            Allowed::done()
        };
        if prot & EXEC != 0 { allowed.or(&[EACCES]) } else { allowed }
    }

    fn mremap(&self, len: u64) -> Allowed {
        let now = self.lens.last().copied().unwrap_or(0);
        match len.next_multiple_of(page()) {
            0 => Allowed::only(&[EINVAL]),
            new if new > now => Allowed::only(&[EFAULT]),
            _ => Allowed::done(),
        }
    }

    fn copy(&self, position: u64, len: u64) -> Allowed {
        let Geometry { queues, features, stage, .. } = self.geometry;
        if position.saturating_add(len) > i64::MAX as u64 {
            return Allowed::only(&[EINVAL]);
        }
        if stage < Stage::Live {
            return Allowed::only(&[EACCES]);
        }
        let integrity = self.offered.contains(Features::INTEGRITY);
        let masked = if integrity { position } else { position & !INTEGRITY };
        if masked & INTEGRITY != 0 && !features.contains(Features::INTEGRITY) {
            return Allowed::only(&[EINVAL]);
        }
        let queue = masked.wrapping_sub(BUFFERS_AT) >> QUEUE_SHIFT & 0xfff;
        if queue >= u64::from(queues) {
            return Allowed::only(&[EINVAL]);
        }
        if features.contains(Features::USER_COPY) {
            // A tag that is no request's, a request without data, a wrong direction; or it is done.
            let tag = masked.wrapping_sub(BUFFERS_AT) >> TAG_SHIFT & 0xffff;
            let there = tag < u64::from(self.geometry.depth);
            let allowed = Allowed::only(&[EINVAL, EACCES]);
            return Allowed { done: there, ..allowed };
        }
        if self.kernel.at_least(7, 0) {
            Allowed::only(&[EACCES])
        } else {
            Allowed::only(&[EACCES, EINVAL])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(features: Features, stage: Stage) -> Maps {
        let kernel = KernelRelease::parse("7.3.4").unwrap();
        let geometry = Geometry { queues: 2, depth: 4, desc_bytes: 24, features, stage };
        Maps::new(kernel, Features::all(), geometry)
    }

    #[test]
    fn only_a_queues_whole_descriptors_are_mapped_and_only_for_reading() {
        let maps = maps(Features::empty(), Stage::Opened);
        let stride = desc_area_stride_bytes(24, page());
        for offset in [0, page(), stride, 2 * stride - page()] {
            assert_eq!(maps.mmap(offset, 96, 1), Allowed::done(), "{offset}");
        }
        for (offset, len, prot) in [(2 * stride, 96, 1), (0, 4097, 1), (7, 96, 1), (0, 0, 1)] {
            assert_eq!(maps.mmap(offset, len, prot), Allowed::only(&[EINVAL]));
        }
        assert_eq!(maps.mmap(0, 96, 3), Allowed::only(&[EPERM]));
    }

    #[test]
    fn reads_are_refused_in_the_drivers_order() {
        let dead = maps(Features::USER_COPY, Stage::Fetched);
        assert_eq!(dead.copy(BUFFERS_AT, 512), Allowed::only(&[EACCES]));
        let live = maps(Features::empty(), Stage::Live);
        assert_eq!(live.copy(BUFFERS_AT, 512), Allowed::only(&[EACCES]));
        assert_eq!(live.copy(0, 512), Allowed::only(&[EINVAL]), "queue 4095");
        assert_eq!(live.copy(BUFFERS_AT | INTEGRITY, 512), Allowed::only(&[EINVAL]));
        assert!(maps(Features::USER_COPY, Stage::Live).copy(BUFFERS_AT, 512).done);
    }

    #[test]
    fn a_mapping_that_was_trimmed_does_not_grow() {
        let mut maps = maps(Features::empty(), Stage::Opened);
        maps.done(&Act::Map { offset: 0, len: 4 * page() as u32, prot: 1, private: false });
        maps.done(&Act::Trim { front: true, len: 5000 });
        assert_eq!(maps.mremap(4 * page()), Allowed::only(&[EFAULT]));
        assert_eq!(maps.mremap(3 * page()), Allowed::done());
    }
}
