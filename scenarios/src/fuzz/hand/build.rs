//! SQEs, built as a case's values say.

use ublk::raw::{
    Addr, AnyFile, BlockFile, CtrlPayload, IoPayload, Ordinary, RawSqe, SqeAddr, SqeFlags,
};
use ublk::uapi::{
    AutoBufReg, AutoBufRegFlags, CtrlOp, DEV_ID_AUTO, DevInfo, Features, ParamBasic, Params,
    QUEUE_ID_NONE, ShmemBufReg,
};
use zerocopy::IntoBytes;

use super::super::rings;
use super::super::shot::{Base, Change, Dev, Other, Place, Shot, To, control_op};
use super::Order;
use super::device::{CLIENT_SECTOR, Own, PAYLOADS_BYTES};
use super::shots::Common;
use crate::block::page_bytes;

/// An id that no device has.
pub(super) const NOBODYS_ID: u32 = (1 << 20) - 7;
/// The first id that the driver does not give out.
const TOO_LARGE_ID: u32 = 1 << 20;
/// Bytes of each shot's payload.
pub(super) const PAYLOAD_BYTES: usize = 4096;
/// Payloads before the first is used again: more than the shots of any case. A command may be read late, when those after it are
/// long built (an asynchronous one behind one that waits), and what it reads has to be its own still.
const PAYLOADS: usize = PAYLOADS_BYTES / PAYLOAD_BYTES;

/// Where the payload of the case's `number`-th shot is.
pub(super) fn payload_at(number: usize) -> usize {
    number % PAYLOADS * PAYLOAD_BYTES
}

/// What an SQE is made of.
struct Fields {
    cmd_op: u32,
    to: To,
    dev: u32,
    queue: u16,
    tag: u16,
    result: i32,
    len: u16,
    place: Option<Place>,
    data: u64,
    path_len: u16,
    reserved: u32,
}

impl Common {
    fn addr<'a>(&'a self, own: Option<&Own>, place: Place) -> Addr<'a> {
        match place {
            Place::Null => Addr::Null,
            Place::End(before) => {
                Addr::Arena(&self.arena, self.arena.len_bytes() - usize::from(before))
            }
            Place::ReadOnly => Addr::ReadOnly(&self.arena),
            Place::Unmapped => Addr::Unmapped(&self.arena),
            Place::Kernel(low) => Addr::KernelHalf(low),
            Place::NonCanonical(low) => Addr::NonCanonical(low),
            Place::Small(number) => Addr::Small(number),
            Place::TagBuffer(tag) => match own {
                Some(own) => own.buffer(&self.arena, 0, u16::from(tag)),
                None => Addr::Arena(&self.arena, PAYLOADS_BYTES),
            },
        }
    }

    /// The SQE, with its payload from `start` on in the memory; none where what it goes to is not there.
    pub(super) fn sqe(
        &self,
        own: Option<&Own>,
        order: &Order,
        start: usize,
        shot: &Shot,
        kind: rings::Kind,
    ) -> Option<RawSqe> {
        let id = own.map_or(NOBODYS_ID, |own| own.id);
        let mut fields = self.right(own, id, shot, start);
        for change in &shot.changes {
            fields.change(change, order.bystander);
            if let Change::Poke(at, bits) = change {
                self.poke(start, *at, *bits);
            }
        }
        if fields.names(shot, order.bystander) && !is_harmless(shot) {
            return None;
        }
        let mut sqe = self.build(own, order.bystander, shot, &fields, start)?;
        if kind.is_mixed() && matches!(shot.base, Base::Control(_)) {
            sqe = sqe.wide();
        }
        for change in &shot.changes {
            // What a NOP is told to answer is no answer.
            if shot.base == Base::Other(Other::Nop) && matches!(change, Change::CmdFlags(_)) {
                continue;
            }
            sqe = self.apply(own, sqe, change);
        }
        Some(sqe)
    }

    fn poke(&self, start: usize, at: u8, bits: u32) {
        let place = start + usize::from(at) * 4;
        let mut word = [0; 4];
        self.arena.read(place, &mut word);
        self.arena.write(place, &(u32::from_ne_bytes(word) ^ bits).to_ne_bytes());
    }

    /// What a right command is made of; its payload's buffer is filled.
    fn right(&self, own: Option<&Own>, id: u32, shot: &Shot, start: usize) -> Fields {
        let mut fields = Fields {
            cmd_op: shot.cmd_op().unwrap_or(0),
            to: shot.to(),
            dev: id,
            queue: u16::from(shot.tag.0),
            tag: u16::from(shot.tag.1),
            result: 4096,
            len: 0,
            place: None,
            data: 0,
            path_len: 0,
            reserved: 0,
        };
        match shot.base {
            Base::Control(nr) => self.fill(&mut fields, own, control_op(nr), start),
            Base::Io(_) => {}
            Base::Other(_) => {
                fields.len = 4096;
                fields.data = CLIENT_SECTOR * 512;
            }
        }
        fields
    }

    fn fill(&self, fields: &mut Fields, own: Option<&Own>, op: Option<CtrlOp>, start: usize) {
        let mut bytes = vec![0; 0];
        fields.queue = QUEUE_ID_NONE;
        match op {
            Some(CtrlOp::AddDev) => {
                fields.dev = DEV_ID_AUTO;
                let mut info = DevInfo::new(1, 2, 16 << 10, Features::empty());
                info.dev_id = DEV_ID_AUTO;
                bytes = info.as_bytes().to_vec();
            }
            Some(CtrlOp::SetParams) => {
                bytes = own.map(|own| own.params().as_bytes().to_vec()).unwrap_or_default();
            }
            Some(CtrlOp::GetParams) => {
                bytes = Params::new(ParamBasic::default()).as_bytes().to_vec();
            }
            Some(CtrlOp::GetDevInfo) => bytes = vec![0; 64],
            Some(CtrlOp::GetDevInfo2) => {
                let path = format!("/dev/ublkc{}", fields.dev).into_bytes();
                fields.path_len = u16::try_from(path.len()).unwrap_or(0);
                bytes = path;
                bytes.resize(bytes.len() + 64, 0);
            }
            Some(CtrlOp::GetFeatures) => bytes = vec![0; 8],
            Some(CtrlOp::GetQueueAffinity) => bytes = vec![0; 128],
            Some(CtrlOp::StartDev | CtrlOp::EndUserRecovery) => {
                fields.data = u64::from(std::process::id());
            }
            Some(CtrlOp::UpdateSize) => fields.data = 8192,
            Some(CtrlOp::QuiesceDev) => fields.data = 200,
            Some(CtrlOp::RegBuf) => {
                let (addr, len) = (self.arena.addr(PAYLOADS_BYTES), page_bytes() as u64);
                let memory = ShmemBufReg { addr, len, ..ShmemBufReg::default() };
                bytes = memory.as_bytes().to_vec();
            }
            _ => {}
        }
        fields.len = u16::try_from(bytes.len()).unwrap_or(0);
        bytes.resize(512, 0);
        self.arena.write(start, &bytes);
    }

    fn build(
        &self,
        own: Option<&Own>,
        bystander: u32,
        shot: &Shot,
        fields: &Fields,
        start: usize,
    ) -> Option<RawSqe> {
        let char_file = own.and_then(|own| own.file.as_ref());
        let own_buffer = |own: &Own| own.buffer(&self.arena, fields.queue, fields.tag);
        let control = CtrlPayload {
            dev_id: fields.dev,
            queue_id: fields.queue,
            len: fields.len,
            addr: match fields.place {
                Some(place) => self.addr(own, place),
                None if fields.len == 0 => Addr::Null,
                None => Addr::Arena(&self.arena, start),
            },
            data: fields.data,
            dev_path_len: fields.path_len,
            pad: fields.reserved as u16,
            reserved: fields.reserved,
        };
        let io = IoPayload {
            queue: fields.queue,
            tag: fields.tag,
            result: fields.result,
            addr: match (fields.place, own) {
                (Some(place), own) => self.addr(own, place),
                (None, Some(own)) => own_buffer(own),
                (None, None) => Addr::Null,
            },
        };
        let op = fields.cmd_op;
        Some(match (shot.base, fields.to) {
            (Base::Other(other), to) => {
                return self.other(own, bystander, other, to, fields, start);
            }
            (Base::Control(_), To::Control) => RawSqe::control(&self.control, op, &control),
            (Base::Control(_), To::Char) => RawSqe::control_to_char(char_file?, op, &control),
            (Base::Control(_), To::Decoy | To::Block) => RawSqe::decoy(&self.decoy, op, &control),
            (Base::Io(_), To::Char) => RawSqe::io(char_file?, op, &io),
            (Base::Io(_), To::Control) => RawSqe::io_to_control(&self.control, op, &io),
            (Base::Io(_), To::Decoy | To::Block) => RawSqe::io_to_decoy(&self.decoy, op, &io),
            (_, To::Nobody) => RawSqe::to_nobody(op, &control),
        })
    }

    fn other(
        &self,
        own: Option<&Own>,
        bystander: u32,
        other: Other,
        to: To,
        fields: &Fields,
        start: usize,
    ) -> Option<RawSqe> {
        let op = match other {
            Other::Read => Ordinary::Read,
            Other::Write => Ordinary::Write,
            Other::Poll => Ordinary::Poll,
            Other::Fsync => Ordinary::Fsync,
            Other::Splice => Ordinary::Splice,
            Other::Nop => Ordinary::Nop,
            Other::CloseSlot => return Some(RawSqe::close_slot(fields.tag)),
        };
        let addr = match fields.place {
            Some(place) => self.addr(own, place),
            None if matches!(other, Other::Read | Other::Write) => Addr::Arena(&self.arena, start),
            None => Addr::Null,
        };
        // A server that is a client of its own device cannot die: docs/kernel-facts.md.
        let block = (to == To::Block).then(|| BlockFile::open(bystander).ok()).flatten();
        let file = match (to, own.and_then(|own| own.file.as_ref()), &block) {
            (To::Control, _, _) => AnyFile::Control(&self.control),
            (To::Char, Some(file), _) => AnyFile::Char(file),
            (To::Block, _, Some(file)) => AnyFile::Block(file),
            _ => AnyFile::Decoy(&self.decoy),
        };
        Some(RawSqe::ordinary(op, file, fields.data, addr, fields.len))
    }

    fn apply(&self, own: Option<&Own>, sqe: RawSqe, change: &Change) -> RawSqe {
        match *change {
            Change::Flags(bits) => sqe.flags(SqeFlags::from_bits(bits)),
            Change::Ioprio(ioprio) => sqe.ioprio(ioprio),
            Change::Pad(pad) => sqe.pad1(pad),
            Change::SqeLen(len) => sqe.sqe_len(len),
            Change::CmdFlags(flags) => sqe.uring_cmd_flags(flags),
            Change::BufIndex(index) => sqe.buf_index(index),
            Change::Personality(id) => sqe.personality(id),
            Change::SqePlace(place) => sqe.sqe_addr(SqeAddr::Addr(self.addr(own, place))),
            Change::AutoReg(index, flags, reserved0, reserved1) => {
                let flags = AutoBufRegFlags::from_bits(flags);
                let reg = AutoBufReg { index, flags, reserved0, reserved1 };
                sqe.sqe_addr(SqeAddr::AutoBufReg(reg))
            }
            Change::Slot(slot) => sqe.slot(slot),
            _ => sqe,
        }
    }
}

/// Whether it changes nothing whoever it is sent to.
fn is_harmless(shot: &Shot) -> bool {
    let reads = [CtrlOp::GetDevInfo, CtrlOp::GetParams, CtrlOp::GetQueueAffinity];
    let nr = shot.nr();
    reads.iter().any(|op| nr == Some(op.nr())) && matches!(shot.base, Base::Control(_))
}

impl Fields {
    /// Whether a control node would take it for a command to that device.
    fn names(&self, shot: &Shot, id: u32) -> bool {
        match shot.base {
            Base::Control(_) => self.dev == id,
            Base::Io(_) => u32::from(self.queue) | u32::from(self.tag) << 16 == id,
            Base::Other(_) => false,
        }
    }

    fn change(&mut self, change: &Change, bystander: u32) {
        match *change {
            Change::Dev(Dev::Nobodys) => self.dev = NOBODYS_ID,
            Change::Dev(Dev::Auto) => self.dev = DEV_ID_AUTO,
            Change::Dev(Dev::TooLarge) => self.dev = TOO_LARGE_ID,
            Change::Dev(Dev::Bystanders) => self.dev = bystander,
            Change::Queue(queue) => self.queue = queue,
            Change::Tag(tag) => self.tag = tag,
            Change::Result(result) => self.result = result,
            Change::Len(len) => self.len = len,
            Change::Place(place) => self.place = Some(place),
            Change::Data(data) => self.data = data,
            Change::PathLen(len) => self.path_len = len,
            Change::Reserved(reserved) => self.reserved = reserved,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shots_of_a_case_do_not_share_a_payload() {
        // Twelve acts of four shots are the longest that is generated.
        let places: std::collections::BTreeSet<_> = (0..48).map(payload_at).collect();
        assert_eq!(places.len(), 48);
        assert!(places.iter().all(|place| place + PAYLOAD_BYTES <= PAYLOADS_BYTES));
    }
}
