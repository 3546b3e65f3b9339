//! A safe door to the raw protocol, for those who must send *wrong* commands: the conformance suite.
//!
//! Anything may be wrong but an address. A field that the kernel takes for one is an [`Addr`], which names memory
//! that is there for ever, or memory that is not there at all; so no safe call makes the kernel write into memory
//! that Rust owns, whatever the opcode, the device and the ring's fate. Servers use `queue`, not this.

mod file;
mod ring;
mod sqe;
mod wild;

pub use file::{BlockFile, CharFile, ControlFile, DecoyFile};
pub use ring::RawRing;
pub use sqe::{CtrlPayload, IoPayload, RawSqe, SqeFlags};
pub use wild::AnyFile;

pub use crate::sys::addr::{Addr, SqeAddr};
pub use crate::sys::arena::Arena;
pub use crate::sys::char_mapping::{CharMapping, Protection};
pub use crate::sys::desc::DescArea;
pub use crate::sys::elements::{BatchElement, ElementBuffer};
pub use crate::sys::forked::Forked;
pub use crate::sys::harmless::Ordinary;
pub use crate::sys::metadata_attr::{MetadataAttr, MetadataChecks};
pub use crate::sys::raw_ring::{Completion, RingShape};
pub use crate::sys::setup;
pub use crate::sys::wild_ring::{Race, RaceWord, WildRing, WildShape};
