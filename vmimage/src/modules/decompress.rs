//! Distributions ship modules compressed, each with its own favourite. They are decompressed here,
//! once, so that the guest's agent can load them with one system call and no decompressor.

use std::io::Read;
use std::path::Path;

/// No module is larger than this when decompressed; a file that is has been damaged.
const MODULE_LIMIT_BYTES: u64 = 64 << 20;

/// The content of a module file, decompressed by what its name ends in.
///
/// The error is a sentence fragment that says what is wrong with the file.
pub(super) fn decompress(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let module = match extension {
        "ko" => bytes,
        "xz" => read_all(lzma_rust2::XzReader::new(bytes.as_slice(), true))?,
        "zst" => read_all(
            ruzstd::decoding::StreamingDecoder::new(bytes.as_slice()).map_err(|e| e.to_string())?,
        )?,
        other => return Err(format!("modules compressed as .{other} are not supported")),
    };
    if module.starts_with(b"\x7fELF") { Ok(module) } else { Err("it is no ELF file".into()) }
}

fn read_all(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut module = Vec::new();
    let read = reader.take(MODULE_LIMIT_BYTES).read_to_end(&mut module);
    match read {
        Ok(n) if n as u64 == MODULE_LIMIT_BYTES => Err("it is too large".into()),
        Ok(_) => Ok(module),
        Err(e) => Err(format!("it cannot be decompressed: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn xz_zst_and_plain_give_the_same() {
        let module = [b"\x7fELF".as_slice(), &[7; 5000]].concat();
        let options = lzma_rust2::XzOptions::default();
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        xz.write_all(&module).unwrap();
        let xz = xz.finish().unwrap();
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let zst = ruzstd::encoding::compress_to_vec(module.as_slice(), level);
        assert!(xz.len() < 500 && zst.len() < 500);
        for (name, bytes) in [("a.ko", module.clone()), ("a.ko.xz", xz), ("a.ko.zst", zst)] {
            assert_eq!(decompress(Path::new(name), bytes).unwrap(), module, "{name}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert!(decompress(Path::new("a.ko.xz"), b"nonsense".to_vec()).is_err());
        assert!(decompress(Path::new("a.ko.zst"), b"nonsense".to_vec()).is_err());
        assert!(decompress(Path::new("a.ko"), b"nonsense".to_vec()).is_err());
        assert!(decompress(Path::new("a.ko.lz4"), Vec::new()).unwrap_err().contains(".lz4"));
    }
}
