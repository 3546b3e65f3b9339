//! A baseline: the numbers that a change must not be worse than, where they hold, and who accepted them.
//!
//! Numbers of two environments are never compared: another kernel alone moves IOPS by more than any
//! threshold. So the environment is a part of the baseline, and one that differs is a refusal that says in
//! what. Every acceptance keeps its reason in the file, because a baseline that moves silently gates nothing.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metric::{MetricId, metrics_of};
use super::refusal::Refusal;
use crate::perf::{PerfReport, parse};
use crate::stats::median;

/// `major.minor` of the format of a baseline.
pub const BASELINE_SCHEMA_VERSION: &str = "1.0";
/// Own noise that is kept of each metric, newest last.
const HISTORY_MAX: usize = 50;
/// Name of our server in a report.
pub(super) const HEAD: &str = "ublk";

/// What a change is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// [`BASELINE_SCHEMA_VERSION`] of the writer.
    pub schema_version: String,
    /// Where the numbers hold.
    pub environment: Environment,
    /// Who accepted what, and why; the last one is what the numbers are of.
    pub acceptances: Vec<Acceptance>,
    /// The numbers.
    pub metrics: Vec<BaselineMetric>,
    /// How much each metric differed from itself in the controls of earlier runs by the wall clock.
    #[serde(default)]
    pub noise: Vec<MetricNoise>,
}

/// One accepted change of the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acceptance {
    /// Milliseconds since 1970-01-01 UTC.
    pub at_unix_ms: u64,
    /// Commit that was measured, where it is known.
    pub commit: Option<String>,
    /// Whether the work tree differed from it.
    pub dirty: bool,
    /// Why, in the words of whoever accepted it.
    pub reason: String,
}

/// One number of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineMetric {
    /// Which.
    pub id: MetricId,
    /// Its samples; their median is what is compared with.
    pub samples: Vec<f64>,
}

/// The noise of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricNoise {
    /// Which.
    pub id: MetricId,
    /// Estimates of runs that compared the same program with itself, as logarithms of a ratio.
    pub deltas: Vec<f64>,
}

/// Everything that moves the numbers without the tree being changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// `instructions` or `wall`.
    pub clock: String,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// CPUs of the guest.
    pub cpus: u32,
    /// `uname -r` of the guest.
    pub kernel_release: Option<String>,
    /// SHA-256 of the kernel's config.
    pub kernel_config_sha256: Option<String>,
    /// Version of QEMU.
    pub qemu: String,
    /// Version of fio's package.
    pub fio: Option<String>,
    /// The compiler.
    pub toolchain: Option<String>,
    /// CPU model of the host, by the wall clock only: the instruction clock does not see it.
    pub host_cpu: Option<String>,
    /// I/Os of each sample.
    pub ios_per_sample: u64,
}

impl Environment {
    /// That of a report.
    #[must_use]
    pub fn of(report: &PerfReport) -> Self {
        let fio = report.kernel.packages.iter().find(|package| package.name == "fio");
        Self {
            clock: report.clock.clone(),
            accelerator: report.run.accelerator.name.clone(),
            cpus: report.cpus,
            kernel_release: report.kernel.release.clone(),
            kernel_config_sha256: report.kernel.config_sha256.clone(),
            qemu: report.run.qemu.version.clone(),
            fio: fio.map(|package| package.version.clone()),
            toolchain: report.toolchain.clone(),
            host_cpu: (report.clock == "wall").then(|| report.run.host.cpu_model.clone()),
            ios_per_sample: report.ios_per_sample,
        }
    }

    /// What differs, a phrase each, the clock first: `kernel 7.3.4 (baseline) and 7.3.5 (here)`.
    pub(super) fn differences(&self, here: &Self) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
        // Twelve digits of a hash tell two apart, and fit a line.
        let short = |value: &Option<String>| text(value).chars().take(12).collect::<String>();
        let pairs = [
            ("clock", self.clock.clone(), here.clock.clone()),
            ("accelerator", self.accelerator.clone(), here.accelerator.clone()),
            ("guest CPUs", self.cpus.to_string(), here.cpus.to_string()),
            ("kernel", text(&self.kernel_release), text(&here.kernel_release)),
            ("kernel config", short(&self.kernel_config_sha256), short(&here.kernel_config_sha256)),
            ("QEMU", self.qemu.clone(), here.qemu.clone()),
            ("fio", text(&self.fio), text(&here.fio)),
            ("compiler", text(&self.toolchain), text(&here.toolchain)),
            ("host CPU", text(&self.host_cpu), text(&here.host_cpu)),
            ("I/Os a sample", self.ios_per_sample.to_string(), here.ios_per_sample.to_string()),
        ];
        let differing = pairs.into_iter().filter(|(_, ours, theirs)| ours != theirs);
        differing
            .map(|(what, ours, theirs)| format!("{what} {ours} (baseline) and {theirs} (here)"))
            .collect()
    }
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// [`Refusal`]: no such file, cut off, another version, no numbers, or numbers that cannot be.
    pub fn load(path: &Path) -> Result<Self, Refusal> {
        Self::parse(&parse::read(path)?)
    }

    /// Reads the text of a baseline.
    ///
    /// # Errors
    /// [`Refusal`] as for [`Baseline::load`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let baseline: Self = parse::parse(text, "baseline", BASELINE_SCHEMA_VERSION)?;
        if baseline.metrics.is_empty() {
            return Err(Refusal::Empty);
        }
        for metric in &baseline.metrics {
            let usable = |sample: &f64| sample.is_finite() && *sample >= 0.0;
            if metric.samples.is_empty() || !metric.samples.iter().all(usable) {
                return Err(Refusal::Unusable { metric: metric.id.name() });
            }
        }
        Ok(baseline)
    }

    /// The baseline that these runs of one tree make, after `before` where there was one.
    ///
    /// # Errors
    /// [`Refusal`]: a run with errors, runs of several environments, nothing of our server, no reason.
    pub fn accept(
        before: Option<&Self>,
        reports: &[PerfReport],
        acceptance: Acceptance,
        deltas: &BTreeMap<MetricId, f64>,
    ) -> Result<Self, Refusal> {
        if acceptance.reason.trim().is_empty() {
            return Err(Refusal::NoReason);
        }
        let (first, rest) = reports.split_first().ok_or(Refusal::Empty)?;
        let environment = Environment::of(first);
        let mut samples: BTreeMap<MetricId, Vec<f64>> = BTreeMap::new();
        for report in reports {
            super::refusal::whole(report)?;
            for (id, more) in metrics_of(report, HEAD) {
                samples.entry(id).or_default().extend(more);
            }
        }
        for report in rest {
            same_place(&environment, &Environment::of(report))?;
        }
        if samples.is_empty() {
            return Err(Refusal::NoSubject { name: HEAD.into() });
        }
        // Noise of another place says nothing of this one.
        let kept = before.filter(|before| before.environment == environment);
        let mut noise: BTreeMap<MetricId, Vec<f64>> = kept
            .into_iter()
            .flat_map(|before| before.noise.iter())
            .map(|noise| (noise.id.clone(), noise.deltas.clone()))
            .collect();
        for (id, delta) in deltas {
            let own = noise.entry(id.clone()).or_default();
            own.push(*delta);
            own.drain(..own.len().saturating_sub(HISTORY_MAX));
        }
        let mut acceptances = before.map(|b| b.acceptances.clone()).unwrap_or_default();
        acceptances.push(acceptance);
        Ok(Self {
            schema_version: BASELINE_SCHEMA_VERSION.to_owned(),
            environment,
            acceptances,
            metrics: samples
                .into_iter()
                .map(|(id, samples)| BaselineMetric { id, samples })
                .collect(),
            noise: noise.into_iter().map(|(id, deltas)| MetricNoise { id, deltas }).collect(),
        })
    }

    /// Whether the numbers can be compared with some that were measured there.
    ///
    /// # Errors
    /// [`Refusal`] with what differs.
    pub fn holds_in(&self, here: &Environment) -> Result<(), Refusal> {
        same_place(&self.environment, here)
    }

    /// The medians, by metric.
    pub(super) fn medians(&self) -> BTreeMap<MetricId, f64> {
        self.metrics.iter().map(|metric| (metric.id.clone(), median(&metric.samples))).collect()
    }
}

/// Refuses to compare numbers of two places.
pub(super) fn same_place(baseline: &Environment, here: &Environment) -> Result<(), Refusal> {
    if baseline.clock != here.clock {
        let (baseline, here) = (baseline.clock.clone(), here.clock.clone());
        return Err(Refusal::Clock { baseline, here });
    }
    let differences = baseline.differences(here);
    if differences.is_empty() { Ok(()) } else { Err(Refusal::Elsewhere { differences }) }
}
