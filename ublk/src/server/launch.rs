//! From a device that is there to a server that answers for it: its queues are dealt out to threads, it is started, and
//! what it can be asked is put together.

use std::sync::Arc;
use std::time::Instant;

use super::attempt::Attempt;
use super::builder::ServerBuilder;
use super::live::{Server, Sockets};
use super::mode::deal;
use super::resize::Resizer;
use super::socket::socket_path;
use super::start_error::StartError;
use super::{DeviceStatus, ParamsStatus, Status};
use crate::device::{Configured, Device, DeviceError, Recoverable, Starting};
use crate::queue::{KillSwitch, LatencyHistogram, LatencySnapshot, QueueCounters, QueueTicket};
use crate::uapi::Params;

/// A device of which no tag is fetched yet.
pub(super) enum Unstarted {
    /// Added by this server.
    New(Device<Configured>),
    /// Left by another one.
    Left(Device<Recoverable>),
}

impl Unstarted {
    pub(super) fn begin(self) -> Result<Device<Starting>, DeviceError> {
        match self {
            Self::New(device) => device.begin_start(),
            Self::Left(device) => device.begin_recovery(),
        }
    }

    fn open_queues(&mut self) -> Result<Vec<QueueTicket>, DeviceError> {
        match self {
            Self::New(device) => device.open_queues(),
            Self::Left(device) => device.open_queues(),
        }
    }

    pub(super) fn kill_switch(&self) -> Arc<KillSwitch> {
        match self {
            Self::New(device) => device.kill_switch(),
            Self::Left(device) => device.kill_switch(),
        }
    }
}

impl ServerBuilder {
    /// Serves a device and makes it live.
    pub(super) fn launch(
        self,
        mut device: Unstarted,
        params: Params,
    ) -> Result<Server, StartError> {
        let mut tickets = device.open_queues()?;
        if self.latency {
            tickets = tickets.into_iter().map(QueueTicket::with_latency).collect();
        }
        if self.rotate {
            tickets = tickets.into_iter().map(QueueTicket::rotating).collect();
        }
        let bound = |hand: Vec<_>| hand.into_iter().map(|ticket| self.affinity.apply(ticket));
        let hands = deal(tickets, self.threads, self.share_queues);
        let hands: Vec<Vec<_>> = hands.into_iter().map(|hand| bound(hand).collect()).collect();
        let counters: Vec<_> = hands.iter().flatten().map(QueueTicket::counters).collect();
        let threads = hands.len();
        let startup = Attempt {
            shared: &self.shared,
            door: &self.door,
            deadline: Instant::now() + self.start_timeout,
            timeout: self.start_timeout,
            threads,
        };
        let (mut device, workers) = startup.run(device, hands, self.order)?;
        // A second look, for the state and the pid that the start has set.
        let info = device.refresh_info();
        let resizer = Arc::new(Resizer::new(info, Arc::clone(&self.door), params));
        let status = {
            let (target, counters) = (self.target_name, counters.clone());
            let (info, resizer) = (DeviceStatus::from(&info), Arc::clone(&resizer));
            move || Status {
                pid: std::process::id(),
                target: target.clone(),
                info: info.clone(),
                params: ParamsStatus::from(&resizer.params()),
                counters: counters.iter().map(|queue| queue.snapshot()).collect(),
                latency: latencies(&counters),
            }
        };
        let socket = match self.socket {
            Some(None) => None,
            Some(Some(path)) => Some(path),
            None => Some(socket_path(info.dev_id)),
        };
        let sockets = socket.map(|path| Sockets::open(&path, status.clone(), &resizer));
        Ok(Server::new(device, workers, self.shared, resizer, counters, Box::new(status), sockets))
    }
}

/// None, or one for each queue.
fn latencies(counters: &[Arc<QueueCounters>]) -> Vec<LatencySnapshot> {
    let histograms = counters.iter().filter_map(|queue| queue.latency());
    histograms.map(LatencyHistogram::snapshot).collect()
}
