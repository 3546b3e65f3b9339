//! Closures over small made-up module trees, with real (if tiny) ELF files.

use std::fs;

use super::*;

/// A little-endian 64-bit ELF file with a `.modinfo` section and the two sections that name it.
fn module_file(depends: &str) -> Vec<u8> {
    let modinfo = format!("license=GPL\0depends={depends}\0name=x\0").into_bytes();
    let names = b"\0.modinfo\0.shstrtab\0";
    let (modinfo_at, names_at) = (64, 64 + modinfo.len());
    let headers_at = names_at + names.len();
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([1, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend([0; 16]);
    elf.extend((headers_at as u64).to_le_bytes());
    elf.extend([0; 4]);
    for field in [64u16, 0, 0, 64, 3, 2] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(&modinfo);
    elf.extend(names);
    let mut header = |name: u32, kind: u32, at: usize, len: usize| {
        elf.extend(name.to_le_bytes());
        elf.extend(kind.to_le_bytes());
        for field in [0, 0, at as u64, len as u64, 0, 1, 0] {
            // sh_link and sh_info share one 64-bit field here.
            elf.extend(field.to_le_bytes());
        }
    };
    header(0, 0, 0, 0);
    header(1, 1, modinfo_at, modinfo.len());
    header(10, 3, names_at, names.len());
    elf
}

fn kernel(modules: &[(&str, &str)], builtin: &str) -> (tempfile::TempDir, Kernel) {
    let dir = tempfile::tempdir().unwrap();
    for (name, depends) in modules {
        let path = dir.path().join("kernel").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, module_file(depends)).unwrap();
    }
    fs::write(dir.path().join("modules.builtin"), builtin).unwrap();
    let kernel = Kernel {
        release: "9.9.9-test".into(),
        vmlinuz: PathBuf::new(),
        vmlinuz_sha256: String::new(),
        modules_dir: Some(dir.path().to_owned()),
        config: Some("/k/config".into()),
        config_sha256: None,
        identity: String::new(),
        driver_notes: None,
        lock: Vec::new(),
    };
    (dir, kernel)
}

#[test]
fn dependencies_come_first_once_and_builtin_ones_not_at_all() {
    let (_dir, kernel) = kernel(
        &[
            ("drivers/virtio-blk.ko", "virtio_ring,virtio"),
            ("drivers/virtio_ring.ko", "virtio"),
            ("drivers/virtio.ko", "core"),
            ("drivers/virtio_console.ko", "virtio-ring"),
            ("fs/ext4.ko", "jbd2,crc16"),
            ("fs/jbd2.ko", ""),
        ],
        "kernel/lib/crc16.ko\nkernel/core.ko\n",
    );
    let set = closure(
        &kernel,
        &[
            ModuleRequest::at_boot("virtio_blk"),
            ModuleRequest::at_boot("virtio-console"),
            ModuleRequest::on_demand("ext4"),
            ModuleRequest::on_demand("xfs"),
            ModuleRequest::at_boot("crc16"),
        ],
    )
    .unwrap();
    assert_eq!(set.at_boot, ["virtio", "virtio_ring", "virtio_blk", "virtio_console"]);
    assert_eq!(set.on_demand["ext4"], ["jbd2", "ext4"]);
    assert_eq!((set.absent, set.builtin), (vec!["xfs".to_owned()], vec!["crc16".to_owned()]));
    assert_eq!(set.modules.len(), 6);
    assert!(set.modules["jbd2"].content.starts_with(b"\x7fELF"));
}

#[test]
fn a_missing_required_module_names_the_kernel_and_its_config() {
    let (_dir, kernel) = kernel(&[("a.ko", "gone")], "");
    let error = closure(&kernel, &[ModuleRequest::at_boot("no-such")]).unwrap_err().to_string();
    for part in ["9.9.9-test", "`no_such`", "/k/config"] {
        assert!(error.contains(part), "{error}");
    }
    let error = closure(&kernel, &[ModuleRequest::at_boot("a")]).unwrap_err();
    assert!(matches!(error, ModuleError::Missing { ref name, .. } if name == "gone"), "{error}");
}

#[test]
fn a_circle_ends() {
    let (_dir, kernel) = kernel(&[("a.ko", "b"), ("b.ko", "a")], "");
    let error = closure(&kernel, &[ModuleRequest::at_boot("a")]).unwrap_err();
    assert!(matches!(error, ModuleError::Circle { .. }), "{error}");
}

#[test]
fn names_of_files() {
    let name = |path| module_name(Path::new(path));
    assert_eq!(name("kernel/a/virtio-blk.ko.xz").as_deref(), Some("virtio_blk"));
    assert_eq!(name("a.ko").as_deref(), Some("a"));
    assert_eq!(name("a.kolor"), None);
    assert_eq!(name("modules.order"), None);
}
