//! Mapping a queue's descriptors belongs to one process: the first that tries, until the char device is closed. Who got
//! the open file from it, over a fork or a socket, gets nothing.

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};

use ublk::raw::CharFile;
use ublk::uapi::desc_area_len_bytes;

use super::descriptors::page;
use crate::context::{Context, During, Stop};
use crate::rig::{EINVAL, Rig};
use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "startup/descriptors-of-another-process",
    title: "only the process that tried first may map the descriptors, until the char device is closed",
    covers: &["mmap.mm"],
    run: another_process,
    ..Scenario::DRIVER
}];

/// The other process: maps as many bytes of its standard input, and says how that ended on its only line.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let Some(len_bytes) = arguments.first().and_then(|text| text.parse().ok()) else {
        eprintln!("runner: mapper: give a length");
        return ExitCode::from(2);
    };
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(file) => {
            println!("{}", map(&CharFile::from(std::fs::File::from(file)), len_bytes));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("runner: mapper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// 0 or the negative errno.
fn map(file: &CharFile, len_bytes: usize) -> i32 {
    match file.map_at(0, len_bytes, false) {
        Ok(_) => 0,
        Err(error) => -error.raw_os_error().unwrap_or(i32::MAX),
    }
}

fn map_in_another_process(file: &CharFile, len_bytes: usize) -> Result<i32, Stop> {
    let inherited = file.file().try_clone().during("duplicate the descriptor")?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["mapper", &len_bytes.to_string()]).stdin(Stdio::from(inherited));
    let output = command.output().during("run the other process")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.trim().parse().during(format_args!("read what it said: {output:?}"))
}

fn another_process(context: &mut Context) -> Result<String, Stop> {
    let mut rig = Rig::ready(context, 1, 4)?;
    let bytes = rig.info.io_desc_stride_bytes();
    let len = desc_area_len_bytes(rig.info.queue_depth, bytes, page());
    let len = usize::try_from(len).during("size the mapping")?;
    let file = rig.open(context)?;
    context.check_result("mmap by the first process", map(&file, len), 0)?;
    let other = map_in_another_process(&file, len)?;
    context.check_result("mmap by another process", other, -EINVAL)?;
    context.check_result("another mmap by the first", map(&file, len), 0)?;
    drop(file);
    let mut told = String::from("EINVAL for the second process");
    // Seen: let go at the close on 7.3.4, kept over it on 7.2.13; before that nobody looked.
    if context.kernel.at_least(7, 3) {
        let file = rig.open(context)?;
        let other = map_in_another_process(&file, len)?;
        context.check_result("mmap by another process that is the first now", other, 0)?;
        context.check_result("mmap by the process that opened", map(&file, len), -EINVAL)?;
        drop(file);
        told.push_str(", and for the opener where it is the second");
    }
    rig.delete(context)?;
    Ok(told)
}
