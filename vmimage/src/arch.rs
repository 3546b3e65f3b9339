//! What differs between the architectures a guest may have, in one table. A guest of another architecture than the
//! machine's is emulated; its kernels and programs come from the archive's port, QEMU from the machine's own.

use std::fmt;

use goblin::elf::header::{EM_AARCH64, EM_X86_64};

/// An architecture of guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86; pages of 4 KiB.
    #[default]
    X86_64,
    /// 64-bit Arm; pages of 4, 16 or 64 KiB.
    Aarch64,
}

/// Everything about an [`Arch`] that anything here depends on.
#[derive(Debug)]
pub struct Facts {
    /// As the kernel and Rust call it.
    pub name: &'static str,
    /// As the distribution calls it, for packages.
    pub debian: &'static str,
    /// The folder of its libraries, below `lib` and `usr/lib`.
    pub multiarch: &'static str,
    /// `e_machine` of its programs.
    pub elf_machine: u16,
    /// What guest programs are built for.
    pub rust_target: &'static str,
    /// Flags of rustc for a program that needs no library of the guest's.
    pub rust_flags: &'static str,
    /// Flavours of kernels for virtual machines, as the end of a release.
    pub kernel_flavours: &'static str,
    /// The smallest page its kernels have, in KiB: what a kernel has whose flavour names none.
    pub page_kib: u32,
    /// QEMU's program.
    pub emulator: &'static str,
    /// The package that holds it.
    pub qemu_package: &'static str,
    /// Other packages whose files it uses; the libraries come on top.
    pub qemu_data_packages: &'static [&'static str],
    /// Folders of firmware in those packages, in the order QEMU is to search them, and their names in a
    /// cache entry.
    pub firmware: &'static [(&'static str, &'static str)],
    /// QEMU's machine and its options.
    pub machine: &'static str,
    /// The guest's CPU under emulation.
    pub emulated_cpu: &'static str,
    /// The console that is the machine's first serial line, as the kernel calls it.
    pub console: &'static str,
    /// What else its kernels need on their command line in this machine, with a space behind each word.
    pub cmdline: &'static str,
    /// What a kernel image is, and which file of a build to give, for people.
    pub image: &'static str,
    /// Where an image has its mark, and the mark.
    image_marks: &'static [(usize, &'static [u8])],
}

const X86_64: Facts = Facts {
    name: "x86_64",
    debian: "amd64",
    multiarch: "x86_64-linux-gnu",
    elf_machine: EM_X86_64,
    // glibc with `crt-static`, because that needs nothing but stable Rust and the C library that the commands
    // were linked with too; a musl target would have to be added by rustup.
    rust_target: "x86_64-unknown-linux-gnu",
    rust_flags: "-C target-feature=+crt-static -C relocation-model=static",
    // Debian's cloud flavour, Ubuntu's generic one.
    kernel_flavours: "cloud-amd64|generic",
    page_kib: 4,
    emulator: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    qemu_data_packages: &["qemu-system-common", "qemu-system-data", "seabios", "ipxe-qemu"],
    firmware: &[
        ("usr/share/qemu", "firmware/qemu"),
        ("usr/share/seabios", "firmware/seabios"),
        ("usr/lib/ipxe/qemu", "firmware/ipxe"),
    ],
    // The built-in devices that are switched off only cost the guest time to look for them.
    machine: "q35,sata=off,smbus=off,vmport=off",
    // The fewest features, which boots fastest, and the two that save more than they cost (interrupts without
    // memory-mapped registers, random numbers from the first moment on). Medians of 5 boots to power-off on 2
    // loaded cores under QEMU 10.0.13, kernel 6.12 / 7.3: this one 2.65 / 3.00 s, plain `qemu64` 2.77 / 3.40 s,
    // `max` 2.91 / 3.22 s, Haswell 2.82 / 3.08 s. None of the 60 boots failed.
    emulated_cpu: "qemu64,+x2apic,+rdrand",
    console: "ttyS0",
    // A busy host can hold QEMU's timer back so long that the kernel thinks it is broken, and panics.
    cmdline: "no_timer_check ",
    image: "x86 bzImage (give arch/x86/boot/bzImage, not vmlinux)",
    // The boot protocol's magic number.
    image_marks: &[(0x202, b"HdrS")],
};

const AARCH64: Facts = Facts {
    name: "aarch64",
    debian: "arm64",
    multiarch: "aarch64-linux-gnu",
    elf_machine: EM_AARCH64,
    // musl comes whole with Rust's own target, and `rust-lld` with the toolchain: no cross compiler, no C library
    // of the other port, nothing to unpack. glibc would need both.
    rust_target: "aarch64-unknown-linux-musl",
    rust_flags: "-C linker=rust-lld -C target-feature=+crt-static -C relocation-model=static",
    // Debian's cloud flavour, and the one with large pages that has no cloud variant.
    kernel_flavours: "cloud-arm64|arm64-(16|64)k|generic(-64k)?",
    page_kib: 4,
    emulator: "qemu-system-aarch64",
    qemu_package: "qemu-system-arm",
    qemu_data_packages: &["qemu-system-common", "qemu-system-data"],
    // The kernel is started directly, and none of the devices has a ROM.
    firmware: &[],
    machine: "virt,gic-version=3",
    // Has pages of all three sizes, and none of the extensions that are slow to emulate (`max` signs every pointer).
    emulated_cpu: "neoverse-n1",
    console: "ttyAMA0",
    // Other page tables for the kernel cost 7 times the time of a system call under emulation (24 and 3.4 us of host
    // time), against an attack that no emulated CPU knows.
    cmdline: "kpti=off ",
    image: "arm64 Image (give arch/arm64/boot/Image, not vmlinux)",
    // Of the image itself, of gzip, and of an EFI program that unpacks itself.
    image_marks: &[(56, b"ARM\x64"), (0, b"\x1f\x8b\x08"), (4, b"zimg")],
};

impl Arch {
    /// Every one there is, the default first.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// This machine's, or the default where no guest has this machine's.
    pub const HOST: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

    /// Everything about it.
    #[must_use]
    pub const fn facts(self) -> &'static Facts {
        match self {
            Arch::X86_64 => &X86_64,
            Arch::Aarch64 => &AARCH64,
        }
    }
}

impl Facts {
    /// A regular expression (POSIX extended) for the names of all packages of its kernels.
    #[must_use]
    pub fn kernel_packages(&self) -> String {
        let flavours = self.kernel_flavours;
        format!(
            "^linux-(image|binary|modules|modules-extra|base)(-unsigned)?-[0-9].*-({flavours})(-unsigned)?$"
        )
    }

    /// Whether these are the first bytes of one of its kernel images, at least 4 KiB of them.
    #[must_use]
    pub fn is_image(&self, head: &[u8]) -> bool {
        self.image_marks.iter().any(|(at, mark)| head.get(*at..at + mark.len()) == Some(*mark))
    }

    /// The size of pages of the kernel `release` in KiB, which large ones name at its end.
    #[must_use]
    pub fn page_kib_of(&self, release: &str) -> u32 {
        let named = release.rsplit('-').next().and_then(|last| last.strip_suffix('k'));
        named.and_then(|kib| kib.parse().ok()).unwrap_or(self.page_kib)
    }

    /// Where Debian keeps its libraries, below the root.
    #[must_use]
    pub fn library_dir(&self) -> String {
        format!("usr/lib/{}", self.multiarch)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Answers of the archive are kept by this text: another one asks everybody's archive again.
    #[test]
    fn the_names_of_x86_kernels_stay_as_they_were() {
        assert_eq!(
            Arch::X86_64.facts().kernel_packages(),
            "^linux-(image|binary|modules|modules-extra|base)(-unsigned)?-[0-9].*-(cloud-amd64|generic)(-unsigned)?$"
        );
    }

    #[rstest]
    #[case("7.3.4+deb13-cloud-arm64", 4)]
    #[case("7.3.4+deb13-arm64-16k", 16)]
    #[case("6.8.0-45-generic-64k", 64)]
    #[case("6.8.0-45-generic", 4)]
    #[case("k", 4)]
    fn large_pages_are_named_by_the_release(#[case] release: &str, #[case] kib: u32) {
        assert_eq!(Arch::Aarch64.facts().page_kib_of(release), kib);
    }

    #[test]
    fn images_are_told_apart_by_their_marks() {
        let with = |at: usize, mark: &[u8]| {
            let mut image = vec![0; 4096];
            image[at..at + mark.len()].copy_from_slice(mark);
            image
        };
        let (x86, arm) = (Arch::X86_64.facts(), Arch::Aarch64.facts());
        let bzimage = with(0x202, b"HdrS");
        assert!(x86.is_image(&bzimage) && !arm.is_image(&bzimage));
        for image in [with(56, b"ARM\x64"), with(0, b"\x1f\x8b\x08"), with(4, b"zimg")] {
            assert!(arm.is_image(&image) && !x86.is_image(&image));
        }
        assert!(!arm.is_image(b"ARM") && !x86.is_image(b""));
    }

    #[test]
    fn the_default_is_x86_and_names_are_the_kernels() {
        assert_eq!(Arch::default(), Arch::X86_64);
        assert_eq!(Arch::ALL.map(|arch| arch.to_string()), ["x86_64", "aarch64"]);
    }
}
