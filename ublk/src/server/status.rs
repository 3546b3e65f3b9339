//! What a live server says about itself: one JSON document, the same in the library, on the socket and
//! in `ublk list`.

use serde::{Deserialize, Serialize};

use crate::queue::{CounterSnapshot, LatencySnapshot};
use crate::uapi::{Attrs, DevInfo, ParamTypes, Params, SECTOR_BYTES};

/// A device and its server at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The server's process.
    pub pid: u32,
    /// What kind of target, as a user would call it.
    pub target: String,
    /// The device as the kernel accepted it.
    pub info: DeviceStatus,
    /// The parameters it was started with.
    pub params: ParamsStatus,
    /// The counters, one entry per queue, in order.
    pub counters: Vec<CounterSnapshot>,
    /// How long requests took, one entry per queue, in order; empty unless the server was told to measure.
    #[serde(default)]
    pub latency: Vec<LatencySnapshot>,
}

/// A device in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceStatus {
    /// Its number.
    pub id: u32,
    /// `dead`, `live`, `quiesced` or `fail-io`.
    pub state: String,
    /// Queues.
    pub queues: u16,
    /// Tags per queue.
    pub depth: u16,
    /// Largest request, in bytes.
    pub max_io_bytes: u32,
    /// Features in effect, by name.
    pub flags: Vec<String>,
    /// The process that serves it, as the kernel knows it.
    pub server_pid: Option<i32>,
    /// The disk.
    pub block_device: String,
    /// The node its server speaks to.
    pub char_device: String,
}

/// Parameters in bytes and promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParamsStatus {
    /// Size of the disk, in bytes.
    pub size_bytes: u64,
    /// Logical block, in bytes.
    pub logical_block_bytes: u32,
    /// Physical block, in bytes.
    pub physical_block_bytes: u32,
    /// Largest request, in bytes.
    pub max_io_bytes: u64,
    /// Refuses writes.
    pub read_only: bool,
    /// Seeks cost.
    pub rotational: bool,
    /// Writes may be lost until a flush.
    pub volatile_cache: bool,
    /// Single writes can be made durable.
    pub fua: bool,
    /// Largest discard, in bytes; 0 for none.
    pub max_discard_bytes: u64,
    /// Largest write-zeroes, in bytes; 0 for none.
    pub max_write_zeroes_bytes: u64,
    /// Unit of discard, in bytes; 0 for none.
    pub discard_granularity_bytes: u32,
}

impl From<&DevInfo> for DeviceStatus {
    fn from(info: &DevInfo) -> Self {
        let id = info.dev_id;
        Self {
            id,
            state: info.state().name().to_lowercase().replace('_', "-"),
            queues: info.nr_hw_queues,
            depth: info.queue_depth,
            max_io_bytes: info.max_io_buf_bytes,
            flags: info.flags.names().into_iter().map(String::from).collect(),
            server_pid: (info.ublksrv_pid > 0).then_some(info.ublksrv_pid),
            block_device: format!("/dev/ublkb{id}"),
            char_device: format!("/dev/ublkc{id}"),
        }
    }
}

impl From<&Params> for ParamsStatus {
    fn from(params: &Params) -> Self {
        let basic = &params.basic;
        let has = |attr| basic.attrs.contains(attr);
        let discard = params.types.contains(ParamTypes::DISCARD).then_some(params.discard);
        let discard = discard.unwrap_or_default();
        // A device that was never configured has shifts of 0, and a foreign one may have any.
        let unit = |shift: u8| 1_u32.checked_shl(u32::from(shift)).unwrap_or(0);
        Self {
            size_bytes: basic.dev_sectors.saturating_mul(SECTOR_BYTES),
            logical_block_bytes: unit(basic.logical_bs_shift),
            physical_block_bytes: unit(basic.physical_bs_shift),
            max_io_bytes: u64::from(basic.max_sectors) * SECTOR_BYTES,
            read_only: has(Attrs::READ_ONLY),
            rotational: has(Attrs::ROTATIONAL),
            volatile_cache: has(Attrs::VOLATILE_CACHE),
            fua: has(Attrs::FUA),
            max_discard_bytes: u64::from(discard.max_discard_sectors) * SECTOR_BYTES,
            max_write_zeroes_bytes: u64::from(discard.max_write_zeroes_sectors) * SECTOR_BYTES,
            discard_granularity_bytes: discard.discard_granularity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::ParamsBuilder;
    use crate::target::Capabilities;
    use crate::uapi::Features;

    #[test]
    fn a_document_survives_its_own_json() {
        let capabilities = Capabilities { flush: true, discard: true, ..Capabilities::default() };
        let params = ParamsBuilder::new(64 << 20, capabilities).build().unwrap();
        let mut info = DevInfo::new(2, 64, 512 << 10, Features::USER_RECOVERY);
        info.dev_id = 7;
        info.ublksrv_pid = -1;
        let status = Status {
            pid: 12,
            target: "ram".into(),
            info: DeviceStatus::from(&info),
            params: ParamsStatus::from(&params),
            counters: vec![CounterSnapshot::default(); 2],
            latency: vec![LatencySnapshot::default(); 2],
        };
        assert_eq!(status.info.server_pid, None);
        assert_eq!(status.info.flags, ["USER_RECOVERY"]);
        assert_eq!(status.info.block_device, "/dev/ublkb7");
        assert_eq!(status.params.size_bytes, 64 << 20);
        assert!(status.params.volatile_cache && !status.params.fua);
        let json = serde_json::to_string(&status).unwrap();
        // Others read these keys without this crate.
        let document: serde_json::Value = serde_json::from_str(&json).unwrap();
        let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["counters", "info", "latency", "params", "pid", "target"]);
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }

    #[test]
    fn parameters_nobody_set_are_zeroes_and_no_panic() {
        let mut params = Params::default();
        assert_eq!(ParamsStatus::from(&params).size_bytes, 0);
        params.basic.logical_bs_shift = 200;
        params.basic.dev_sectors = u64::MAX;
        assert_eq!(ParamsStatus::from(&params).logical_block_bytes, 0);
    }
}
