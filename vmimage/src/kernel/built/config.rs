//! A kernel's configuration: ours over `allnoconfig`, and whether it came true. Kconfig drops what it does not
//! know or cannot have without a word, and a kernel without the lock validator finds no deadlock either.

use super::super::instrument::{Instrument, Instruments};
use crate::archive::version;

const GUEST: &str = include_str!("../../../kernel/guest.config");

const fn part(instrument: Instrument) -> &'static str {
    match instrument {
        Instrument::Kasan => include_str!("../../../kernel/kasan.config"),
        Instrument::Lockdep => include_str!("../../../kernel/lockdep.config"),
        Instrument::Ubsan => include_str!("../../../kernel/ubsan.config"),
        Instrument::Kcov => include_str!("../../../kernel/kcov.config"),
        Instrument::Gcov => include_str!("../../../kernel/gcov.config"),
    }
}

/// What is asked of Kconfig.
pub(super) fn fragment(with: &Instruments) -> String {
    let parts: Vec<_> = std::iter::once(GUEST).chain(with.iter().map(part)).collect();
    let local = with.local_version();
    format!("{}CONFIG_LOCALVERSION=\"{local}\"\n", parts.concat())
}

/// The lines of `fragment` that `config`, made from the sources of `series`, contradicts. `# from 6.13` at a
/// line's end excuses the series before it.
pub(super) fn unmet(fragment: &str, config: &str, series: &str) -> Vec<String> {
    let is = |line: &str| config.lines().any(|has| has == line);
    let met = |line: &str| match line.split_once('=') {
        // An option that is off is a comment, or not there at all.
        Some((name, "n")) => !config.lines().any(|has| has.starts_with(&format!("{name}="))),
        _ => is(line),
    };
    let asked = fragment.lines().map(option).filter(|(line, _)| line.starts_with("CONFIG_"));
    asked
        .filter(|(_, from)| from.is_none_or(|from| !version::compare(series, from).is_lt()))
        .filter(|(line, _)| !met(line))
        .map(|(line, _)| line.to_owned())
        .collect()
}

/// The fragment as Kconfig takes it: without what is ours at the lines' ends.
pub(super) fn plain(fragment: &str) -> String {
    fragment.lines().map(|line| format!("{}\n", option(line).0)).collect()
}

/// A line, and the series from which on it has to come true.
fn option(line: &str) -> (&str, Option<&str>) {
    match line.split_once("# from ") {
        Some((line, from)) if line.starts_with("CONFIG_") => (line.trim(), Some(from.trim())),
        _ => (line.trim(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_true_is_named() {
        let fragment = "# text\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_C=n\nCONFIG_D=n\nCONFIG_E=7\nCONFIG_F=y # from 6.10\n";
        let config = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_E=7\n";
        assert_eq!(unmet(fragment, config, "6.1"), ["CONFIG_B=m", "CONFIG_D=n"]);
        assert_eq!(unmet(fragment, config, "6.9").len(), 2);
        assert_eq!(unmet(fragment, config, "6.10"), ["CONFIG_B=m", "CONFIG_D=n", "CONFIG_F=y"]);
        assert!(plain(fragment).ends_with("CONFIG_E=7\nCONFIG_F=y\n"));
    }

    #[test]
    fn each_instrument_adds_its_part_and_its_name() {
        for instrument in Instrument::ALL {
            let with = Instruments::parse(instrument.name()).unwrap();
            let fragment = fragment(&with);
            assert!(fragment.contains(part(instrument)) && fragment.starts_with(GUEST));
            let local = format!("CONFIG_LOCALVERSION=\"-{}\"\n", instrument.name());
            assert!(fragment.ends_with(&local), "{fragment}");
        }
    }
}
