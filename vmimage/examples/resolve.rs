//! Resolves and fetches real kernels, programs and a QEMU with this machine's apt, and prints what came
//! of it: the check that no unit test can make, because the archive changes every day.
//!
//! `cargo run -p vmimage --example resolve -- CACHE_DIR [KERNEL...]`

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use vmimage::arch::Arch;
use vmimage::archive::{Archive, ArchiveSpec};
use vmimage::cache::Cache;
use vmimage::image::{self, ImageSpec};
use vmimage::kernel::{self, Kernel, KernelSpec};
use vmimage::modules::ModuleRequest;
use vmimage::progress::Progress;
use vmimage::qemu_install;
use vmimage::userland::{Userland, UserlandRequest};

struct Print;

impl Progress for Print {
    fn stage(&self, name: &str, detail: &str) {
        println!("  [{name}] {detail}");
    }
    fn bytes(&self, _done_bytes: u64, _total_bytes: Option<u64>) {}
    fn note(&self, text: &str) {
        println!("  note: {text}");
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(root) = args.next() else {
        eprintln!("usage: resolve CACHE_DIR [KERNEL...]");
        std::process::exit(2);
    };
    let mut kernels: Vec<String> = args.collect();
    if kernels.is_empty() {
        kernels = ["6.12", "7.3", "6.18.5"].map(str::to_owned).to_vec();
    }
    if let Err(error) = run(PathBuf::from(root), &kernels) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run(root: PathBuf, kernels: &[String]) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let cache = Cache::open(root, Arc::new(Print))?;
    let archive = Archive::open(&cache, ArchiveSpec::from_env(), Arch::X86_64);
    println!("families: {}", archive.families()?.join(" "));
    for series in kernel::list_series(&archive)? {
        let newest = series.newest_whole.unwrap_or_else(|| "no longer whole".into());
        println!("series {:<5} {newest} ({} broken)", series.name, series.broken.len());
    }
    println!("lists and series: {:.1} s", start.elapsed().as_secs_f32());
    let qemu = qemu_install::provide(&archive, Arch::X86_64, None)?;
    println!("QEMU {} ({}), sha256 {}", qemu.version, qemu.origin, qemu.sha256);
    println!("  {} {:?} {:?}", qemu.program.display(), qemu.prefix_args, qemu.firmware_args);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    let request = UserlandRequest {
        packages: words("fio e2fsprogs busybox-static"),
        programs: words("fio mkfs.ext4 e2fsck busybox"),
        data: words("etc/mke2fs.conf"),
        family: None,
    };
    let userland = Userland::from_archive(&archive, &request)?;
    println!("userland: {} files, {} packages", userland.files.len(), userland.lock.len());
    println!("tools: {:.1} s", start.elapsed().as_secs_f32());
    for word in kernels {
        let start = Instant::now();
        let resolved = kernel::resolve(&archive, &KernelSpec::parse(word)?)?;
        let kernel = kernel::fetch(&archive, &resolved)?;
        let image = build_image(&cache, &kernel, &userland)?;
        println!("kernel {word}: {} in {:.1} s", kernel.release, start.elapsed().as_secs_f32());
        for lock in &kernel.lock {
            println!("  {} {} {} {}", lock.name, lock.version, &lock.sha256[..16], lock.origin);
        }
        println!("  CONFIG_BLK_DEV={:?}", kernel.config_value("CONFIG_BLK_DEV")?);
        println!("  vmlinuz {}", image.vmlinuz.display());
        println!("  initramfs {} {} bytes", image.initramfs.display(), image.initramfs_bytes);
        println!("  at boot {}", image.modules_in_load_order.join(" "));
        println!("  on demand {:?}", image.modules_on_demand);
        println!("  built in {:?} absent {:?}", image.modules_builtin, image.modules_absent);
    }
    println!("all: {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

fn build_image(
    cache: &Cache,
    kernel: &Kernel,
    userland: &Userland,
) -> Result<image::Image, image::ImageError> {
    let modules = ["virtio_pci", "virtio_console", "virtio_blk"].map(ModuleRequest::at_boot);
    let mut modules = modules.to_vec();
    modules.extend(["ext4", "xfs", "null_blk"].map(ModuleRequest::on_demand));
    let spec = ImageSpec {
        kernel,
        modules,
        files: Vec::new(),
        symlinks: vec![("/bin/sh".into(), "busybox".into())],
        userlands: vec![userland],
        init: "/bin/busybox".into(),
    };
    image::build(cache, &spec)
}
