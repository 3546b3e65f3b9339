//! One kernel of a matrix: which it is, what it can do, and, where it did not come up, the one line that says so.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::abilities::Abilities;
use crate::report::{KernelReport, Report};

use super::cell::one_line;
use super::paths::hidden;

/// One kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// As it was typed: `6.12`, `6.18.5`, `7.3+kasan`; of a file its name, without the folder.
    pub kernel: String,
    /// `uname -r`: the guest's word, or else what the archive said it would be.
    pub release: Option<String>,
    /// What it watches itself with; empty for a distribution's kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instruments: Vec<String>,
    /// The guest's architecture as `--arch` names it; nothing where it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// What went wrong on this kernel outside any scenario, in one line: it did not boot, or crashed on its way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Boots that were made.
    pub boots: u32,
    /// GET_FEATURES' answer.
    pub features: Option<u64>,
    /// What else it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abilities: Option<Abilities>,
}

impl Column {
    /// Column `index` of `report`.
    #[must_use]
    pub(super) fn of(report: &Report, index: usize, kernel: &KernelReport) -> Self {
        let guest = kernel.guest.as_ref();
        let name = label(&kernel.kernel.spec);
        let mut own = report.errors.iter().filter(|e| e.kernel == u32::try_from(index).ok());
        let error = own.next().map(|first| {
            let more = match own.count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            // A file's message names its folder, which is nobody else's business.
            let told = hidden(&first.message.replace(&kernel.kernel.spec, &name));
            format!("{}{more}", one_line(&told))
        });
        Self {
            release: guest
                .map(|guest| guest.kernel_release.clone())
                .or_else(|| kernel.kernel.release.clone()),
            instruments: kernel.kernel.instruments.clone(),
            arch: kernel.kernel.arch.clone(),
            error,
            boots: u32::try_from(kernel.boots.len()).unwrap_or(u32::MAX),
            features: guest.and_then(|guest| guest.ublk_features),
            abilities: guest.and_then(|guest| guest.abilities.clone()),
            kernel: name,
        }
    }

    /// Whether both are the same kernel, maybe of another release.
    #[must_use]
    pub fn is_same_kernel(&self, other: &Self) -> bool {
        self.kernel == other.kernel && self.arch == other.arch
    }

    /// What a command needs beside the kernel's name to mean it, with a space before it.
    #[must_use]
    pub fn more_options(&self) -> String {
        self.arch.as_ref().map_or_else(String::new, |arch| format!(" --arch {arch}"))
    }

    /// Whether no scenario could say anything here, so that one line stands for all of them.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.error.is_some() && self.features.is_none() && self.abilities.is_none()
    }
}

/// The name of a kernel as it may be shown to anybody.
fn label(spec: &str) -> String {
    match Path::new(spec).file_name() {
        Some(name) if spec.contains('/') => name.to_string_lossy().into_owned(),
        _ => spec.to_owned(),
    }
}
