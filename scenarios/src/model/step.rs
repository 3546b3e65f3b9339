//! What can be done to devices, as values: a sequence of these is a test, a reproducer and a corpus entry.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sort::Sort;

/// One step. Devices and servers are numbers of the test's own, from 0; who serves is said by [`Step::Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
#[allow(missing_docs)] // The fields are the same few everywhere: `dev`, `server`, and what the variant's line says.
pub enum Step {
    /// ADD_DEV with two tags a queue.
    Add {
        dev: u8,
        #[serde(flatten)]
        sort: Sort,
    },
    /// SET_PARAMS, right ones or ones that are refused.
    SetParams { dev: u8, valid: bool },
    /// GET_PARAMS.
    GetParams { dev: u8 },
    /// GET_QUEUE_AFFINITY of a queue that may not be there.
    GetAffinity { dev: u8, queue: u8 },
    /// Process `server` opens `/dev/ublkcN`.
    Open { dev: u8, server: u8 },
    /// Its opener maps the descriptors.
    Mmap { dev: u8 },
    /// A thread of its opener sends FETCH_REQ for one tag, counted over all queues.
    Fetch {
        dev: u8,
        tag: u8,
        #[serde(default)]
        thread: u8,
    },
    /// Its opener sends FETCH_REQ for all tags that are not fetched; for tag 0 where all are. `spread`: a thread for each queue.
    FetchAll {
        dev: u8,
        #[serde(default)]
        spread: bool,
    },
    /// The second thread of a server ends.
    EndThread { server: u8 },
    /// START_DEV with the pid of `server`.
    Start { dev: u8, server: u8 },
    /// STOP_DEV.
    Stop { dev: u8 },
    /// TRY_STOP_DEV.
    TryStop { dev: u8 },
    /// QUIESCE_DEV with a short timeout.
    Quiesce { dev: u8 },
    /// UPDATE_SIZE.
    UpdateSize { dev: u8, mib: u8 },
    /// SIGKILL.
    KillServer { server: u8 },
    /// The opener closes ring, mapping and file, and lives on.
    CloseChar { dev: u8 },
    /// START_USER_RECOVERY.
    StartRecovery { dev: u8 },
    /// END_USER_RECOVERY with the pid of `server`.
    EndRecovery { dev: u8, server: u8 },
    /// DEL_DEV.
    Del { dev: u8 },
    /// DEL_DEV_ASYNC.
    DelAsync { dev: u8 },
    /// GET_DEV_INFO2, with the device's path.
    GetInfo2 { dev: u8 },
    /// REG_BUF of one of two pages.
    RegBuf { dev: u8, page: u8 },
    /// UNREG_BUF of that index.
    UnregBuf { dev: u8, index: u8 },
    /// A client opens `/dev/ublkbN`.
    OpenBlock {
        dev: u8,
        #[serde(default)]
        client: u8,
    },
    /// It closes it.
    CloseBlock {
        dev: u8,
        #[serde(default)]
        client: u8,
    },
    /// It reads one block on a CPU of that queue, and does not wait.
    Read {
        dev: u8,
        #[serde(default)]
        queue: u8,
    },
    /// It writes one, likewise.
    Write { dev: u8, queue: u8 },
    /// The server asks for the data of a write that wants it; or sends NEED_GET_DATA where nothing does.
    GetData { dev: u8 },
    /// A command of tag 0, which has no request or none that it would be for, by the thread that has fetched it.
    Stray { dev: u8, command: Stray },
    /// The server commits every request that it has, each by the thread that has it.
    Answer { dev: u8 },
    /// Another thread commits one.
    AnswerWrong { dev: u8 },
    /// The server writes (or reads) the data of one of its requests with pwrite (or pread); of tag 0 where it has none.
    Copy { dev: u8, write: bool },
    /// It registers the pages of one, or tries to with tag 0.
    Register { dev: u8 },
    /// It unregisters those of the first that are registered, or what was not.
    Unregister { dev: u8 },
}

/// A command that a tag without a request refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stray {
    /// COMMIT_AND_FETCH_REQ.
    Commit,
    /// One of a number that is no command's.
    Unknown,
}

impl fmt::Display for Stray {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Commit => "COMMIT_AND_FETCH_REQ",
            Self::Unknown => "an unknown command",
        })
    }
}

impl Step {
    /// The device it is about.
    #[must_use]
    pub fn dev(&self) -> Option<u8> {
        match *self {
            Self::KillServer { .. } | Self::EndThread { .. } => None,
            Self::Add { dev, .. }
            | Self::SetParams { dev, .. }
            | Self::GetParams { dev }
            | Self::GetAffinity { dev, .. }
            | Self::Open { dev, .. }
            | Self::Mmap { dev }
            | Self::Fetch { dev, .. }
            | Self::FetchAll { dev, .. }
            | Self::Start { dev, .. }
            | Self::Stop { dev }
            | Self::TryStop { dev }
            | Self::Quiesce { dev }
            | Self::UpdateSize { dev, .. }
            | Self::CloseChar { dev }
            | Self::StartRecovery { dev }
            | Self::EndRecovery { dev, .. }
            | Self::Del { dev }
            | Self::DelAsync { dev }
            | Self::GetInfo2 { dev }
            | Self::RegBuf { dev, .. }
            | Self::UnregBuf { dev, .. }
            | Self::OpenBlock { dev, .. }
            | Self::CloseBlock { dev, .. }
            | Self::Read { dev, .. }
            | Self::Write { dev, .. }
            | Self::GetData { dev }
            | Self::Stray { dev, .. }
            | Self::Answer { dev }
            | Self::AnswerWrong { dev }
            | Self::Copy { dev, .. }
            | Self::Register { dev }
            | Self::Unregister { dev } => Some(dev),
        }
    }

    /// Its name without its device, for tables.
    #[must_use]
    pub fn name(&self) -> String {
        let text = self.to_string();
        let text = text.split_once(": ").map_or(text.as_str(), |(_, name)| name).to_owned();
        text.split([' ']).take(3).collect::<Vec<_>>().join(" ")
    }

    /// The server it names.
    #[must_use]
    pub fn server(&self) -> Option<u8> {
        match *self {
            Self::Open { server, .. }
            | Self::Start { server, .. }
            | Self::EndRecovery { server, .. }
            | Self::EndThread { server }
            | Self::KillServer { server } => Some(server),
            _ => None,
        }
    }

    /// Simpler steps that may fail the same way, the simplest first.
    #[must_use]
    pub fn simpler(&self) -> Vec<Self> {
        match *self {
            Self::Add { dev, sort } => {
                sort.simpler().into_iter().map(|sort| Self::Add { dev, sort }).collect()
            }
            Self::FetchAll { dev, spread } => {
                let mut all = vec![Self::Fetch { dev, tag: 0, thread: 0 }];
                all.extend(spread.then_some(Self::FetchAll { dev, spread: false }));
                all
            }
            Self::Fetch { dev, tag, thread } if tag > 0 || thread > 0 => {
                vec![Self::Fetch { dev, tag: 0, thread: 0 }, Self::Fetch { dev, tag, thread: 0 }]
                    .into_iter()
                    .filter(|simpler| simpler != self)
                    .collect()
            }
            Self::Read { dev, queue } if queue > 0 => vec![Self::Read { dev, queue: 0 }],
            Self::Write { dev, queue } if queue > 0 => {
                vec![Self::Read { dev, queue: 0 }, Self::Write { dev, queue: 0 }]
            }
            Self::Write { dev, .. } => vec![Self::Read { dev, queue: 0 }],
            Self::OpenBlock { dev, client } if client > 0 => {
                vec![Self::OpenBlock { dev, client: 0 }]
            }
            Self::RegBuf { dev, page } if page > 0 => vec![Self::RegBuf { dev, page: 0 }],
            Self::KillServer { server } if server > 0 => vec![Self::KillServer { server: 0 }],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dev) = self.dev() {
            write!(out, "device {dev}: ")?;
        }
        match self {
            Self::Add { sort, .. } => write!(out, "ADD_DEV ({sort})"),
            Self::SetParams { valid: true, .. } => out.write_str("SET_PARAMS"),
            Self::SetParams { valid: false, .. } => out.write_str("SET_PARAMS with wrong ones"),
            Self::GetParams { .. } => out.write_str("GET_PARAMS"),
            Self::GetAffinity { queue, .. } => write!(out, "GET_QUEUE_AFFINITY of queue {queue}"),
            Self::Open { server, .. } => write!(out, "server {server} opens the char device"),
            Self::Mmap { .. } => out.write_str("its server maps the descriptors"),
            Self::Fetch { tag, thread: 0, .. } => write!(out, "FETCH_REQ of tag {tag}"),
            Self::Fetch { tag, .. } => write!(out, "FETCH_REQ of tag {tag} by the second thread"),
            Self::FetchAll { spread: false, .. } => {
                out.write_str("FETCH_REQ of all tags that are left")
            }
            Self::FetchAll { .. } => {
                out.write_str("FETCH_REQ of all tags that are left, a thread for each queue")
            }
            Self::EndThread { server } => write!(out, "the second thread of server {server} ends"),
            Self::Start { server, .. } => write!(out, "START_DEV with server {server}'s pid"),
            Self::Stop { .. } => out.write_str("STOP_DEV"),
            Self::TryStop { .. } => out.write_str("TRY_STOP_DEV"),
            Self::Quiesce { .. } => out.write_str("QUIESCE_DEV"),
            Self::UpdateSize { mib, .. } => write!(out, "UPDATE_SIZE to {mib} MiB"),
            Self::KillServer { server } => write!(out, "SIGKILL to server {server}"),
            Self::CloseChar { .. } => out.write_str("its server closes the char device"),
            Self::StartRecovery { .. } => out.write_str("START_USER_RECOVERY"),
            Self::EndRecovery { server, .. } => {
                write!(out, "END_USER_RECOVERY with server {server}'s pid")
            }
            Self::Del { .. } => out.write_str("DEL_DEV"),
            Self::DelAsync { .. } => out.write_str("DEL_DEV_ASYNC"),
            Self::GetInfo2 { .. } => out.write_str("GET_DEV_INFO2"),
            Self::RegBuf { page, .. } => write!(out, "REG_BUF of page {page}"),
            Self::UnregBuf { index, .. } => write!(out, "UNREG_BUF of index {index}"),
            Self::OpenBlock { client: 0, .. } => out.write_str("a client opens the block device"),
            Self::OpenBlock { .. } => out.write_str("a second client opens the block device"),
            Self::CloseBlock { client: 0, .. } => {
                out.write_str("the client closes the block device")
            }
            Self::CloseBlock { .. } => out.write_str("the second client closes the block device"),
            Self::Read { queue: 0, .. } => out.write_str("the client starts to read 4096 bytes"),
            Self::Read { queue, .. } => {
                write!(out, "the client starts to read 4096 bytes on queue {queue}")
            }
            Self::Write { queue: 0, .. } => out.write_str("the client starts to write 4096 bytes"),
            Self::Write { queue, .. } => {
                write!(out, "the client starts to write 4096 bytes on queue {queue}")
            }
            Self::GetData { .. } => out.write_str("NEED_GET_DATA of a write"),
            Self::Stray { command, .. } => write!(out, "{command} of tag 0, uncalled for"),
            Self::Answer { .. } => out.write_str("the server answers every request it has"),
            Self::AnswerWrong { .. } => out.write_str("another thread of the server answers one"),
            Self::Copy { write: true, .. } => out.write_str("the server writes a request's data"),
            Self::Copy { .. } => out.write_str("the server reads a request's data"),
            Self::Register { .. } => out.write_str("REGISTER_IO_BUF of a request"),
            Self::Unregister { .. } => out.write_str("UNREGISTER_IO_BUF of the first registered"),
        }
    }
}

/// A sequence as a numbered list, one step a line.
#[must_use]
pub fn numbered(steps: &[Step]) -> String {
    let line = |(index, step): (usize, &Step)| format!("{:>3}. {step}\n", index + 1);
    steps.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sort::Recovery;
    use super::*;

    #[test]
    fn steps_survive_a_file() {
        let sort = Sort::plain(Recovery::FailIo, true);
        let steps = [
            Step::Add { dev: 0, sort },
            Step::Add { dev: 0, sort: sort.with_two_queues() },
            Step::Fetch { dev: 1, tag: 1, thread: 1 },
            Step::KillServer { server: 1 },
        ];
        let text = serde_json::to_string(&steps).unwrap();
        let plain = r#"{"do":"add","dev":0,"recovery":"fail-io","quiesce":true}"#;
        assert!(text.contains(plain), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Step>>(&text).unwrap(), steps);
    }

    #[test]
    fn files_from_before_threads_and_queues_are_read() {
        let read = |text| serde_json::from_str::<Step>(text).unwrap();
        let step = read(r#"{"do":"fetch","dev":0,"tag":1}"#);
        assert_eq!(step, Step::Fetch { dev: 0, tag: 1, thread: 0 });
        assert_eq!(read(r#"{"do":"read","dev":0}"#), Step::Read { dev: 0, queue: 0 });
        let step = read(r#"{"do":"open-block","dev":0}"#);
        assert_eq!(step, Step::OpenBlock { dev: 0, client: 0 });
        let step = read(r#"{"do":"fetch-all","dev":0}"#);
        assert_eq!(step, Step::FetchAll { dev: 0, spread: false });
    }

    #[test]
    fn a_list_is_numbered_from_one() {
        let text = numbered(&[Step::Stop { dev: 0 }, Step::KillServer { server: 1 }]);
        assert_eq!(text, "  1. device 0: STOP_DEV\n  2. SIGKILL to server 1\n");
    }
}
