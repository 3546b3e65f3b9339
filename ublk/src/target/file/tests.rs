//! The file target on the file system the tests run on.

use std::fs;

use super::*;

#[test]
fn a_file_is_created_grown_and_never_shrunk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let disk = FileTarget::open(FileOptions::new(&path).size_bytes(1 << 20)).unwrap();
    assert_eq!(disk.size_bytes(), 1 << 20);
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    let disk = FileTarget::open(FileOptions::new(&path).size_bytes(4096)).unwrap();
    assert_eq!(disk.size_bytes(), 4096);
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    let disk = FileTarget::open(FileOptions::new(&path)).unwrap();
    assert_eq!(disk.size_bytes(), 1 << 20);
}

#[test]
fn what_cannot_back_a_device_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let open = |options: FileOptions| FileTarget::open(options).unwrap_err();
    assert!(matches!(open(FileOptions::new(&path)), FileTargetError::Open { .. }));
    fs::write(&path, b"").unwrap();
    assert!(matches!(open(FileOptions::new(&path)), FileTargetError::Empty { .. }));
    fs::write(&path, [1; 512]).unwrap();
    let grown = FileOptions::new(&path).size_bytes(1024).read_only(true);
    assert!(matches!(open(grown), FileTargetError::TooSmall { actual_bytes: 512, .. }));
    let null = FileOptions::new("/dev/null");
    assert!(matches!(open(null), FileTargetError::Kind { .. }));
}

#[test]
fn a_read_only_file_says_so_and_refuses_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, [9; 4096]).unwrap();
    let disk = FileTarget::open(FileOptions::new(&path).read_only(true)).unwrap();
    assert!(disk.capabilities().read_only);
    assert!(!disk.capabilities().discard);
    assert!(disk.write(0, &[1; 512], false).is_err());
    assert_eq!(fs::read(&path).unwrap(), [9; 4096]);
}

#[test]
fn zeroes_are_written_where_no_fallocate_helps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, vec![9; 300 << 10]).unwrap();
    let disk = FileTarget::open(FileOptions::new(&path)).unwrap();
    disk.write_out_zeroes(1024, 200 << 10).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 300 << 10);
    assert!(bytes[1024..1024 + (200 << 10)].iter().all(|byte| *byte == 0));
    assert!(bytes[..1024].iter().chain(&bytes[1024 + (200 << 10)..]).all(|byte| *byte == 9));
}

/// Blocks of 512 bytes that the file system holds for it.
fn blocks(path: &std::path::Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap())
}

#[test]
fn discard_and_write_zeroes_free_exactly_their_range() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    for clear in
        [FileTarget::discard as fn(&FileTarget, u64, u64) -> io::Result<()>, |disk, offset, len| {
            disk.write_zeroes(offset, len, true)
        }]
    {
        fs::write(&path, vec![9; 1 << 20]).unwrap();
        let disk = FileTarget::open(FileOptions::new(&path)).unwrap();
        assert!(disk.capabilities().discard, "this test needs a file system with holes");
        disk.flush().unwrap();
        assert_eq!(blocks(&path), 2048);
        clear(&disk, 256 << 10, 512 << 10).unwrap();
        assert_eq!(blocks(&path), 1024);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 1 << 20);
        assert!(bytes[256 << 10..768 << 10].iter().all(|byte| *byte == 0));
        assert!(bytes[..256 << 10].iter().chain(&bytes[768 << 10..]).all(|byte| *byte == 9));
    }
}

#[test]
fn write_zeroes_that_must_not_unmap_keeps_the_storage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, vec![9; 1 << 20]).unwrap();
    let disk = FileTarget::open(FileOptions::new(&path)).unwrap();
    disk.write_zeroes(0, 1 << 20, false).unwrap();
    disk.flush().unwrap();
    assert_eq!(blocks(&path), 2048);
    assert!(fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn with_o_direct_the_page_cache_is_bypassed_and_the_bytes_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let options = FileOptions::new(&path).size_bytes(1 << 20).direct(true);
    let disk = match FileTarget::open(options) {
        Ok(disk) => disk,
        Err(FileTargetError::Open { source, .. }) => {
            println!("skipped: the file system has no O_DIRECT: {source}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let block = disk.capabilities().logical_block_bytes_min;
    assert!(block.is_power_of_two() && (512..=4096).contains(&block));
    let mut buffer = Aligned::boxed();
    buffer[..8192].fill(5);
    disk.write(64 << 10, &buffer[..8192], false).unwrap();
    buffer.fill(1);
    disk.read(60 << 10, &mut buffer[..16384]).unwrap();
    assert!(buffer[..4096].iter().chain(&buffer[12288..16384]).all(|byte| *byte == 0));
    assert!(buffer[4096..12288].iter().all(|byte| *byte == 5));
    disk.write_zeroes(64 << 10, 4096, false).unwrap();
    disk.discard(68 << 10, 4096).unwrap();
    disk.read(60 << 10, &mut buffer[..16384]).unwrap();
    assert!(buffer[..16384].iter().all(|byte| *byte == 0));
    let flags = nix::fcntl::fcntl(&*disk.file, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    assert!(flags & libc::O_DIRECT != 0);
}

#[test]
fn extents_are_the_device_and_nothing_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, vec![9; 8192]).unwrap();
    let disk = FileTarget::open(FileOptions::new(&path).size_bytes(4096)).unwrap();
    assert_eq!(disk.files().len(), 1);
    let mut extents = Extents::new();
    for op in [Op::Read, Op::Write] {
        extents.clear();
        disk.extents(op, 512, 3584, &mut extents).unwrap();
        let expected = Extent { file: 0, offset_bytes: 512, len_bytes: 3584 };
        assert_eq!(extents.as_slice(), [expected]);
    }
    assert!(disk.extents(Op::Read, 512, 3585, &mut extents).is_err());
    assert!(disk.extents(Op::Write, u64::MAX, 2, &mut extents).is_err());
}
