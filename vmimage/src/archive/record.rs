//! Package records as apt prints them, and what is kept of a package that was used: a report must be
//! able to say exactly which kernel and which fio it was made with.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One version of one package, as the archive's index describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The package's name.
    pub name: String,
    /// Its Debian version.
    pub version: String,
    /// Names in `Depends` and `Pre-Depends`, alternatives included, versions dropped.
    pub depends: Vec<String>,
    /// Length of the package file, in bytes.
    pub size_bytes: u64,
    /// Size when unpacked, in bytes.
    pub installed_bytes: u64,
    /// SHA-256 of the package file, hex.
    pub sha256: String,
}

/// A package file on disk whose hash was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// The package's name.
    pub name: String,
    /// Its Debian version.
    pub version: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Where the file is.
    pub path: PathBuf,
}

/// One package that went into a kernel, an image or a QEMU: a line of a report's lock record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockEntry {
    /// The package's name, or the path of a file the user brought.
    pub name: String,
    /// Its Debian version; empty for a file.
    pub version: String,
    /// SHA-256 of the package file, or of the file itself, hex.
    pub sha256: String,
    /// The family it came from (`trixie`), or `file`.
    pub origin: String,
}

/// Reads the output of `apt-cache show`; stanzas without a name, version or hash are skipped.
pub(super) fn parse_records(text: &str) -> Vec<Record> {
    text.split("\n\n").filter_map(parse_record).collect()
}

fn parse_record(stanza: &str) -> Option<Record> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    };
    let number = |name: &str| field(name).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    let depends = ["Pre-Depends", "Depends"]
        .iter()
        .filter_map(|name| field(name))
        .flat_map(|list| list.split([',', '|']))
        .filter_map(|item| item.split_whitespace().next())
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .collect();
    Some(Record {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        depends,
        size_bytes: number("Size"),
        installed_bytes: number("Installed-Size").saturating_mul(1024),
        sha256: field("SHA256")?.to_owned(),
    })
}

/// Splits the name apt gives a package file into package and version:
/// `libcap2_1%3a2.66-4_amd64.deb` is `libcap2`, `1:2.66-4`.
pub(super) fn parse_file_name(name: &str) -> Option<(String, String)> {
    let mut parts = name.strip_suffix(".deb")?.split('_');
    let (package, version, _architecture) = (parts.next()?, parts.next()?, parts.next()?);
    Some((package.to_owned(), percent_decode(version)))
}

fn percent_decode(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(char::from(byte));
                decoded.push_str(&piece[2..]);
            }
            None => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_apt_cache_show() {
        let text = "Package: linux-image-x\nVersion: 6.18.5-1\nInstalled-Size: 2\n\
             Pre-Depends: linux-base (>= 4.12~)\nDepends: dracut | initramfs-tools (>= 0.1), kmod:any\n\
             Size: 4913\nSHA256: aa\nDescription: x\n Depends: not this\n\nPackage: half\n\n\
             Package: b\nVersion: 1\nSHA256: bb\n";
        let records = parse_records(text);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].depends, ["linux-base", "dracut", "initramfs-tools", "kmod"]);
        assert_eq!((records[0].size_bytes, records[0].installed_bytes), (4913, 2048));
        assert_eq!(records[1].name, "b");
    }

    #[test]
    fn file_names() {
        let parsed = |name| parse_file_name(name).map(|(n, v)| format!("{n} {v}"));
        assert_eq!(
            parsed("libcap2_1%3a2.66-4+b1_amd64.deb").as_deref(),
            Some("libcap2 1:2.66-4+b1")
        );
        assert_eq!(parsed("x_7.3~rc7-1_all.deb").as_deref(), Some("x 7.3~rc7-1"));
        assert_eq!(parsed("partial"), None);
        assert_eq!(percent_decode("a%zz%"), "a%zz%");
    }
}
