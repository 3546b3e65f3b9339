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
