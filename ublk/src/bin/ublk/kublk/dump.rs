//! What `list` prints of a device. Scripts cut it apart by columns, so every space counts.

use std::fmt::Write;

use ublk::ctrl::{Control, CtrlError};
use ublk::uapi::{DevInfo, DevState, Features, Params};

/// The whole text of device `id`, one newline after each line but the last.
pub(super) fn device(control: &mut Control, id: u32) -> Result<String, CtrlError> {
    let info = control.get_dev_info(id)?;
    let params = control.get_params(id)?;
    let mut queues = Vec::new();
    for queue in 0..info.nr_hw_queues {
        queues.push(control.get_queue_affinity(id, queue)?);
    }
    Ok(text(&info, &params, &queues))
}

fn text(info: &DevInfo, params: &Params, queues: &[Vec<u32>]) -> String {
    let block_bytes = 1_u64 << (params.basic.logical_bs_shift & 63);
    let mut text = format!(
        "dev id {}: nr_hw_queues {} queue_depth {} block size {block_bytes} dev_capacity {}\n",
        info.dev_id, info.nr_hw_queues, info.queue_depth, params.basic.dev_sectors
    );
    text += &format!(
        "\tmax rq size {} daemon pid {} flags {:#x} state {}",
        info.max_io_buf_bytes,
        info.ublksrv_pid,
        info.flags.bits(),
        state(info.state())
    );
    if info.flags.contains(Features::IO_DESC_SIZE) {
        text += &format!("\n\tio_desc_size {}", info.io_desc_size);
    }
    for (queue, cpus) in queues.iter().enumerate() {
        // Only the first CPU is a promise: a thread is bound to that one.
        let first = cpus.first().map(|cpu| format!("{cpu} ")).unwrap_or_default();
        // Writing to a String does not fail.
        let _ = write!(text, "\n\tqueue {queue}: affinity({first})");
    }
    text
}

/// The original has no word for FAIL_IO.
fn state(state: DevState) -> &'static str {
    match state {
        DevState::Dead => "DEAD",
        DevState::Live => "LIVE",
        DevState::Quiesced => "QUIESCED",
        _ => "UNKNOWN",
    }
}
