//! Control commands and their replies as values, and the translation to and from wire bytes.

use zerocopy::{FromBytes, IntoBytes};

use crate::sys::arena::Arena;
use crate::sys::shared::SharedSpan;
use crate::uapi::{
    CtrlCmd, CtrlOp, DevInfo, FEATURES_LEN_BYTES, Features, Params, QUEUE_ID_NONE, ShmemBufFlags,
    ShmemBufReg,
};

/// Bytes of the CPU mask asked for: 8192 CPUs, the most x86-64 is built for.
const CPU_MASK_LEN_BYTES: usize = 1024;

/// One control command with its arguments.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command {
    /// What the driver can do. Available since Linux 6.5.
    GetFeatures,
    /// Create a device. Available since Linux 6.0.
    AddDev(DevInfo),
    /// Delete a device and wait for its id. Available since Linux 6.0.
    DelDev {
        /// Device id.
        dev_id: u32,
    },
    /// Delete a device without waiting. Available since Linux 6.9.
    DelDevAsync {
        /// Device id.
        dev_id: u32,
    },
    /// Wait for all tags and make the disk. Available since Linux 6.0.
    StartDev {
        /// Device id.
        dev_id: u32,
        /// Process (not thread) that opened `/dev/ublkcN`.
        pid: i32,
    },
    /// Remove the disk. Available since Linux 6.0.
    StopDev {
        /// Device id.
        dev_id: u32,
    },
    /// Remove the disk unless it is in use. Available since Linux 7.0.
    TryStopDev {
        /// Device id.
        dev_id: u32,
    },
    /// Store parameters. Available since Linux 6.0.
    SetParams {
        /// Device id.
        dev_id: u32,
        /// The parameters, whose `len` and `types` count.
        params: Params,
    },
    /// Read parameters. Available since Linux 6.0.
    GetParams {
        /// Device id.
        dev_id: u32,
    },
    /// Read the device info. Available since Linux 6.0.
    GetDevInfo {
        /// Device id.
        dev_id: u32,
    },
    /// Read the device info; always sends the device's path. Available since Linux 6.3.
    GetDevInfo2 {
        /// Device id.
        dev_id: u32,
    },
    /// Read a queue's CPUs. Available since Linux 6.0.
    GetQueueAffinity {
        /// Device id.
        dev_id: u32,
        /// Queue.
        queue: u16,
    },
    /// Ask whether a new server may take over. Available since Linux 6.1.
    StartUserRecovery {
        /// Device id.
        dev_id: u32,
    },
    /// Wait for all tags and go live again. Available since Linux 6.1.
    EndUserRecovery {
        /// Device id.
        dev_id: u32,
        /// Process (not thread) that opened `/dev/ublkcN`.
        pid: i32,
    },
    /// Set the capacity. Available since Linux 6.16.
    UpdateSize {
        /// Device id.
        dev_id: u32,
        /// Capacity in 512-byte sectors; the driver takes any number.
        dev_sectors: u64,
    },
    /// Cancel idle tags so that the server may be replaced. Available since Linux 6.16.
    QuiesceDev {
        /// Device id.
        dev_id: u32,
        /// Milliseconds to wait for idle tags, 0 for no limit.
        timeout_ms: u32,
    },
    /// Register an arena's whole body as shared memory. Available since Linux 7.1.
    ///
    /// Arenas only: they are never unmapped, so the pages the kernel pins stay what they are.
    RegBuf {
        /// Device id.
        dev_id: u32,
        /// The memory.
        arena: Arena,
        /// How to pin it.
        flags: ShmemBufFlags,
    },
    /// Register memory that is shared with the device's clients. Available since Linux 7.1.
    RegShared {
        /// Device id.
        dev_id: u32,
        /// The memory: [`SharedMemory::span`](crate::device::SharedMemory::span).
        memory: SharedSpan,
    },
    /// Take a registration back. Available since Linux 7.1.
    UnregBuf {
        /// Device id.
        dev_id: u32,
        /// What RegBuf replied.
        index: u32,
    },
}

impl Command {
    /// The opcode.
    #[must_use]
    pub fn op(&self) -> CtrlOp {
        match self {
            Self::GetFeatures => CtrlOp::GetFeatures,
            Self::AddDev(_) => CtrlOp::AddDev,
            Self::DelDev { .. } => CtrlOp::DelDev,
            Self::DelDevAsync { .. } => CtrlOp::DelDevAsync,
            Self::StartDev { .. } => CtrlOp::StartDev,
            Self::StopDev { .. } => CtrlOp::StopDev,
            Self::TryStopDev { .. } => CtrlOp::TryStopDev,
            Self::SetParams { .. } => CtrlOp::SetParams,
            Self::GetParams { .. } => CtrlOp::GetParams,
            Self::GetDevInfo { .. } => CtrlOp::GetDevInfo,
            Self::GetDevInfo2 { .. } => CtrlOp::GetDevInfo2,
            Self::GetQueueAffinity { .. } => CtrlOp::GetQueueAffinity,
            Self::StartUserRecovery { .. } => CtrlOp::StartUserRecovery,
            Self::EndUserRecovery { .. } => CtrlOp::EndUserRecovery,
            Self::UpdateSize { .. } => CtrlOp::UpdateSize,
            Self::QuiesceDev { .. } => CtrlOp::QuiesceDev,
            Self::RegBuf { .. } | Self::RegShared { .. } => CtrlOp::RegBuf,
            Self::UnregBuf { .. } => CtrlOp::UnregBuf,
        }
    }

    /// The device the command is about; `None` for GET_FEATURES.
    #[must_use]
    pub fn dev_id(&self) -> Option<u32> {
        match *self {
            Self::GetFeatures => None,
            Self::AddDev(info) => Some(info.dev_id),
            Self::DelDev { dev_id }
            | Self::DelDevAsync { dev_id }
            | Self::StartDev { dev_id, .. }
            | Self::StopDev { dev_id }
            | Self::TryStopDev { dev_id }
            | Self::SetParams { dev_id, .. }
            | Self::GetParams { dev_id }
            | Self::GetDevInfo { dev_id }
            | Self::GetDevInfo2 { dev_id }
            | Self::GetQueueAffinity { dev_id, .. }
            | Self::StartUserRecovery { dev_id }
            | Self::EndUserRecovery { dev_id, .. }
            | Self::UpdateSize { dev_id, .. }
            | Self::QuiesceDev { dev_id, .. }
            | Self::RegBuf { dev_id, .. }
            | Self::RegShared { dev_id, .. }
            | Self::UnregBuf { dev_id, .. } => Some(dev_id),
        }
    }

    /// The inline argument.
    fn data(&self) -> u64 {
        match *self {
            Self::StartDev { pid, .. } | Self::EndUserRecovery { pid, .. } => pid as i64 as u64,
            Self::GetQueueAffinity { queue, .. } => u64::from(queue),
            Self::UpdateSize { dev_sectors, .. } => dev_sectors,
            Self::QuiesceDev { timeout_ms, .. } => u64::from(timeout_ms),
            Self::UnregBuf { index, .. } => u64::from(index),
            _ => 0,
        }
    }

    /// The buffer as it goes to the kernel, without a device path.
    fn buffer(&self) -> Vec<u8> {
        match self {
            Self::GetFeatures => vec![0; usize::from(FEATURES_LEN_BYTES)],
            Self::AddDev(info) => info.as_bytes().to_vec(),
            Self::SetParams { params, .. } => params.as_bytes().to_vec(),
            Self::GetParams { .. } => {
                let wanted = Params { len: size_of::<Params>() as u32, ..Params::default() };
                wanted.as_bytes().to_vec()
            }
            Self::GetDevInfo { .. } | Self::GetDevInfo2 { .. } => vec![0; size_of::<DevInfo>()],
            Self::GetQueueAffinity { .. } => vec![0; CPU_MASK_LEN_BYTES],
            Self::RegBuf { arena, flags, .. } => {
                let len = arena.len_bytes() as u64;
                let reg = ShmemBufReg { addr: arena.addr(0), len, flags: *flags, reserved: 0 };
                reg.as_bytes().to_vec()
            }
            Self::RegShared { memory, .. } => {
                let flags =
                    if memory.writable { ShmemBufFlags::empty() } else { ShmemBufFlags::READ_ONLY };
                let (addr, len) = (memory.addr, memory.len_bytes);
                ShmemBufReg { addr, len, flags, reserved: 0 }.as_bytes().to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// Whether the driver looks for a device path in front of the buffer.
    ///
    /// On a privileged device the path is not skipped, so it must be sent only where it is looked for.
    fn takes_path(&self, unprivileged: bool) -> bool {
        match self {
            Self::GetFeatures | Self::AddDev(_) => false,
            Self::GetDevInfo2 { .. } => true,
            _ => unprivileged,
        }
    }

    /// Payload and buffer; `addr` and `len` are left for whoever places the buffer.
    pub(super) fn encode(&self, unprivileged: bool) -> (CtrlCmd, Vec<u8>) {
        let mut cmd = CtrlCmd {
            dev_id: self.dev_id().unwrap_or(u32::MAX),
            queue_id: QUEUE_ID_NONE,
            data: [self.data()],
            ..CtrlCmd::default()
        };
        let mut buffer = Vec::new();
        if self.takes_path(unprivileged) {
            buffer.extend(super::char_path(cmd.dev_id).into_os_string().into_encoded_bytes());
            cmd.dev_path_len = buffer.len() as u16; // "/dev/ublkc" and ten digits at most.
        }
        buffer.extend(self.buffer());
        (cmd, buffer)
    }
}

/// What a successful command brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// GET_FEATURES.
    Features(Features),
    /// ADD_DEV, GET_DEV_INFO, GET_DEV_INFO2.
    DevInfo(DevInfo),
    /// GET_PARAMS.
    Params(Params),
    /// GET_QUEUE_AFFINITY: CPU numbers, ascending.
    Affinity(Vec<u32>),
    /// REG_BUF: index of the registration.
    BufIndex(u32),
}

impl Reply {
    /// Reads the reply of a command that ended with `result >= 0` from its buffer.
    pub(super) fn decode(op: CtrlOp, result: i32, path_len: usize, buffer: &[u8]) -> Option<Self> {
        let body = buffer.get(path_len..)?;
        Some(match op {
            CtrlOp::GetFeatures => {
                Self::Features(Features::from_bits(u64::read_from_bytes(body).ok()?))
            }
            CtrlOp::AddDev | CtrlOp::GetDevInfo | CtrlOp::GetDevInfo2 => {
                Self::DevInfo(DevInfo::read_from_bytes(body).ok()?)
            }
            CtrlOp::GetParams => Self::Params(Params::read_from_bytes(body).ok()?),
            CtrlOp::GetQueueAffinity => Self::Affinity(cpus(body)),
            CtrlOp::RegBuf => Self::BufIndex(u32::try_from(result).ok()?),
            _ => Self::Done,
        })
    }
}

/// Numbers of the bits set in a CPU mask, which is an array of native words.
fn cpus(mask: &[u8]) -> Vec<u32> {
    let (words, _) = mask.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    words
        .zip((0u32..).step_by(64))
        .flat_map(|(word, first)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first + bit)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_dev_names_the_same_device_twice_and_no_queue() {
        let info = DevInfo { dev_id: 7, ..DevInfo::new(2, 64, 1 << 20, Features::empty()) };
        let (cmd, buffer) = Command::AddDev(info).encode(true);
        assert_eq!((cmd.dev_id, cmd.queue_id, cmd.dev_path_len), (7, 0xffff, 0));
        assert_eq!(buffer, info.as_bytes());
    }

    #[test]
    fn the_queue_of_an_affinity_travels_in_data() {
        let (cmd, buffer) = Command::GetQueueAffinity { dev_id: 1, queue: 3 }.encode(false);
        assert_eq!((cmd.queue_id, cmd.data), (0xffff, [3]));
        assert!(buffer.len().is_multiple_of(8));
    }

    #[test]
    fn a_path_is_sent_exactly_where_the_driver_skips_it() {
        let path = b"/dev/ublkc12";
        let (cmd, buffer) = Command::GetDevInfo2 { dev_id: 12 }.encode(false);
        assert_eq!(usize::from(cmd.dev_path_len), path.len());
        assert_eq!(buffer.len(), path.len() + 64);
        assert!(buffer.starts_with(path));

        let (cmd, buffer) = Command::StopDev { dev_id: 12 }.encode(true);
        assert_eq!((usize::from(cmd.dev_path_len), buffer.as_slice()), (path.len(), &path[..]));
        let (cmd, buffer) = Command::StopDev { dev_id: 12 }.encode(false);
        assert_eq!((cmd.dev_path_len, buffer.len()), (0, 0));
        let (cmd, buffer) = Command::GetFeatures.encode(true);
        assert_eq!((cmd.dev_path_len, buffer.len()), (0, 8));
    }

    #[test]
    fn a_negative_pid_stays_negative_in_64_bits() {
        let (cmd, _) = Command::StartDev { dev_id: 0, pid: -1 }.encode(false);
        assert_eq!(cmd.data, [u64::MAX]);
    }

    #[test]
    fn replies_are_read_behind_the_path() {
        let info = DevInfo { dev_id: 5, ..DevInfo::new(1, 1, 4096, Features::USER_COPY) };
        let mut buffer = b"/dev/ublkc5".to_vec();
        buffer.extend(info.as_bytes());
        assert_eq!(Reply::decode(CtrlOp::GetDevInfo2, 0, 11, &buffer), Some(Reply::DevInfo(info)));
        assert_eq!(Reply::decode(CtrlOp::GetDevInfo2, 0, 10, &buffer), None);
        assert_eq!(Reply::decode(CtrlOp::RegBuf, 9, 0, &[]), Some(Reply::BufIndex(9)));
        assert_eq!(Reply::decode(CtrlOp::StopDev, 0, 0, &[]), Some(Reply::Done));
    }

    #[test]
    fn a_mask_becomes_cpu_numbers() {
        let mut mask = [0; 24];
        mask[..8].copy_from_slice(&0b1010u64.to_ne_bytes());
        mask[8..16].copy_from_slice(&(1u64 << 63).to_ne_bytes());
        mask[16..].copy_from_slice(&1u64.to_ne_bytes());
        assert_eq!(cpus(&mask), [1, 3, 127, 128]);
    }
}
