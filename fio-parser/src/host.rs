//! What fio says about the machine rather than a job: block devices and idle processors.

use std::collections::BTreeMap;

use crate::units::Millis;
use crate::walk::{FieldError, Node, Object, UnknownFields};

/// Activity of one block device during the run, from `/sys/block/*/stat`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskUtil {
    /// Kernel name of the device.
    pub name: String,
    /// Reads completed.
    pub read_ios: u64,
    /// Writes completed.
    pub write_ios: u64,
    /// Sectors (512 bytes) read. Available since fio 3.36.
    pub read_sectors: Option<u64>,
    /// Sectors (512 bytes) written. Available since fio 3.36.
    pub write_sectors: Option<u64>,
    /// Reads merged.
    pub read_merges: u64,
    /// Writes merged.
    pub write_merges: u64,
    /// Time spent in reads, summed over requests.
    pub read_ticks: Millis,
    /// Time spent in writes, summed over requests.
    pub write_ticks: Millis,
    /// Time requests spent queued, summed over requests.
    pub in_queue: Millis,
    /// Time the device was busy, in percent.
    pub util_percent: f64,
    /// Averages over the member devices of a stacked device.
    pub aggregate: Option<DiskAggregate>,
}

/// Averages over the member devices of a stacked device; fio's `aggr_*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskAggregate {
    /// Reads completed.
    pub read_ios: u64,
    /// Writes completed.
    pub write_ios: u64,
    /// Sectors read. Available since fio 3.36.
    pub read_sectors: Option<u64>,
    /// Sectors written. Available since fio 3.36.
    pub write_sectors: Option<u64>,
    /// Reads merged.
    pub read_merges: u64,
    /// Writes merged.
    pub write_merges: u64,
    /// Time spent in reads.
    pub read_ticks: Millis,
    /// Time spent in writes.
    pub write_ticks: Millis,
    /// Time requests spent queued.
    pub in_queue: Millis,
    /// Highest busy time of a member, in percent.
    pub util_percent: f64,
}

/// Idleness measured by `--idle-prof`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuIdleness {
    /// Percent by field as fio names them: `system`, `cpu-0` and so on, `unit_mean`, `unit_stddev`.
    pub fields: BTreeMap<String, f64>,
}

impl DiskUtil {
    pub(crate) fn read(node: Node, unknown: &mut UnknownFields) -> Result<Self, FieldError> {
        let mut object = node.object()?;
        let disk = Self {
            name: object.required("name")?,
            read_ios: object.required("read_ios")?,
            write_ios: object.required("write_ios")?,
            read_sectors: object.optional("read_sectors")?,
            write_sectors: object.optional("write_sectors")?,
            read_merges: object.required("read_merges")?,
            write_merges: object.required("write_merges")?,
            read_ticks: object.required("read_ticks")?,
            write_ticks: object.required("write_ticks")?,
            in_queue: object.required("in_queue")?,
            util_percent: object.required("util")?,
            aggregate: DiskAggregate::read(&mut object)?,
        };
        object.finish(unknown);
        Ok(disk)
    }
}

impl DiskAggregate {
    fn read(object: &mut Object) -> Result<Option<Self>, FieldError> {
        let Some(read_ios) = object.optional("aggr_read_ios")? else { return Ok(None) };
        // fio spells two names in the singular in some releases and in the plural in others.
        let merges = |object: &mut Object, singular: &str, plural: &str| {
            Ok::<u64, FieldError>(match object.optional(singular)? {
                Some(merges) => merges,
                None => object.required(plural)?,
            })
        };
        Ok(Some(Self {
            read_ios,
            write_ios: object.required("aggr_write_ios")?,
            read_sectors: object.optional("aggr_read_sectors")?,
            write_sectors: object.optional("aggr_write_sectors")?,
            read_merges: merges(object, "aggr_read_merge", "aggr_read_merges")?,
            write_merges: merges(object, "aggr_write_merge", "aggr_write_merges")?,
            read_ticks: object.required("aggr_read_ticks")?,
            write_ticks: object.required("aggr_write_ticks")?,
            in_queue: object.required("aggr_in_queue")?,
            util_percent: object.required("aggr_util")?,
        }))
    }
}

impl CpuIdleness {
    pub(crate) fn read(node: Node) -> Result<Self, FieldError> {
        let fields = node
            .object()?
            .into_entries()
            .map(|(name, node)| Ok((name, node.scalar()?)))
            .collect::<Result<_, FieldError>>()?;
        Ok(Self { fields })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stacked_device_has_averages_under_the_misspelt_key() {
        let value = json!({
            "name": "dm-0", "read_ios": 1, "write_ios": 2, "read_merges": 0, "write_merges": 0,
            "read_ticks": 3, "write_ticks": 4, "in_queue": 7, "util": 12.5,
            "aggr_read_ios": 1, "aggr_write_ios": 2, "aggr_read_merges": 5, "aggr_write_merge": 6,
            "aggr_read_ticks": 3, "aggr_write_ticks": 4, "aggr_in_queue": 7, "aggr_util": 99.0
        });
        let mut unknown = UnknownFields::new();
        let disk = DiskUtil::read(Node::root(value), &mut unknown).unwrap();
        let aggregate = disk.aggregate.unwrap();
        assert_eq!((aggregate.read_merges, aggregate.write_merges), (5, 6));
        assert_eq!(disk.read_sectors, None);
        assert!(unknown.is_empty());
    }
}
