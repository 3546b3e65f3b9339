//! The cache's promises: whole or absent, never corrupt, built once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::progress::{Recorded, Silent};

fn open(root: &Path) -> Cache {
    Cache::open(root, Arc::new(Silent)).unwrap()
}

fn fill(dir: &Path) -> Result<(), CacheError> {
    fsio::write(&dir.join("vmlinuz"), b"kernel")?;
    fsio::create_dir_all(&dir.join("modules"))?;
    fsio::write(&dir.join("modules/a.ko"), b"module")?;
    std::os::unix::fs::symlink("a.ko", dir.join("modules/b.ko")).at("link", dir)?;
    Ok(())
}

#[test]
fn a_second_call_builds_nothing() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let key = Key::new(["v1", "6.12"]);
    let first = cache.get_or_build("kernel", &key, &["vmlinuz"], fill).unwrap();
    let second = cache
        .get_or_build("kernel", &key, &["vmlinuz"], |_| -> Result<(), CacheError> {
            panic!("built twice")
        })
        .unwrap();
    assert_eq!(first.dir, second.dir);
    assert_eq!(fs::read(second.path("vmlinuz")).unwrap(), b"kernel");
    assert_eq!(second.manifest.files["modules/a.ko"].size_bytes, 6);
    assert_eq!(second.manifest.links["modules/b.ko"], "a.ko");
}

#[test]
fn a_failed_build_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let key = Key::new(["k"]);
    let failed = cache.get_or_build("kernel", &key, &[], |dir| {
        fill(dir)?;
        Err(CacheError::Locked { what: "made up".into() })
    });
    assert!(failed.is_err());
    assert!(!cache.entry_dir("kernel", &key).exists());
    assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    assert!(cache.entry("kernel", &key).is_none());
}

#[test]
fn a_build_without_its_critical_file_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let built = cache.get_or_build("kernel", &Key::new(["k"]), &["initramfs"], fill);
    assert!(matches!(built, Err(CacheError::BadBuild { .. })), "{built:?}");
}

/// Each way to damage an entry, and whether `critical` is needed to see it.
#[test]
fn a_corrupt_entry_is_reported_and_rebuilt_never_used() {
    type Damage = fn(&Path);
    let damages: [Damage; 5] = [
        |dir| fs::write(dir.join("modules/a.ko"), "cut").unwrap(),
        |dir| fs::write(dir.join("vmlinuz"), "kernEl").unwrap(),
        |dir| fs::remove_file(dir.join("modules/a.ko")).unwrap(),
        |dir| fs::remove_file(dir.join(MANIFEST_NAME)).unwrap(),
        |dir| {
            fs::remove_file(dir.join("modules/b.ko")).unwrap();
            std::os::unix::fs::symlink("c.ko", dir.join("modules/b.ko")).unwrap();
        },
    ];
    for (i, damage) in damages.iter().enumerate() {
        let root = tempfile::tempdir().unwrap();
        let log = Arc::new(Recorded::default());
        let cache = Cache::open(root.path(), log.clone()).unwrap();
        let key = Key::new(["k"]);
        let entry = cache.get_or_build("kernel", &key, &["vmlinuz"], fill).unwrap();
        damage(&entry.dir);
        assert!(cache.entry("kernel", &key).is_none(), "damage {i} was not seen");
        assert!(log.lines()[0].contains("is corrupt"), "{:?}", log.lines());
        let again = cache.get_or_build("kernel", &key, &["vmlinuz"], fill).unwrap();
        assert_eq!(fs::read(again.path("vmlinuz")).unwrap(), b"kernel");
        assert!(cache.entry("kernel", &key).is_some());
    }
}

#[test]
fn leftovers_of_a_dead_process_are_removed_and_those_of_a_live_one_kept() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let tmp = root.path().join("tmp");
    fs::create_dir_all(tmp.join("kernel-dead/half")).unwrap();
    fs::create_dir_all(tmp.join("kernel-live/half")).unwrap();
    let mut lock = cache.lock_file("kernel-live").unwrap();
    let _held = lock.write().unwrap();
    open(root.path());
    assert!(!tmp.join("kernel-dead").exists());
    assert!(tmp.join("kernel-live/half").exists());
}

#[test]
fn two_builders_at_once_build_once() {
    let root = tempfile::tempdir().unwrap();
    let built = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = open(root.path());
                let entry = cache.get_or_build("kernel", &Key::new(["k"]), &["vmlinuz"], |dir| {
                    built.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(50));
                    fill(dir)
                });
                assert_eq!(fs::read(entry.unwrap().path("vmlinuz")).unwrap(), b"kernel");
            });
        }
    });
    assert_eq!(built.load(Ordering::SeqCst), 1);
}

#[test]
fn too_little_space_names_the_directory_and_the_bytes() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let error = cache.require_space(u64::MAX).unwrap_err().to_string();
    assert!(error.contains(&cache.root().display().to_string()), "{error}");
    assert!(error.contains(&format!("{} bytes needed", u64::MAX)), "{error}");
    assert!(cache.require_space(1).is_ok());
}

#[test]
fn the_oldest_entries_go_and_the_one_in_use_stays() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path());
    let built: Vec<Entry> = (0..4)
        .map(|n| {
            std::thread::sleep(Duration::from_millis(20));
            cache.get_or_build("image", &Key::new([n.to_string()]), &["vmlinuz"], fill).unwrap()
        })
        .collect();
    cache.keep_newest("image", 2, &built[0]).unwrap();
    let there: Vec<bool> = built.iter().map(|entry| entry.dir.exists()).collect();
    assert_eq!(there, [true, false, true, true]);
}
