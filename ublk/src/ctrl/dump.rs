//! Copies of every SQE in a file, for debugging a protocol whose errors are mostly EINVAL.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys::sqe::{SqeBytes, hex};

/// Environment variable that names a file; when it is set, SQEs are appended to it.
pub const SQE_DUMP_ENV: &str = "UBLK_SQE_DUMP";

/// The file that [`SQE_DUMP_ENV`] names cannot be appended to.
#[derive(Debug, thiserror::Error)]
#[error("{} named by {SQE_DUMP_ENV} cannot be appended to: {source}", path.display())]
pub struct SqeDumpError {
    /// The file.
    path: PathBuf,
    /// What open said.
    source: io::Error,
}

/// An append-only text file: seconds since 1970, command, 256 hexadecimal digits.
#[derive(Debug)]
pub(crate) struct SqeDump(File);

impl SqeDump {
    /// The dump the environment asks for, if any.
    pub(crate) fn from_env() -> Result<Option<Self>, SqeDumpError> {
        std::env::var_os(SQE_DUMP_ENV).map(|path| Self::append_to(path.as_ref())).transpose()
    }

    fn append_to(path: &Path) -> Result<Self, SqeDumpError> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map(Self).map_err(|source| SqeDumpError { path: path.to_owned(), source })
    }

    /// Appends a line. A dump that cannot be written must not change what the program under study does, so errors
    /// are dropped.
    pub(crate) fn record(&self, name: &str, sqe: &SqeBytes) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanos) = (now.as_secs(), now.subsec_nanos());
        let line = format!("{seconds}.{nanos:09} {name} {}\n", hex(sqe.as_bytes()));
        // One write per line, so that lines of several writers do not mix.
        let _ = (&self.0).write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_time_name_and_all_128_bytes() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("sqes");
        let dump = SqeDump::append_to(&path).expect("opened");
        let mut sqe = SqeBytes::uring_cmd(3, 0xc020_7504, 9);
        sqe.set_len(0xdead_beef);
        dump.record("ADD_DEV", &sqe);
        dump.record("ADD_DEV", &sqe);
        let text = std::fs::read_to_string(&path).expect("text");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0][0].parse::<f64>().expect("seconds") > 1.6e9);
        assert_eq!(lines[0][1], "ADD_DEV");
        assert_eq!(lines[0][2].len(), 256);
        assert_eq!(&lines[0][2][48..56], "efbeadde");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = SqeDump::append_to(Path::new("/no/such/dir/sqes")).expect_err("refused");
        let text = error.to_string();
        assert!(text.starts_with("/no/such/dir/sqes named by UBLK_SQE_DUMP cannot be"), "{text}");
    }
}
