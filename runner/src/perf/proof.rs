//! What a device shows before it is measured. A server that answers without doing its work is fast; one
//! number of such a server would be worse than none.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use reports::perf::Proof;
use scenarios::block::{AlignedBuffer, BlockDevice};

/// Of each look.
const LEN_BYTES: usize = 64 << 10;
/// Looks are spread evenly over the device.
const LOOKS: u64 = 16;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 1 << 20;
/// Keeps what is written apart from what the file was filled with.
const FILLED: u64 = 0x5851_f42d_4c95_7f2d;
const WRITTEN: u64 = 0x1405_7b7e_f767_814f;

/// Makes the file that a proof is about; written and not sparse, for a hole is read without looking for a page.
pub(super) fn prepare(proof: &Proof) -> Result<(), String> {
    let Proof::Shows { path, len_bytes } = proof else { return Ok(()) };
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        for offset in (0..*len_bytes).step_by(CHUNK_BYTES) {
            fill(&mut chunk, offset, FILLED);
            file.write_all(&chunk)?;
        }
        Ok(())
    };
    write().map_err(|error| format!("cannot write {path}: {error}"))
}

/// Removes that file; one that is not there any more is no error.
pub(super) fn clean(proof: &Proof) {
    if let Proof::Shows { path, .. } = proof {
        let _ = std::fs::remove_file(path);
    }
}

/// Asks the device. An error is a wrong answer.
pub(super) fn ask(proof: &Proof, device: &Path) -> Result<(), String> {
    let open = BlockDevice::open(device, OPEN_TIMEOUT).map_err(|stop| format!("{stop:?}"))?;
    let len_bytes = open.size_bytes().map_err(|stop| format!("{stop:?}"))?;
    match proof {
        Proof::Answers { len_bytes_min } => {
            if len_bytes < *len_bytes_min {
                return Err(format!("it has {len_bytes} bytes, {len_bytes_min} are wanted"));
            }
            looks(*len_bytes_min).try_for_each(|offset| {
                write(&open, offset)?;
                read(&open, offset).map(drop)
            })
        }
        Proof::Remembers { len_bytes: wanted } => {
            same_length(len_bytes, *wanted)?;
            // All of it: memory that is given out on the first write makes that write dear and reads before it cheap.
            let mut all = (0..len_bytes / LEN_BYTES as u64).map(|place| place * LEN_BYTES as u64);
            all.try_for_each(|offset| write(&open, offset))?;
            // Only then, so that what is read comes from where it is kept.
            looks(len_bytes).try_for_each(|offset| holds(&read(&open, offset)?, offset, WRITTEN))
        }
        Proof::Shows { path, len_bytes: wanted } => {
            same_length(len_bytes, *wanted)?;
            looks(len_bytes).try_for_each(|offset| holds(&read(&open, offset)?, offset, FILLED))?;
            looks(len_bytes).try_for_each(|offset| write(&open, offset))?;
            open.flush().map_err(|error| format!("a flush fails: {error}"))?;
            let file = File::open(path).map_err(|error| format!("cannot open {path}: {error}"))?;
            looks(len_bytes).try_for_each(|offset| {
                let mut bytes = vec![0; LEN_BYTES];
                file.read_exact_at(&mut bytes, offset)
                    .map_err(|error| format!("cannot read {path}: {error}"))?;
                holds(&bytes, offset, WRITTEN).map_err(|why| format!("in {path}: {why}"))
            })
        }
    }
}

fn same_length(is: u64, wanted: u64) -> Result<(), String> {
    if is == wanted { Ok(()) } else { Err(format!("it has {is} bytes instead of {wanted}")) }
}

/// Where is looked: the beginning, the end, and between.
fn looks(len_bytes: u64) -> impl Iterator<Item = u64> {
    let last = len_bytes.saturating_sub(LEN_BYTES as u64);
    (0..LOOKS).map(move |look| last / (LOOKS - 1) * look / LEN_BYTES as u64 * LEN_BYTES as u64)
}

fn read(device: &BlockDevice, offset: u64) -> Result<AlignedBuffer, String> {
    let mut buffer = AlignedBuffer::zeroed(LEN_BYTES);
    device
        .read_at(offset, &mut buffer)
        .map_err(|error| format!("a read at {offset} fails: {error}"))?;
    Ok(buffer)
}

fn write(device: &BlockDevice, offset: u64) -> Result<(), String> {
    let mut buffer = AlignedBuffer::zeroed(LEN_BYTES);
    fill(&mut buffer, offset, WRITTEN);
    device.write_at(offset, &buffer).map_err(|error| format!("a write at {offset} fails: {error}"))
}

/// Each word says where it is, so that bytes of another place are not taken for these.
fn fill(bytes: &mut [u8], offset: u64, salt: u64) {
    for (number, word) in bytes.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&word_at(offset + number as u64 * 8, salt).to_le_bytes());
    }
}

fn word_at(offset: u64, salt: u64) -> u64 {
    (offset ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn holds(bytes: &[u8], offset: u64, salt: u64) -> Result<(), String> {
    for (number, word) in bytes.chunks_exact(8).enumerate() {
        let place = offset + number as u64 * 8;
        if word != word_at(place, salt).to_le_bytes() {
            return Err(format!("wrong bytes at {place}: {word:02x?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_reach_from_the_beginning_to_the_end() {
        let places: Vec<u64> = looks(256 << 20).collect();
        assert_eq!((places.len(), places[0]), (16, 0));
        assert!(places[15] + (2 * LEN_BYTES as u64) > 255 << 20, "{places:?}");
        assert!(places.iter().all(|place| place + LEN_BYTES as u64 <= 256 << 20));
    }

    #[test]
    fn bytes_of_another_place_or_another_time_are_wrong() {
        let mut bytes = vec![0; 4096];
        fill(&mut bytes, 8192, FILLED);
        assert_eq!(holds(&bytes, 8192, FILLED), Ok(()));
        assert!(holds(&bytes, 4096, FILLED).unwrap_err().starts_with("wrong bytes at 4096"));
        assert!(holds(&bytes, 8192, WRITTEN).is_err());
        bytes[4095] ^= 1;
        assert!(holds(&bytes, 8192, FILLED).unwrap_err().starts_with("wrong bytes at 12280"));
    }

    #[test]
    fn a_file_is_made_as_long_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x").display().to_string();
        let proof = Proof::Shows { path: path.clone(), len_bytes: 2 << 20 };
        prepare(&proof).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 2 << 20);
        assert_eq!(holds(&bytes, 0, FILLED), Ok(()));
        clean(&proof);
        assert!(!Path::new(&path).exists());
    }
}
