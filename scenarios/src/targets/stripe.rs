//! The stripe: generated I/O, and where its bytes are on the members.

use reports::budget::BudgetClass;
use reports::event::FailureKind;

use super::scratch::Scratch;
use super::{signed, write_both};
use crate::block::{BlockDevice, page_bytes};
use crate::context::{Context, Stop};
use crate::data::scattered::{self, Setup};
use crate::oracle::Reference;
use crate::probe;
use crate::process::ServerProcess;
use crate::scenario::Scenario;
use crate::signature::first_difference;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "targets/scattered-stripe",
        title: "a stripe of three files keeps scattered I/O",
        covers: &["S4", "S5", "S13"],
        budget: BudgetClass::Long,
        run: |context| {
            let setup =
                Setup { target: "stripe", queues: 2, depth: 16, block_bytes: 512, options: &[] };
            scattered::run(context, setup)
        },
        ..Scenario::SERVER
    },
    Scenario {
        id: "targets/stripe-places-its-chunks",
        title: "each chunk of a stripe is on the member whose turn it is, and a discard frees it there",
        covers: &["S4", "iod.DISCARD"],
        run: places_chunks,
        ..Scenario::SERVER
    },
];

const MEMBERS: usize = 3;

/// Chunks of which a half is whole pages: less of a file is not given back.
fn chunk_bytes() -> usize {
    (16 << 10).max(2 * page_bytes())
}

/// What member `number` should hold: every third chunk of the device.
fn of_member(device: &[u8], number: usize) -> Vec<u8> {
    device.chunks(chunk_bytes()).skip(number).step_by(MEMBERS).flatten().copied().collect()
}

fn places_chunks(context: &mut Context) -> Result<String, Stop> {
    const BLKDISCARD: &str = "/sbin/blkdiscard";
    probe::program(BLKDISCARD)?;
    let members: Vec<Scratch> =
        (0..MEMBERS).map(|number| Scratch::new(&format!("member-{number}"))).collect();
    let chunk_bytes = chunk_bytes();
    let size_bytes = MEMBERS * chunk_bytes * 32;
    let (size, chunk) = (size_bytes.to_string(), chunk_bytes.to_string());
    let paths: Vec<String> = members.iter().map(Scratch::text).collect();
    let mut arguments = vec!["stripe", "--size", &size, "--chunk-size", &chunk];
    for path in &paths {
        arguments.extend(["--path", path]);
    }
    let server = ServerProcess::start(context, &arguments)?;
    let device = BlockDevice::open(&server.live.block_device, context.command_timeout())?;
    let reference = Reference::zeros("stripe", size_bytes as u64)?;
    let content = signed(0, size_bytes, 1, context.seed);
    write_both(&device, &reference, 0, &content)?;
    device.flush()?;
    let mut held = 0;
    for (number, member) in members.iter().enumerate() {
        let told = first_difference(0, &member.read()?, &of_member(&content, number));
        context.check(
            FailureKind::DataMismatch,
            format_args!("member {number} holds its chunks (told by their place there): {told:?}"),
            told.is_none(),
        )?;
        held += member.allocated_bytes()?;
    }
    // From the middle of a chunk to the middle of one, over several rows.
    let (offset, len) = (chunk_bytes / 2, 7 * chunk_bytes);
    let node = server.live.block_device.display().to_string();
    let (offset_text, len_text) = (offset.to_string(), len.to_string());
    probe::run(context, BLKDISCARD, &["-f", "-o", &offset_text, "-l", &len_text, &node])?;
    reference.write(offset as u64, &vec![0; len])?;
    let mut left = 0;
    for member in &members {
        left += member.allocated_bytes()?;
    }
    context.check_eq(
        FailureKind::State,
        "bytes that the discard freed on all members",
        &(held - left),
        &(len as u64),
    )?;
    let md5 = reference.check_device(context, &device, "after the discard")?;
    drop(device);
    server.stop(context)?;
    Ok(format!("{MEMBERS} members, chunks of {chunk_bytes}, MD5 {md5}"))
}
