//! Where the bytes of a range are, for the ways of moving data in which they never pass through the
//! server: the kernel then moves them between the request's own pages and files, and all a target has to
//! say is which file and where.

/// A run of bytes in one of a target's [`files`](super::Target::files).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Which file, as an index into [`files`](super::Target::files).
    pub file: usize,
    /// Where in that file.
    pub offset_bytes: u64,
    /// How many bytes; not 0.
    pub len_bytes: u32,
}

/// The extents of one request, in order, together as long as the request. A queue keeps one such list
/// for each request, so that none is allocated while it serves.
#[derive(Clone, Debug, Default)]
pub struct Extents(Vec<Extent>);

impl Extents {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, or lengthens the last where the new one goes on where it ends. An empty one is left out.
    pub fn push(&mut self, extent: Extent) {
        if extent.len_bytes == 0 {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && last.file == extent.file
            && last.offset_bytes + u64::from(last.len_bytes) == extent.offset_bytes
            && let Some(len_bytes) = last.len_bytes.checked_add(extent.len_bytes)
        {
            last.len_bytes = len_bytes;
            return;
        }
        self.0.push(extent);
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Extent] {
        &self.0
    }

    /// The bytes of all of them.
    pub fn len_bytes(&self) -> u64 {
        self.0.iter().map(|extent| u64::from(extent.len_bytes)).sum()
    }

    /// Forgets them, and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_and_nothing_is_left_out() {
        let mut extents = Extents::new();
        for (file, offset_bytes, len_bytes) in
            [(0, 0, 512), (0, 512, 512), (1, 1024, 512), (1, 2048, 0), (1, 4096, 1)]
        {
            extents.push(Extent { file, offset_bytes, len_bytes });
        }
        let all: Vec<(usize, u64, u32)> =
            extents.as_slice().iter().map(|e| (e.file, e.offset_bytes, e.len_bytes)).collect();
        assert_eq!(all, [(0, 0, 1024), (1, 1024, 512), (1, 4096, 1)]);
        assert_eq!(extents.len_bytes(), 1537);
        extents.clear();
        assert!(extents.as_slice().is_empty());
    }

    #[test]
    fn a_run_above_what_an_extent_can_say_stays_two() {
        let mut extents = Extents::new();
        extents.push(Extent { file: 0, offset_bytes: 0, len_bytes: u32::MAX });
        extents.push(Extent { file: 0, offset_bytes: u64::from(u32::MAX), len_bytes: 1 });
        assert_eq!(extents.as_slice().len(), 2);
    }
}
