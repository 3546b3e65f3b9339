//! `ublk features`: what the driver of this kernel can do.

use serde::Serialize;
use ublk::ctrl::Control;

use crate::cli::ListArgs;
use crate::exit::Failure;
use crate::out;

#[derive(Serialize)]
struct Report {
    /// The whole word, in hexadecimal, for JSON's numbers end at 53 bits in some readers.
    bits: String,
    /// Features with a name.
    features: Vec<&'static str>,
    /// Bits that a newer kernel has and this command does not know.
    unknown_bits: String,
}

/// Prints the features.
pub(crate) fn run(args: &ListArgs) -> Result<(), Failure> {
    let mut control = Control::open().map_err(|error| Failure::driver(&error))?;
    let features = control.get_features().map_err(|error| {
        let failure = Failure::control(&error);
        match error.errno() {
            Some(libc::EOPNOTSUPP) => failure.with_hint("GET_FEATURES came with Linux 6.5"),
            _ => failure,
        }
    })?;
    if args.json {
        return out::json(&Report {
            bits: format!("{:#x}", features.bits()),
            features: features.names(),
            unknown_bits: format!("{:#x}", features.unknown()),
        });
    }
    for name in features.names() {
        out::line(name)?;
    }
    match features.unknown() {
        0 => Ok(()),
        unknown => out::line(&format!("{unknown:#x} (unknown to this command)")),
    }
}
