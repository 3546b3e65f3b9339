//! Mappings of the char device at any place, and what can be done to them; positional reads and writes of it.

use std::os::unix::fs::FileExt;

use ublk::raw::{CharMapping, Protection};

use super::super::act::Act;
use super::device::Own;
use super::{Problem, Reply, left, result_of};

/// Mappings, the last one made last.
#[derive(Default)]
pub(super) struct Maps(Vec<CharMapping>);

/// Most mappings of a case.
const MAPS_MAX: usize = 16;

impl Maps {
    /// Does an act that is about memory; none for another one.
    pub(super) fn obey(&mut self, own: &mut Own, act: &Act) -> Result<Option<Reply>, Problem> {
        let result = match act {
            Act::Map { offset, len, prot, private } => {
                let Some(file) = own.file.as_ref().filter(|_| self.0.len() < MAPS_MAX) else {
                    return Ok(Some(left("the char device is not open here")));
                };
                let made = file.map_any(*offset, *len as usize, protection(*prot), *private);
                result_of(made.map(|mapping| self.0.push(mapping)))?
            }
            Act::Pread { position, len } => {
                let Some(file) = own.file.as_ref() else {
                    return Ok(Some(left("the char device is not open here")));
                };
                let mut buffer = vec![0; *len as usize];
                count_of(file.file().read_at(&mut buffer, *position))?
            }
            Act::Pwrite { position, len } => {
                let Some(file) = own.file.as_ref() else {
                    return Ok(Some(left("the char device is not open here")));
                };
                count_of(file.file().write_at(&vec![0x5a; *len as usize], *position))?
            }
            Act::Protect { .. } | Act::Remap { .. } | Act::Trim { .. } | Act::Look => {
                let Some(mapping) = self.0.last_mut() else {
                    return Ok(Some(left("nothing is mapped")));
                };
                match act {
                    Act::Protect { prot } => result_of(mapping.protect(protection(*prot)))?,
                    Act::Remap { len } => result_of(mapping.resize(*len as usize))?,
                    Act::Trim { front, len } => result_of(mapping.trim(*front, *len as usize))?,
                    _ => {
                        // What is there is the kernel's; that it can be read is what is looked at.
                        std::hint::black_box(mapping.look());
                        0
                    }
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(Reply::Result { result }))
    }
}

fn protection(bits: u8) -> Protection {
    Protection { read: bits & 1 != 0, write: bits & 2 != 0, exec: bits & 4 != 0 }
}

fn count_of(done: std::io::Result<usize>) -> Result<i64, Problem> {
    match done {
        Ok(bytes) => Ok(i64::try_from(bytes)?),
        Err(error) => result_of(Err::<(), _>(error)),
    }
}
