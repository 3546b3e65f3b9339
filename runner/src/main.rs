//! The guest agent: PID 1 in the virtual machine.
//!
//! It reads a plan from a virtio-serial port, runs each scenario in a process of its own under a
//! watchdog, examines the kernel after each, writes every event to the port, and powers off. The same
//! binary is the process of a scenario (`runner scenario`), so that a scenario that crashes or hangs
//! takes nothing with it.
//!
//! `runner --here` does a plan on the machine it is started on, which may be used for something else: `here`.

mod agent;
mod child;
mod counters;
#[allow(unsafe_code)] // Dies of a page fault on purpose; safe code cannot.
mod crash;
mod debug;
mod health;
mod here;
mod init;
mod kselftest;
mod machine;
mod perf;
mod port;
mod processes;
mod scenario_process;

use std::process::ExitCode;

use scenarios::context::Hooks;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("scenario") => scenario_process::main(&arguments[1..]),
        Some("mutant") => {
            let name = arguments.get(1).map_or("", String::as_str);
            scenarios::mutant::process::main(name, Hooks { segfault: crash::segfault })
        }
        Some("model-server") => scenarios::model::server_main(),
        Some("fuzz-hand") => scenarios::fuzz::hand_main(),
        Some("fuzz-client") => scenarios::fuzz::client_main(),
        Some("fuzz-holder") => scenarios::fuzz::holder_main(),
        Some("mapper") => scenarios::startup::mapper(&arguments[1..]),
        Some(here::AGENT) => here::agent(),
        Some("successor") => scenarios::recovery::successor(&arguments[1..]),
        _ if std::process::id() == 1 => init::main(),
        _ => here::main(&arguments),
    }
}
