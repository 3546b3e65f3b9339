//! The process that does what a case says: `runner fuzz-hand`. It may be killed, may hang, and takes what it holds with it; so
//! a case costs a process and nothing more.
//!
//! It is told one act after the other, a line of JSON each, and says what came of it, a line each.

mod build;
mod device;
mod holders;
mod memory;
mod shots;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::device::Own;
use self::holders::Holders;
use self::memory::Maps;
use self::shots::Guns;
use super::act::Act;

pub(super) use self::device::CLIENT_SECTOR;
pub use self::holders::main as holder_main;

/// What it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Number of the act in its case.
    pub(super) act: u16,
    /// The act.
    pub(super) what: Act,
    /// Nobody has the char device open, as far as is known.
    pub(super) free: bool,
    /// Of each shot whether it has to be answered.
    pub(super) must: Vec<bool>,
    /// How long an answer that must come is waited for, in milliseconds.
    pub(super) patience_ms: u64,
    /// The device that everything else is to leave alone.
    pub(super) bystander: u32,
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The act that sent it.
    pub(super) act: u16,
    /// Which of its shots.
    pub(super) shot: u16,
    /// The result.
    pub(super) res: i32,
    /// More are to come.
    pub(super) more: bool,
}

/// What it says of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(super) enum Reply {
    /// A device is there.
    Device { id: u32, queues: u16, depth: u16, desc_bytes: u16 },
    /// Completions that have come, of this act and of earlier ones; `sent` tells which shots the kernel was given.
    Answers { sent: Vec<bool>, answers: Vec<Answer> },
    /// 0 or a negative errno, or a number of bytes.
    Result { result: i64 },
    /// It cannot be done here, and that says nothing of the kernel.
    Left { why: String },
    /// It could not do its own work.
    Trouble { message: String },
}

/// Why an act failed: an error of the hand's own doing, or of a right command, which is worth telling.
pub(super) type Problem = Box<dyn std::error::Error>;

/// Everything that it holds.
#[derive(Default)]
struct Hand {
    // Dropped in this order: rings before the files they use.
    guns: Guns,
    maps: Maps,
    holders: Holders,
    own: Option<Own>,
}

/// The process. Ends with standard input.
#[must_use]
pub fn main() -> ExitCode {
    let mut hand = Hand::default();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let reply = match serde_json::from_str::<Order>(&line) {
            Ok(order) => hand
                .obey(&order)
                .unwrap_or_else(|error| Reply::Trouble { message: error.to_string() }),
            Err(error) => Reply::Trouble { message: error.to_string() },
        };
        let Ok(mut text) = serde_json::to_string(&reply) else { return ExitCode::FAILURE };
        text.push('\n');
        let mut output = io::stdout();
        if output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_err() {
            break;
        }
    }
    // Everything is closed by the kernel, rings and files in its own order: that is the usual death of a server.
    std::process::exit(0)
}

impl Hand {
    fn obey(&mut self, order: &Order) -> Result<Reply, Problem> {
        let patience = Duration::from_millis(order.patience_ms);
        match &order.what {
            Act::Device { features, queues, depth, stage } => {
                let own = Own::make(*features, *queues, *depth, *stage, patience)?;
                let (id, info) = (own.id, own.info);
                self.own = Some(own);
                return Ok(Reply::Device {
                    id,
                    queues: info.nr_hw_queues,
                    depth: info.queue_depth,
                    desc_bytes: info.io_desc_stride_bytes(),
                });
            }
            Act::Shots { ring, shots, races } => {
                return self.guns.fire(self.own.as_mut(), order, *ring, shots, races);
            }
            _ => {}
        }
        let Some(own) = &mut self.own else { return Ok(left("there is no device")) };
        if let Some(reply) = self.maps.obey(own, &order.what)? {
            return Ok(reply);
        }
        if let Some(reply) = self.holders.obey(own, &order.what, order.free, patience)? {
            return Ok(reply);
        }
        match &order.what {
            Act::Pause => {
                own.look(Duration::from_millis(20))?;
                Ok(Reply::Result { result: 0 })
            }
            Act::Serve => {
                own.serve_all()?;
                Ok(Reply::Result { result: 0 })
            }
            _ => Ok(left("that is not the hand's to do")),
        }
    }
}

fn left(why: &str) -> Reply {
    Reply::Left { why: why.to_owned() }
}

/// 0 or a negative errno of a call that was made.
fn result_of<T>(done: io::Result<T>) -> Result<i64, Problem> {
    match done {
        Ok(_) => Ok(0),
        Err(error) => match error.raw_os_error() {
            Some(errno) => Ok(-i64::from(errno)),
            None => Err(error.into()),
        },
    }
}
