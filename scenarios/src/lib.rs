//! The suite: what is asked of a ublk driver and of a ublk server, and how the answer is judged.
//!
//! A [`Scenario`] is a value in the [`catalogue`]; the agent in the guest runs one in a process of its
//! own. Driver scenarios speak the raw protocol and judge the kernel; server scenarios drive a block
//! device and a process and judge whoever serves it.

#![forbid(unsafe_code)]

pub mod abi;
pub mod abilities;
pub mod block;
pub mod canary;
pub mod catalogue;
pub mod command;
pub mod context;
pub mod data;
pub mod devices;
pub mod errno;
pub mod fuzz;
pub mod hazard;
pub mod kernel;
pub mod kselftest;
pub mod lifecycle;
pub mod model;
pub mod modes;
pub mod mutant;
pub mod oracle;
pub mod probe;
pub mod process;
pub mod property;
pub mod recovery;
pub mod rig;
pub mod scenario;
pub mod server;
pub mod signature;
pub mod startup;
pub mod targets;
pub mod usage;
pub mod user_processes;
pub mod workload;

pub use context::{Context, Stop};
pub use scenario::{Family, Scenario};
