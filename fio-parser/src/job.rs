//! One entry of `jobs[]` or `client_stats[]`.

use serde_json::Value;

use crate::direction::{Direction, DirectionStats, SyncStats};
use crate::distribution::Distribution;
use crate::output::{Options, read_options};
use crate::steady_state::SteadyState;
use crate::units::{Millis, Nanos};
use crate::walk::{FieldError, Node, Object, UnknownFields};

/// A job, a clone of one (`numjobs`), or a group of them (`group_reporting`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// Name; clones share it.
    pub name: String,
    /// Reporting group.
    pub group_id: Option<u64>,
    /// Free text (`description=`).
    pub description: Option<String>,
    /// Wall clock at the start of the job. Available since fio 3.36.
    pub start: Option<Millis>,
    /// errno of the error that ended the job, 0 without.
    pub error: i64,
    /// Estimated seconds left; `None` also where fio does not know.
    pub eta_s: Option<u64>,
    /// Seconds since the start of the run.
    pub elapsed_s: Option<u64>,
    /// Options of this job; bare options have empty text.
    pub options: Options,
    /// Reads; `None` where all directions are reported as one.
    pub read: Option<DirectionStats>,
    /// Writes; `None` where all directions are reported as one.
    pub write: Option<DirectionStats>,
    /// Trims; `None` where all directions are reported as one.
    pub trim: Option<DirectionStats>,
    /// All directions as one, under `unified_rw_reporting`.
    pub mixed: Option<DirectionStats>,
    /// Flushes and syncs.
    pub sync: Option<SyncStats>,
    /// Time all threads of this entry ran, summed.
    pub runtime: Option<Millis>,
    /// Processor time in user mode, in percent.
    pub user_cpu_percent: Option<f64>,
    /// Processor time in the kernel, in percent.
    pub system_cpu_percent: Option<f64>,
    /// Context switches.
    pub context_switches: Option<u64>,
    /// Major page faults.
    pub major_faults: Option<u64>,
    /// Minor page faults.
    pub minor_faults: Option<u64>,
    /// Percent of time at each I/O depth.
    pub depth_level: Option<Distribution>,
    /// Percent of submissions by batch size.
    pub depth_submit: Option<Distribution>,
    /// Percent of completions by batch size.
    pub depth_complete: Option<Distribution>,
    /// Percent of I/Os below a microsecond, by nanoseconds.
    pub latency_ns: Option<Distribution>,
    /// Percent of I/Os below a millisecond, by microseconds.
    pub latency_us: Option<Distribution>,
    /// Percent of the other I/Os, by milliseconds.
    pub latency_ms: Option<Distribution>,
    /// Errors tolerated by `continue_on_error`; `None` without that option.
    pub total_errors: Option<u64>,
    /// errno of the first tolerated error.
    pub first_error: Option<i64>,
    /// Depth found by `latency_target`.
    pub latency_depth: Option<u64>,
    /// `latency_target`, 0 without; named `latency_target_ns` since fio 3.42.
    pub latency_target: Option<Nanos>,
    /// `latency_percentile` in percent.
    pub latency_percentile: Option<f64>,
    /// `latency_window` in microseconds; named `latency_window_us` since fio 3.42.
    pub latency_window_us: Option<u64>,
    /// Steady-state detection, where asked for.
    pub steady_state: Option<SteadyState>,
    /// Wear statistics of raw flash, as fio prints them.
    pub block: Option<Value>,
    /// Zone resets. Available since fio 3.42.
    pub zone_resets: Option<u64>,
    /// The server that ran the job, in client mode.
    pub client: Option<ClientHost>,
}

/// A fio server, as the client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHost {
    /// Name or address.
    pub hostname: String,
    /// TCP port.
    pub port: Option<u64>,
}

/// fio's "unknown" estimate.
const ETA_UNKNOWN: u64 = i32::MAX as u64;

impl Job {
    /// Statistics of a direction, where the job reports it.
    #[must_use]
    pub fn direction(&self, direction: Direction) -> Option<&DirectionStats> {
        match direction {
            Direction::Read => self.read.as_ref(),
            Direction::Write => self.write.as_ref(),
            Direction::Trim => self.trim.as_ref(),
            Direction::Mixed => self.mixed.as_ref(),
        }
    }

    /// The directions that together count every I/O once: read, write and trim, or `mixed` where the
    /// job reports nothing else. Under `unified_rw_reporting=both`, `mixed` is left out.
    pub fn counted(&self) -> impl Iterator<Item = (Direction, &DirectionStats)> {
        const SEPARATE: [Direction; 3] = [Direction::Read, Direction::Write, Direction::Trim];
        let separate = SEPARATE.iter().any(|&direction| self.direction(direction).is_some());
        let counted = if separate { SEPARATE.as_slice() } else { &[Direction::Mixed] };
        counted.iter().filter_map(|&direction| Some((direction, self.direction(direction)?)))
    }

    /// I/Os of all directions, each counted once; syncs are not among them.
    #[must_use]
    pub fn total_ios(&self) -> u64 {
        self.counted().fold(0, |sum, (_, stats)| sum.saturating_add(stats.total_ios))
    }

    pub(crate) fn read(node: Node, unknown: &mut UnknownFields) -> Result<Self, FieldError> {
        let mut object = node.object()?;
        let mut job = Self {
            name: object.required("jobname")?,
            error: object.required("error")?,
            group_id: object.optional("groupid")?,
            description: object.optional("desc")?,
            start: object.optional("job_start")?,
            eta_s: object.optional("eta")?.filter(|&eta| eta != ETA_UNKNOWN),
            elapsed_s: object.optional("elapsed")?,
            options: object.optional_with("job options", read_options)?.unwrap_or_default(),
            ..Self::default()
        };
        job.read_io(&mut object, unknown)?;
        job.read_process(&mut object)?;
        job.read_distributions(&mut object)?;
        job.read_latency_target(&mut object)?;
        job.steady_state =
            object.optional_with("steadystate", |node| SteadyState::read(node, unknown))?;
        job.block = object.take("block").map(|node| node.value);
        job.zone_resets = object.optional("zone_resets")?;
        job.client = match object.optional("hostname")? {
            None => None,
            Some(hostname) => Some(ClientHost { hostname, port: object.optional("port")? }),
        };
        object.finish(unknown);
        Ok(job)
    }

    fn read_io(
        &mut self,
        object: &mut Object,
        unknown: &mut UnknownFields,
    ) -> Result<(), FieldError> {
        let mut direction =
            |name| object.optional_with(name, |node| DirectionStats::read(node, unknown));
        self.read = direction("read")?;
        self.write = direction("write")?;
        self.trim = direction("trim")?;
        self.mixed = direction("mixed")?;
        self.sync = object.optional_with("sync", |node| SyncStats::read(node, unknown))?;
        self.total_errors = object.optional("total_err")?;
        self.first_error = object.optional("first_error")?;
        Ok(())
    }

    fn read_process(&mut self, object: &mut Object) -> Result<(), FieldError> {
        self.runtime = object.optional("job_runtime")?;
        self.user_cpu_percent = object.optional("usr_cpu")?;
        self.system_cpu_percent = object.optional("sys_cpu")?;
        self.context_switches = object.optional("ctx")?;
        self.major_faults = object.optional("majf")?;
        self.minor_faults = object.optional("minf")?;
        Ok(())
    }

    fn read_distributions(&mut self, object: &mut Object) -> Result<(), FieldError> {
        let mut distribution = |name| object.optional_with(name, Distribution::read);
        self.depth_level = distribution("iodepth_level")?;
        self.depth_submit = distribution("iodepth_submit")?;
        self.depth_complete = distribution("iodepth_complete")?;
        self.latency_ns = distribution("latency_ns")?;
        self.latency_us = distribution("latency_us")?;
        self.latency_ms = distribution("latency_ms")?;
        Ok(())
    }

    fn read_latency_target(&mut self, object: &mut Object) -> Result<(), FieldError> {
        self.latency_depth = object.optional("latency_depth")?;
        let nanos = object.optional("latency_target_ns")?;
        // Before 3.42 the plain name, too, counts nanoseconds (10 ms is 10000000 in 3.33 to 3.41).
        let plain = object.optional("latency_target")?;
        self.latency_target = nanos.or(plain);
        self.latency_percentile = object.optional("latency_percentile")?;
        let micros = object.optional("latency_window_us")?;
        let plain = object.optional("latency_window")?;
        self.latency_window_us = micros.or(plain);
        Ok(())
    }
}
