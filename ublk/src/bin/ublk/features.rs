//! `ublk features`: what the driver of this kernel can do, and what it lacks.

use clap::Args;
use serde::Serialize;
use ublk::ctrl::Control;
use ublk::uapi::Features;

use crate::exit::Failure;
use crate::out;

#[derive(Debug, Args)]
pub(crate) struct FeaturesArgs {
    /// One JSON document.
    #[arg(long)]
    json: bool,
    /// Name those that a newer driver would have, instead of those that this one has.
    #[arg(long, conflicts_with = "json")]
    missing: bool,
}

#[derive(Serialize)]
struct Report {
    /// The whole word, in hexadecimal, for JSON's numbers end at 53 bits in some readers.
    bits: String,
    /// Features with a name.
    features: Vec<&'static str>,
    /// Features that this command knows and this driver does not have.
    missing: Vec<&'static str>,
    /// Bits that a newer kernel has and this command does not know.
    unknown_bits: String,
}

/// Prints the features.
pub(crate) fn run(args: &FeaturesArgs) -> Result<(), Failure> {
    let mut control = Control::open().map_err(|error| Failure::driver(&error))?;
    let features = control.get_features().map_err(|error| {
        let failure = Failure::control(&error);
        match error.errno() {
            Some(libc::EOPNOTSUPP) => failure.with_hint("GET_FEATURES came with Linux 6.5"),
            _ => failure,
        }
    })?;
    let missing = missing(features);
    if args.json {
        return out::json(&Report {
            bits: format!("{:#x}", features.bits()),
            features: features.names(),
            missing,
            unknown_bits: format!("{:#x}", features.unknown()),
        });
    }
    if args.missing {
        return missing.into_iter().try_for_each(out::line);
    }
    features.names().into_iter().try_for_each(out::line)?;
    match features.unknown() {
        0 => Ok(()),
        unknown => out::line(&format!("{unknown:#x} (unknown to this command)")),
    }
}

fn missing(features: Features) -> Vec<&'static str> {
    Features::NAMED
        .iter()
        .filter(|(_, flag)| !features.contains(*flag))
        .map(|(name, _)| *name)
        .collect()
}
