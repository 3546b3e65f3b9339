//! A second socket beside the window, on which a live server takes requests that change something. Apart from the
//! window, so that whoever may only look cannot do harm by a line too many.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A caller that sends or reads nothing is given up after that; the next one waits meanwhile.
const CALLER_TIMEOUT: Duration = Duration::from_secs(1);
/// Above what a resize may take in the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Far above any request or answer.
const MESSAGE_BYTES_MAX: u64 = 64 << 10;

/// What a live server can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// Make the disk as large as that.
    Resize {
        /// In bytes, whole logical blocks.
        size_bytes: u64,
    },
}

/// The answer: why it was not done, or nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    error: Option<String>,
}

/// Where the server whose window is at `socket` takes requests.
pub fn request_path(socket: &Path) -> PathBuf {
    socket.with_extension("ctl")
}

/// Asks the server that takes requests at `path`.
///
/// # Errors
/// NotFound or ConnectionRefused where no server listens, PermissionDenied for another user's; `Other` with the
/// server's reason where it refused.
pub fn ask(path: &Path, request: &Request) -> io::Result<()> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(CALLER_TIMEOUT))?;
    send(&mut stream, request)?;
    let answer: Answer = receive(&mut stream)?;
    answer.error.map_or(Ok(()), |reason| Err(io::Error::other(reason)))
}

/// Takes one request from a caller, does it, and answers.
pub(super) fn answer(
    mut stream: UnixStream,
    act: impl Fn(Request) -> Result<(), String>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(CALLER_TIMEOUT))?;
    stream.set_write_timeout(Some(CALLER_TIMEOUT))?;
    let error = match receive(&mut stream) {
        Ok(request) => act(request).err(),
        Err(error) => Some(format!("the request was not understood: {error}")),
    };
    send(&mut stream, &Answer { error })
}

/// A message ends with its sender's half of the stream.
fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&serde_json::to_vec(message)?)?;
    stream.shutdown(std::net::Shutdown::Write)
}

fn receive<T: serde::de::DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut text = Vec::new();
    stream.take(MESSAGE_BYTES_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(sent: &[u8], act: impl Fn(Request) -> Result<(), String> + Sync) -> String {
        let (mut caller, server) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| answer(server, &act));
            caller.write_all(sent).unwrap();
            caller.shutdown(std::net::Shutdown::Write).unwrap();
            let mut back = String::new();
            caller.read_to_string(&mut back).unwrap();
            back
        })
    }

    #[test]
    fn a_request_is_done_once_and_a_refusal_comes_back_in_words() {
        let request = br#"{"resize":{"size_bytes":4096}}"#;
        let done = exchange(request, |asked| {
            assert_eq!(asked, Request::Resize { size_bytes: 4096 });
            Ok(())
        });
        assert_eq!(done, r#"{"error":null}"#);
        assert!(exchange(request, |_| Err("too small".into())).contains("too small"));
    }

    #[test]
    fn what_is_no_request_does_nothing() {
        for sent in [&b""[..], b"resize", br#"{"format":{}}"#] {
            let back = exchange(sent, |_| panic!("acted"));
            assert!(back.contains("not understood"), "{back}");
        }
    }

    #[test]
    fn each_window_has_its_own_door() {
        assert_eq!(request_path(Path::new("/run/ublk/7.sock")), Path::new("/run/ublk/7.ctl"));
    }
}
