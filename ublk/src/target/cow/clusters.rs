//! Which clusters are in the overlay, and which part of that is not durable yet.

use std::ops::Range;

use super::CowTargetError;
use super::layout::{BootId, Layout, PAGE_BYTES, SECTOR_BYTES};
use crate::target::Target;

/// The map in memory. A bit that is set stays set.
#[derive(Debug)]
pub(super) struct Clusters {
    bits: Vec<u8>,
    /// For each page of the map, whether it holds a bit the medium has not got.
    dirty: Vec<bool>,
}

impl Clusters {
    /// Reads the map: the durable one, and what the loose one adds where it can be believed.
    pub(super) fn load(
        overlay: &impl Target,
        layout: &Layout,
        boot_id: BootId,
    ) -> Result<Self, CowTargetError> {
        let mut bits = vec![0; layout.map_bytes() as usize];
        overlay.read(layout.map, &mut bits)?;
        let mut dirty = vec![false; bits.len() / PAGE_BYTES as usize];
        if boot_id != [0; 36] && Layout::read_boot_id(overlay)? == boot_id {
            let mut loose = vec![0; bits.len()];
            overlay.read(layout.loose_map, &mut loose)?;
            for (at, (bit, loose)) in bits.iter_mut().zip(loose).enumerate() {
                if loose & !*bit != 0 {
                    *bit |= loose;
                    dirty[at / PAGE_BYTES as usize] = true;
                }
            }
        } else {
            // Before the boot id: else a crash between them would make an old loose map believable.
            overlay.write(layout.loose_map, &bits, false)?;
            overlay.flush()?;
            Layout::write_boot_id(overlay, boot_id)?;
        }
        Ok(Self { bits, dirty })
    }

    fn get(&self, cluster: u64) -> bool {
        self.bits[(cluster / 8) as usize] & 1 << (cluster % 8) != 0
    }

    /// Whether `first` is in the overlay, and the first cluster up to `end` for which that is different.
    pub(super) fn run(&self, first: u64, end: u64) -> (bool, u64) {
        let written = self.get(first);
        let until = (first + 1..end).find(|cluster| self.get(*cluster) != written);
        (written, until.unwrap_or(end))
    }

    pub(super) fn set(&mut self, clusters: Range<u64>) {
        for cluster in clusters {
            self.bits[(cluster / 8) as usize] |= 1 << (cluster % 8);
            self.dirty[(cluster / 8 / PAGE_BYTES) as usize] = true;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.bits.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }

    /// The sectors of the map that hold the bits of these clusters: the first, and their bytes.
    pub(super) fn sectors_of(&self, clusters: &Range<u64>) -> (u64, Vec<u8>) {
        let bits_per_sector = SECTOR_BYTES * 8;
        let (first, end) =
            (clusters.start / bits_per_sector, clusters.end.div_ceil(bits_per_sector));
        let bytes = (first * SECTOR_BYTES) as usize..(end * SECTOR_BYTES) as usize;
        (first, self.bits[bytes].to_vec())
    }

    /// The pages that are not durable, as they are now; they count as durable afterwards.
    pub(super) fn take_dirty(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut pages = Vec::new();
        let all = self.bits.chunks(PAGE_BYTES as usize).zip(&mut self.dirty);
        for (page, (bytes, dirty)) in (0..).zip(all) {
            if std::mem::take(dirty) {
                pages.push((page, bytes.to_vec()));
            }
        }
        pages
    }
}
