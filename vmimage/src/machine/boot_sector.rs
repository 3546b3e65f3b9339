//! The smallest guest: 512 bytes that prove that an accelerator executes what a kernel executes. A
//! `/dev/kvm` that creates machines may still not run them, in particular not with paging on, so the
//! sector goes the kernel's way: real mode, page tables, long mode, a computation in 64-bit code, and only
//! then the signal. The computation is long, because there are hosts whose KVM does execute the guest and
//! emulates each of its instructions: they end a short sector in time, and a kernel never.

/// Size of a floppy's first sector.
pub(super) const SECTOR_BYTES: usize = 512;

/// I/O port on which QEMU's `isa-debug-exit` device listens.
pub(super) const EXIT_PORT: u16 = 0xf4;

/// What the sector writes to [`EXIT_PORT`] when its computation came out right.
const GOOD: u8 = 0x2a;

/// QEMU's exit code for [`GOOD`]: `isa-debug-exit` makes it odd, so that it cannot be taken for an ordinary
/// exit.
pub(super) const GOOD_EXIT_CODE: i32 = ((GOOD as i32) << 1) | 1;

/// Steps of the computation. A CPU takes a tenth of a second for them, and so does QEMU's translation; a
/// KVM that emulates instructions was seen to do fewer than a million a second.
pub(super) const STEPS: u32 = 50_000_000;

/// The code, to be loaded at 0x7c00.
#[rustfmt::skip]
const CODE: [u8; 158] = [
    // 16-bit
    0xfa,                                           // cli
    0xfc,                                           // cld
    0x31, 0xc0,                                     // xor ax, ax
    0x8e, 0xd8,                                     // mov ds, ax
    0x8e, 0xc0,                                     // mov es, ax
    0x66, 0xbf, 0x00, 0x10, 0x00, 0x00,             // mov edi, 0x1000
    0x0f, 0x22, 0xdf,                               // mov cr3, edi
    0x66, 0x31, 0xc0,                               // xor eax, eax
    0xb9, 0x00, 0x0c,                               // mov cx, 0xc00
    0x66, 0xf3, 0xab,                               // rep stosd             ; three empty tables
    0xc7, 0x06, 0x00, 0x10, 0x03, 0x20,             // mov word [0x1000], 0x2003
    0xc7, 0x06, 0x00, 0x20, 0x03, 0x30,             // mov word [0x2000], 0x3003
    0xc6, 0x06, 0x00, 0x30, 0x83,                   // mov byte [0x3000], 0x83  ; 2 MiB, identity
    0x66, 0xb8, 0x20, 0x00, 0x00, 0x00,             // mov eax, CR4.PAE
    0x0f, 0x22, 0xe0,                               // mov cr4, eax
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,             // mov ecx, EFER
    0x0f, 0x32,                                     // rdmsr
    0x80, 0xcc, 0x01,                               // or ah, EFER.LME >> 8
    0x0f, 0x30,                                     // wrmsr
    0x66, 0x0f, 0x01, 0x16, 0x98, 0x7c,             // lgdt [0x7c98]
    0x66, 0xb8, 0x11, 0x00, 0x00, 0x80,             // mov eax, CR0.PG | CR0.ET | CR0.PE
    0x0f, 0x22, 0xc0,                               // mov cr0, eax
    0x66, 0xea, 0x58, 0x7c, 0x00, 0x00, 0x08, 0x00, // jmp dword 8:0x7c58
    // 64-bit
    0xb8, 0x01, 0x00, 0x00, 0x00,                   // mov eax, 1
    0xb9, 0x80, 0xf0, 0xfa, 0x02,                   // mov ecx, STEPS
    0x69, 0xc0, 0x0d, 0x66, 0x19, 0x00,             // imul eax, eax, 1664525  <-
    0x05, 0x5f, 0xf3, 0x6e, 0x3c,                   // add eax, 1013904223      |
    0xff, 0xc9,                                     // dec ecx                  |
    0x75, 0xf1,                                     // jnz ---------------------'
    0x3d, 0x81, 0x24, 0xd5, 0xee,                   // cmp eax, EXPECTED
    0xb0, GOOD,                                     // mov al, GOOD
    0x74, 0x02,                                     // je +2
    0xb0, 0x15,                                     // mov al, 0x15
    0xe6, EXIT_PORT as u8,                          // out EXIT_PORT, al
    0xf4,                                           // hlt
    0xeb, 0xfd,                                     // jmp -1
    0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00,       // (alignment)
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // descriptor 0: null
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00, // descriptor 8: 64-bit code
    0x0f, 0x00, 0x88, 0x7c, 0x00, 0x00,             // table: limit, address
];

/// The sector, with the signature that makes it bootable.
pub(super) fn image() -> [u8; SECTOR_BYTES] {
    let mut sector = [0; SECTOR_BYTES];
    sector[..CODE.len()].copy_from_slice(&CODE);
    sector[SECTOR_BYTES - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sector_compares_with_what_the_computation_gives() {
        let result = (0..STEPS)
            .fold(1u32, |x, _| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
            .to_le_bytes();
        let compare = CODE.windows(5).filter(|five| five[0] == 0x3d && five[1..] == result);
        assert_eq!(compare.count(), 1);
        let steps = STEPS.to_le_bytes();
        let counter = CODE.windows(5).filter(|five| five[0] == 0xb9 && five[1..] == steps);
        assert_eq!(counter.count(), 1);
    }

    #[test]
    fn jumps_and_tables_point_into_the_sector() {
        let word = |at: usize| usize::from(u16::from_le_bytes([CODE[at], CODE[at + 1]]));
        let table = word(0x45) - 0x7c00;
        assert_eq!((word(table), word(table + 2) - 0x7c00), (15, 0x88));
        assert_eq!(word(0x52) - 0x7c00, 0x58);
        assert_eq!(CODE[0x58..0x5d], [0xb8, 1, 0, 0, 0]);
    }

    #[test]
    fn the_sector_is_bootable_and_its_signal_unmistakable() {
        let sector = image();
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert_eq!(GOOD_EXIT_CODE, 85);
    }
}
