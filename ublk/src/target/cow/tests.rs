//! An overlay as its user meets it: files, sizes, mistakes.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::target::{FileTarget, RamTarget};

struct Files {
    _dir: tempfile::TempDir,
    base: PathBuf,
    overlay: PathBuf,
}

impl Files {
    fn new(base_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (base, overlay) = (dir.path().join("base"), dir.path().join("overlay"));
        fs::write(&base, vec![7; base_bytes]).unwrap();
        Self { _dir: dir, base, overlay }
    }

    fn open(&self) -> Result<CowTarget<FileTarget, FileTarget>, CowTargetError> {
        CowTarget::open(&self.base, &self.overlay, 4096)
    }
}

fn read(target: &dyn Target, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; len];
    target.read(at, &mut bytes).unwrap();
    bytes
}

#[test]
fn writes_go_to_the_overlay_and_stay_there() {
    let files = Files::new(100_000);
    let target = files.open().unwrap();
    assert_eq!(target.size_bytes(), 99_840, "whole sectors only");
    target.write(512, &[1; 512], false).unwrap();
    target.write(99_328, &[2; 512], false).unwrap();
    assert_eq!(target.written_clusters(), 2);
    drop(target);
    assert!(fs::read(&files.base).unwrap() == vec![7; 100_000], "the base was written");
    let target = files.open().unwrap();
    assert_eq!(read(&target, 0, 1536), [[7; 512], [1; 512], [7; 512]].concat());
    assert_eq!(read(&target, 98_816, 1024), [[7; 512], [2; 512]].concat());
    // Only the written clusters and the maps take storage.
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&files.overlay).unwrap());
    assert!(blocks * 512 <= 6 * 4096, "{blocks} blocks");
}

#[test]
fn discard_frees_the_overlay_and_does_not_show_the_base_again() {
    let files = Files::new(1 << 20);
    let target = files.open().unwrap();
    target.write(0, &vec![1; 512 << 10], false).unwrap();
    target.flush().unwrap();
    let blocks = || std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&files.overlay).unwrap());
    let before = blocks();
    // What was written, and as much that was not.
    target.discard(256 << 10, 512 << 10).unwrap();
    target.flush().unwrap();
    assert!(blocks() <= before - 500, "{before} blocks before, {} after", blocks());
    assert!(read(&target, 256 << 10, 512 << 10).iter().all(|byte| *byte == 0));
    assert!(read(&target, 0, 256 << 10).iter().all(|byte| *byte == 1));
    assert!(read(&target, 768 << 10, 256 << 10).iter().all(|byte| *byte == 7));
    drop(target);
    assert!(read(&files.open().unwrap(), 256 << 10, 512 << 10).iter().all(|byte| *byte == 0));
}

#[test]
fn a_base_that_changed_its_size_is_refused() {
    let files = Files::new(1 << 20);
    files.open().unwrap().write(0, &[1; 512], false).unwrap();
    fs::write(&files.base, vec![7; 2 << 20]).unwrap();
    let error = files.open().unwrap_err();
    assert!(error.to_string().starts_with("the base has 2097152 bytes and had 1048576"), "{error}");
    fs::write(&files.base, vec![7; 1 << 20]).unwrap();
    assert_eq!(read(&files.open().unwrap(), 0, 512), [1; 512]);
}

#[test]
fn what_is_no_overlay_is_refused_and_left_alone() {
    let files = Files::new(1 << 20);
    for content in [vec![3; 100_000], vec![0; 100_000], vec![0; 100]] {
        fs::write(&files.overlay, &content).unwrap();
        let error = files.open().unwrap_err();
        assert!(matches!(error, CowTargetError::NotAnOverlay), "{error}");
        assert!(fs::read(&files.overlay).unwrap() == content);
    }
    // Neither may it be the base itself.
    let itself = CowTarget::open(&files.base, &files.base, 4096).unwrap_err();
    assert!(matches!(itself, CowTargetError::NotAnOverlay), "{itself}");
}

#[test]
fn a_damaged_overlay_is_told_from_a_later_one() {
    let files = Files::new(1 << 20);
    drop(files.open().unwrap());
    let whole = fs::read(&files.overlay).unwrap();
    fs::write(&files.overlay, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(files.open().unwrap_err(), CowTargetError::Truncated { .. }));
    let mut later = whole.clone();
    later[8] = 2;
    fs::write(&files.overlay, &later).unwrap();
    assert!(matches!(files.open().unwrap_err(), CowTargetError::Version { found: 2, known: 1 }));
    fs::write(&files.overlay, &whole).unwrap();
    assert!(files.open().is_ok());
}

#[test]
fn an_overlay_keeps_its_cluster_and_half_of_a_new_one_is_made_again() {
    let files = Files::new(1 << 20);
    let coarse = || CowTarget::open(&files.base, &files.overlay, 65_536);
    coarse().unwrap().write(0, &[1; 512], false).unwrap();
    let target = files.open().unwrap();
    assert_eq!(target.layout.cluster_bytes, 65_536);
    drop(target);
    // As if the machine had stopped before the header was there.
    let len = fs::metadata(&files.overlay).unwrap().len();
    fs::write(&files.overlay, vec![0; len as usize]).unwrap();
    assert_eq!(read(&coarse().unwrap(), 0, 512), [7; 512]);
}

#[test]
fn one_server_at_a_time() {
    let files = Files::new(1 << 20);
    let first = files.open().unwrap();
    let error = files.open().unwrap_err();
    assert!(error.to_string().contains("in use by another server"), "{error}");
    drop(first);
    files.open().unwrap();
}

#[test]
fn impossible_clusters_and_bases_are_refused() {
    let open = |base_bytes: u64, cluster_bytes| {
        let overlay = RamTarget::new(1 << 30).unwrap();
        CowTarget::new(crate::target::NullTarget::new(base_bytes), overlay, cluster_bytes)
            .unwrap_err()
    };
    for bytes in [0, 512, 5000, 4 << 20] {
        assert!(matches!(open(1 << 20, bytes), CowTargetError::Cluster { .. }));
    }
    assert!(matches!(open(511, 4096), CowTargetError::BaseSize { .. }));
    assert!(matches!(open(1 << 50, 4096), CowTargetError::BaseSize { .. }));
    assert!(matches!(
        open(2 << 30, 4096),
        CowTargetError::NotAnOverlay | CowTargetError::Truncated { .. }
    ));
}

#[test]
fn after_a_failed_sync_no_flush_succeeds() {
    struct Flaky(RamTarget, AtomicBool);
    impl Target for Flaky {
        fn size_bytes(&self) -> u64 {
            self.0.size_bytes()
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities { flush: true, ..self.0.capabilities() }
        }
        fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.read(at, buffer)
        }
        fn write(&self, at: u64, data: &[u8], fua: bool) -> io::Result<()> {
            self.0.write(at, data, fua)
        }
        fn flush(&self) -> io::Result<()> {
            if self.1.swap(false, Ordering::Relaxed) {
                Err(io::Error::other("bad"))
            } else {
                Ok(())
            }
        }
        fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> io::Result<()> {
            self.0.write_zeroes(at, len, may_unmap)
        }
    }
    let overlay = std::sync::Arc::new(Flaky(RamTarget::new(1 << 30).unwrap(), false.into()));
    let base = crate::target::NullTarget::new(1 << 20);
    let target = CowTarget::new(base, std::sync::Arc::clone(&overlay), 4096).unwrap();
    target.write(0, &[1; 512], false).unwrap();
    overlay.1.store(true, Ordering::Relaxed);
    assert!(target.flush().is_err());
    // The medium says yes again, and yet what it lost is lost.
    assert!(target.flush().unwrap_err().to_string().contains("earlier sync"));
    assert_eq!(read(&target, 0, 512), [1; 512]);
}

#[test]
fn writers_of_one_cluster_do_not_copy_over_each_other() {
    for _ in 0..20 {
        let overlay = RamTarget::new(1 << 30).unwrap();
        let base = crate::target::NullTarget::new(1 << 20);
        let target = &CowTarget::new(base, overlay, 65_536).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4_u64 {
                scope.spawn(move || {
                    for sector in (writer..2048).step_by(4) {
                        target.write(sector * 512, &[writer as u8 + 1; 512], false).unwrap();
                    }
                });
            }
        });
        for (sector, bytes) in read(target, 0, 1 << 20).chunks(512).enumerate() {
            assert!(bytes.iter().all(|b| *b == (sector % 4) as u8 + 1), "sector {sector}");
        }
    }
}
