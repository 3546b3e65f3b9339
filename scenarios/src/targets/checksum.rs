//! The checksums of protection information, computed by their definitions and by nobody else's code: what the kernel
//! sent along with its data is compared with these.

use ublk::params::{Checksum, IntegrityOptions};

/// x^16 + x^15 + x^11 + x^9 + x^8 + x^7 + x^5 + x^4 + x^2 + x + 1, the highest bit first.
const T10_DIF: u16 = 0x8bb7;
/// The polynomial of NVMe's 64 bits, the lowest bit first.
const NVME: u64 = 0x9a6c_9329_ac4b_c9b5;

/// CRC-16 of T10 DIF.
fn crc16(bytes: impl Iterator<Item = u8>) -> u16 {
    bytes.fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { T10_DIF }
        })
    })
}

/// CRC-64 of NVMe.
fn crc64(bytes: impl Iterator<Item = u8>) -> u64 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { NVME })
    })
}

/// The Internet checksum (RFC 1071), as the bytes it has in memory. Of an even number of bytes.
fn internet(bytes: impl Iterator<Item = u8>) -> [u8; 2] {
    let mut sum = 0_u32;
    let mut high = None;
    for byte in bytes {
        match high.take() {
            None => high = Some(byte),
            Some(first) => sum += u32::from(u16::from_be_bytes([first, byte])),
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// What the kernel stores with an interval: zeroes, and the tuple where the options put it. `number` is the
/// interval's, `data` its bytes.
pub(super) fn metadata(options: &IntegrityOptions, number: u64, data: &[u8]) -> Vec<u8> {
    let mut metadata = vec![0; usize::from(options.metadata_bytes)];
    let start = usize::from(options.tuple_offset_bytes);
    let covered = || data.iter().chain(&[0; 255][..start]).copied();
    // The guard, the application's tag, and the reference tag, which is as long as is left.
    let (guard, reference_bytes) = match options.checksum {
        Checksum::None => return metadata,
        Checksum::Ip => (internet(covered()).to_vec(), 4),
        Checksum::Crc16T10Dif => (crc16(covered()).to_be_bytes().to_vec(), 4),
        Checksum::Crc64Nvme => (crc64(covered()).to_be_bytes().to_vec(), 6),
    };
    let reference = &number.to_be_bytes()[8 - reference_bytes..];
    let tuple = [guard.as_slice(), &[0, 0], reference].concat();
    metadata[start..start + tuple.len()].copy_from_slice(&tuple);
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that the catalogue of parametrised CRC algorithms gives for these digits.
    #[test]
    fn check_values_are_those_of_the_catalogue() {
        assert_eq!(crc16("123456789".bytes()), 0xd0db);
        assert_eq!(crc64("123456789".bytes()), 0xae8b_1486_0a79_9888);
        // RFC 1071, section 3: the sum is ddf2.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet(example.into_iter()), [0x22, 0x0d]);
    }

    #[test]
    fn a_tuple_is_where_the_options_put_it() {
        let options = |checksum, metadata_bytes, tuple_offset_bytes| IntegrityOptions {
            checksum,
            metadata_bytes,
            tuple_offset_bytes,
            ..IntegrityOptions::default()
        };
        let crc = metadata(&options(Checksum::Crc16T10Dif, 12, 4), 0x1_0203_0405, b"12345");
        assert_eq!(crc[..4], [0; 4]);
        let guard = crc16(b"12345\0\0\0\0".iter().copied()).to_be_bytes();
        assert_eq!((crc[4..6].to_vec(), &crc[6..]), (guard.to_vec(), &[0, 0, 2, 3, 4, 5][..]));
        let nvme = metadata(&options(Checksum::Crc64Nvme, 16, 0), 7, b"123456789");
        assert_eq!(nvme[..8], 0xae8b_1486_0a79_9888_u64.to_be_bytes());
        assert_eq!(nvme[8..], [0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(metadata(&options(Checksum::None, 3, 0), 7, b"1"), [0; 3]);
    }
}
