//! The picture of the kernel's devices, compared with the model's.

use std::time::{Duration, Instant};

use ublk::ctrl::{Command, Pending, Reply as Answered};
use ublk::uapi::DevInfo;

use super::{LOOK_AGAIN, Lab, Trouble, differs};
use crate::context::{Stop, errno};
use crate::model::device::Device;
use crate::model::server::{Order, Reply, TagCounts};
use crate::model::view::{self, Seen};
use crate::model::world::World;

/// Which devices are looked at closely: nodes, size, tags. The others' state is compared all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closely {
    /// The one that the step was about.
    One(u8),
    /// Every one.
    All,
}

impl Closely {
    fn looks_at(self, dev: u8) -> bool {
        match self {
            Self::One(one) => one == dev,
            Self::All => true,
        }
    }
}

impl Lab {
    /// Nothing that the model holds back may have been answered; then the devices.
    pub(super) fn compare(&mut self, world: &World, of: Closely) -> Result<(), Trouble> {
        self.collect_reads(Duration::ZERO)?;
        for slot in world.unanswered() {
            if let Some(result) = self.read_results.remove(&slot) {
                let observed = format!("it ends with {}", errno(result));
                return Err(differs(format_args!("read {slot} is not answered yet"), observed));
            }
        }
        let slots: Vec<u8> = self.pending.keys().copied().collect();
        for slot in slots {
            let Some(pending) = self.pending.get(&slot) else { continue };
            let what = pending.op().name();
            let early = match self.control.poll(pending) {
                Ok(None) => continue,
                Ok(Some(_)) => Some(0),
                Err(error) => error.errno().map(|errno| -errno),
            };
            self.pending.remove(&slot);
            let observed = format!("it is answered {}", errno(early.unwrap_or_default()));
            return Err(differs(format_args!("{what} is held back"), observed));
        }
        let begin = Instant::now();
        loop {
            let difference = self.difference(world, of)?;
            let Some((expected, observed)) = difference else { return Ok(()) };
            if begin.elapsed() >= self.patience {
                return Err(differs(expected, observed));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The first thing that is not as the model says.
    pub(super) fn difference(
        &mut self,
        world: &World,
        of: Closely,
    ) -> Result<Option<(String, String)>, Stop> {
        let infos = self.infos(world)?;
        for (dev, info) in (0..).zip(infos) {
            let device = world.device(dev);
            let mut expected = device.map(|device| view::expected(world, device, |s| self.pid(s)));
            let mut opener = device.and_then(|device| device.opener);
            if !of.looks_at(dev) {
                opener = None;
                expected = expected.map(Seen::at_a_glance);
            }
            let observed = match info {
                Some(info) => Some(self.observe(dev, &info, opener, expected.as_ref())?),
                None => None,
            };
            if expected != observed {
                let text = |seen: Option<Seen>| match seen {
                    Some(seen) => format!("device {dev}: {seen}"),
                    None => format!("device {dev}: there is none"),
                };
                return Ok(Some((text(expected), text(observed))));
            }
        }
        let open = |device: &Device| {
            let clients = device.clients.iter().filter(|open| **open).count();
            i64::from(device.opener.is_some()) + i64::try_from(clients).unwrap_or(i64::MAX)
        };
        let expected = self.references_before.map(|base| {
            base + world.devices.iter().flatten().map(open).sum::<i64>()
                + i64::try_from(self.blocks_of_the_gone(world)).unwrap_or(0)
        });
        let observed = self.references.count();
        if expected != observed {
            let text = |n: Option<i64>| format!("{n:?} references to the module");
            return Ok(Some((text(expected), text(observed))));
        }
        Ok(None)
    }

    /// Block devices that are open though the model has no device any more: none, or the model is wrong.
    fn blocks_of_the_gone(&self, world: &World) -> usize {
        let open = self.blocks.iter().zip(&world.devices).filter(|(_, device)| device.is_none());
        open.flat_map(|(clients, _)| clients.iter().flatten()).count()
    }

    /// GET_DEV_INFO of every device; none where there is no such device.
    ///
    /// All of them are collected before any is compared: an answer that nobody comes for keeps its place in the ring.
    fn infos(&mut self, world: &World) -> Result<Vec<Option<DevInfo>>, Stop> {
        let count = u8::try_from(world.devices.len()).unwrap_or(u8::MAX);
        // All at once: before 7.0 a worker does each.
        let ask = |dev| self.control.submit(Command::GetDevInfo { dev_id: Self::id(dev) });
        let asked: Vec<Result<Pending, _>> = (0..count).map(ask).collect();
        let told: Vec<_> = asked.into_iter().map(|asked| self.info(asked?)).collect();
        told.into_iter().collect()
    }

    fn info(&mut self, asked: Pending) -> Result<Option<DevInfo>, Stop> {
        match self.control.wait(&asked, self.patience) {
            Ok(Answered::DevInfo(info)) => Ok(Some(info)),
            Ok(other) => Err(Stop::error(format_args!("GET_DEV_INFO says {other:?}"))),
            Err(error) if error.errno() == Some(nix::libc::ENODEV) => Ok(None),
            Err(error) => {
                self.control.abandon(asked);
                Err(Stop::error(error))
            }
        }
    }

    fn observe(
        &mut self,
        dev: u8,
        info: &DevInfo,
        opener: Option<u8>,
        wanted: Option<&Seen>,
    ) -> Result<Seen, Stop> {
        let id = Self::id(dev);
        let blank = Seen {
            state: info.state(),
            pid: None,
            queues: info.nr_hw_queues,
            features: 0,
            char_node: None,
            block_node: None,
            sectors: None,
            tags: None,
        };
        let tags = match opener {
            Some(server) => Some(self.tags(server, id, wanted.and_then(|seen| seen.tags))?),
            None => None,
        };
        Ok(view::observed(id, info, tags, wanted.unwrap_or(&blank)))
    }

    /// As the last reply had them, where that is what they should be; else asked for.
    fn tags(&mut self, server: u8, id: u32, wanted: Option<TagCounts>) -> Result<TagCounts, Stop> {
        let told = self.server(server)?.take_tags(id);
        match told.filter(|told| Some(*told) == wanted) {
            Some(told) => Ok(told),
            None => self.report(server, id),
        }
    }

    fn report(&mut self, server: u8, id: u32) -> Result<TagCounts, Stop> {
        match self.tell(server, &Order::Report { id })? {
            Reply::Tags { counts } => Ok(counts),
            other => Err(Stop::error(format_args!("a model server says {other:?}"))),
        }
    }
}
