//! What the kernel says of a block device: whether two that are compared are alike is not for their servers
//! to say.

use std::path::Path;

use reports::perf::DeviceFacts;
use scenarios::block::sysfs_block;

use super::subject::ublk_features;

/// Looks it up; `id` is that of a ublk device.
pub(super) fn of(device: &Path, id: Option<u32>) -> Result<DeviceFacts, String> {
    let name = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let text = |value: &str| sysfs_block(name, value).map_err(|stop| format!("{stop:?}"));
    let number = |value: &str| -> Result<u64, String> {
        let text = text(value)?;
        text.parse().map_err(|_| format!("{value} of {name} is {text:?}"))
    };
    let queues = std::fs::read_dir(Path::new("/sys/block").join(name).join("mq"));
    Ok(DeviceFacts {
        len_bytes: number("size")? * 512,
        logical_block_bytes: u32::try_from(number("queue/logical_block_size")?).unwrap_or(u32::MAX),
        io_bytes_max: number("queue/max_sectors_kb")? << 10,
        queues: queues.map_or(0, |entries| u32::try_from(entries.flatten().count()).unwrap_or(0)),
        tags: number("mq/0/nr_tags").ok().and_then(|tags| u32::try_from(tags).ok()),
        scheduler: text("queue/scheduler").map(|text| chosen(&text)).unwrap_or_default(),
        volatile_cache: text("queue/write_cache")? == "write back",
        features: id.map(ublk_features).transpose()?.unwrap_or_default(),
    })
}

/// The one in brackets of `none [mq-deadline]`; all of it where there is no choice.
fn chosen(text: &str) -> String {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(text, |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_in_use_is_the_one_in_brackets() {
        assert_eq!(chosen("none [mq-deadline]"), "mq-deadline");
        assert_eq!(chosen("[none] mq-deadline"), "none");
        assert_eq!(chosen("none"), "none");
    }
}
