//! A successor that dies half way: `runner successor ID QUEUE0_TAGS` takes a device over, fetches that many tags of
//! queue 0, says so, and waits to be killed. A process of its own, for nothing but a process's death is one.

use std::process::ExitCode;
use std::time::Duration;

use ublk::ctrl::Control;
use ublk::device::Device;

/// The process. Its first line of output is `fetched`.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok());
    let (Some(id), Some(tags)) = (number(0), number(1)) else {
        eprintln!("runner: successor: give a device and a number of tags");
        return ExitCode::from(2);
    };
    match take_over(id, tags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runner: successor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn take_over(id: u32, tags: u32) -> Result<(), Box<dyn std::error::Error>> {
    let mut device = Device::recover(Control::open()?, id, Duration::from_secs(5))?;
    let tickets = device.open_queues()?;
    let first = tickets.into_iter().next().ok_or("the device has no queue")?;
    let _starting = device.begin_recovery()?;
    let mut queue = first.open()?;
    for tag in 0..tags {
        queue.fetch(tag)?;
    }
    println!("fetched");
    loop {
        std::thread::park();
    }
}
