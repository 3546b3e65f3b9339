//! What is where in an overlay. All numbers are little-endian.
//!
//! ```text
//!     0      magic "UBLK COW", version u32, cluster bytes u32, base bytes u64
//!     512    boot id under which the loose map was written, 36 bytes of text
//!     4096   the map: a bit for each cluster that is in the overlay, lowest bit first
//!     ...    the loose map, as large
//!     ...    the clusters, each at its own place; holes where none was written
//! ```
//!
//! The header is written last when an overlay is made, so that half of one is not taken for one.

use super::CowTargetError;
use crate::target::Target;

/// The smallest cluster, and the one an overlay has unless said otherwise: a write of a page copies
/// nothing then.
pub const CLUSTER_BYTES_MIN: u32 = 4096;
/// The cluster unless said otherwise.
pub const CLUSTER_BYTES_DEFAULT: u32 = CLUSTER_BYTES_MIN;
/// The largest cluster: a write of a sector copies as much.
pub const CLUSTER_BYTES_MAX: u32 = 2 << 20;
/// The map is kept in memory: 512 MiB of it for so many.
pub(super) const CLUSTERS_MAX: u64 = 1 << 32;

pub(super) const SECTOR_BYTES: u64 = 512;
/// Unit in which the map is written.
pub(super) const PAGE_BYTES: u64 = 4096;

const MAGIC: [u8; 8] = *b"UBLK COW";
const VERSION: u32 = 1;
const BOOT_ID_AT: u64 = 512;

/// Which boot of which machine this is.
pub(super) type BootId = [u8; 36];

/// This boot; zeroes, which no other boot is equal to, where the kernel does not tell.
pub(super) fn boot_id() -> BootId {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.get(..36).and_then(|text| text.try_into().ok()).unwrap_or([0; 36])
}

/// Where things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) base_bytes: u64,
    pub(super) cluster_bytes: u64,
    pub(super) clusters: u64,
    /// Where the map begins.
    pub(super) map: u64,
    /// Where the loose map begins.
    pub(super) loose_map: u64,
    /// Where the clusters begin.
    data: u64,
}

impl Layout {
    pub(super) fn new(base_bytes: u64, cluster_bytes: u32) -> Result<Self, CowTargetError> {
        let legal = CLUSTER_BYTES_MIN..=CLUSTER_BYTES_MAX;
        if !cluster_bytes.is_power_of_two() || !legal.contains(&cluster_bytes) {
            return Err(CowTargetError::Cluster { bytes: cluster_bytes });
        }
        let cluster = u64::from(cluster_bytes);
        let clusters = base_bytes.div_ceil(cluster);
        if clusters == 0 || clusters > CLUSTERS_MAX {
            return Err(CowTargetError::BaseSize { base_bytes, cluster_bytes });
        }
        let loose_map = PAGE_BYTES + map_bytes(clusters);
        let data = (loose_map + map_bytes(clusters)).next_multiple_of(cluster);
        let map = PAGE_BYTES;
        Ok(Self { base_bytes, cluster_bytes: cluster, clusters, map, loose_map, data })
    }

    /// The layout of the overlay that is there; where there is none, one is made.
    pub(super) fn of(
        overlay: &impl Target,
        base_bytes: u64,
        cluster_bytes: u32,
    ) -> Result<Self, CowTargetError> {
        if let Some(found) = Self::read(overlay)? {
            if found.base_bytes != base_bytes {
                let was_bytes = found.base_bytes;
                return Err(CowTargetError::BaseChanged { was_bytes, is_bytes: base_bytes });
            }
            found.check_fits(overlay)?;
            return Ok(found);
        }
        let new = Self::new(base_bytes, cluster_bytes)?;
        new.check_fits(overlay)?;
        overlay.write_zeroes(0, new.data, true)?;
        overlay.flush()?;
        overlay.write(0, &new.header(), true)?;
        overlay.flush()?;
        Ok(new)
    }

    /// What an overlay's header says; none where it is zeroes.
    pub(super) fn read(overlay: &impl Target) -> Result<Option<Self>, CowTargetError> {
        if overlay.size_bytes() < PAGE_BYTES {
            return Err(CowTargetError::NotAnOverlay);
        }
        let mut header = [0; SECTOR_BYTES as usize];
        overlay.read(0, &mut header)?;
        if header == [0; SECTOR_BYTES as usize] {
            return Ok(None);
        }
        let (magic, rest) = header.split_at(MAGIC.len());
        let (version, rest) = u32_of(rest);
        let (cluster_bytes, rest) = u32_of(rest);
        let base_bytes = rest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if magic != MAGIC {
            return Err(CowTargetError::NotAnOverlay);
        }
        if version != VERSION {
            return Err(CowTargetError::Version { found: version, known: VERSION });
        }
        Self::new(base_bytes, cluster_bytes).map(Some)
    }

    fn header(&self) -> [u8; SECTOR_BYTES as usize] {
        let mut header = [0; SECTOR_BYTES as usize];
        let parts = [
            &MAGIC[..],
            &VERSION.to_le_bytes(),
            &(self.cluster_bytes as u32).to_le_bytes(),
            &self.base_bytes.to_le_bytes(),
        ];
        for (to, from) in header.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        header
    }

    fn check_fits(&self, overlay: &impl Target) -> Result<(), CowTargetError> {
        let (needed_bytes, is_bytes) = (self.end(), overlay.size_bytes());
        if is_bytes < needed_bytes {
            return Err(CowTargetError::Truncated { needed_bytes, is_bytes });
        }
        Ok(())
    }

    /// Under which boot the loose map was written.
    pub(super) fn read_boot_id(overlay: &impl Target) -> Result<BootId, CowTargetError> {
        let mut sector = [0; SECTOR_BYTES as usize];
        overlay.read(BOOT_ID_AT, &mut sector)?;
        Ok(sector.first_chunk().copied().unwrap_or([0; 36]))
    }

    /// Says under which boot the loose map is written.
    pub(super) fn write_boot_id(
        overlay: &impl Target,
        boot_id: BootId,
    ) -> Result<(), CowTargetError> {
        let mut sector = [0; SECTOR_BYTES as usize];
        sector[..boot_id.len()].copy_from_slice(&boot_id);
        overlay.write(BOOT_ID_AT, &sector, true)?;
        Ok(overlay.flush()?)
    }

    /// Where a byte of the device is in the overlay, if it is there.
    pub(super) fn place(&self, at: u64) -> u64 {
        self.data + at
    }

    /// Bytes of a map, in whole pages.
    pub(super) fn map_bytes(&self) -> u64 {
        map_bytes(self.clusters)
    }

    /// The end of the last cluster.
    pub(super) fn end(&self) -> u64 {
        self.data + self.clusters * self.cluster_bytes
    }
}

fn map_bytes(clusters: u64) -> u64 {
    clusters.div_ceil(8).next_multiple_of(PAGE_BYTES)
}

fn u32_of(bytes: &[u8]) -> (u32, &[u8]) {
    match bytes.split_first_chunk() {
        Some((first, rest)) => (u32::from_le_bytes(*first), rest),
        None => (0, &[]),
    }
}
