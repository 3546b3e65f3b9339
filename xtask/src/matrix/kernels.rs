//! Which kernels a matrix has: those that were named, else every series the archive has whole today.

use scenarios::kernel::KernelRelease;
use vmimage::kernel::{Candidate, list_candidates, list_series};

use crate::error::Error;
use crate::prepare::Workshop;

/// The first series that the suite's expectations were tried on. Older ones are asked for by name.
const FIRST_SERIES: (u32, u32) = (6, 12);

/// The kernels, oldest first where nobody named them, and none twice.
///
/// # Errors
/// When the archive cannot be asked, or has none of them.
pub(crate) fn chosen(
    workshop: &Workshop,
    named: &[String],
    point_releases: bool,
) -> Result<Vec<String>, Error> {
    let kernels = if point_releases {
        points(&list_candidates(workshop.archive()).map_err(Error::infrastructure)?, named)
    } else if named.is_empty() {
        let series = list_series(workshop.archive()).map_err(Error::infrastructure)?;
        let wanted = series.into_iter().filter(|one| one.newest_whole.is_some());
        wanted.map(|one| one.name).filter(|name| is_known(name)).collect()
    } else {
        once(named)
    };
    if kernels.is_empty() {
        return Err(Error::usage("the archive has no such kernel; `doctor` lists what it has"));
    }
    Ok(kernels)
}

fn is_known(series: &str) -> bool {
    KernelRelease::parse(series).is_some_and(|kernel| (kernel.major, kernel.minor) >= FIRST_SERIES)
}

/// Each whole point release, of the named series or of all. What was named otherwise stays as it is.
fn points(all: &[Candidate], named: &[String]) -> Vec<String> {
    let mut numbers: Vec<[u32; 3]> = all
        .iter()
        .filter(|one| one.is_whole() && !one.is_rc())
        .filter_map(|one| match one.numbers()[..] {
            [major, minor, patch, ..] => Some([major, minor, patch]),
            _ => None,
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let of = |series: Option<&str>| {
        let own = numbers.iter().filter(move |[major, minor, _]| match series {
            Some(series) => series == format!("{major}.{minor}"),
            None => (*major, *minor) >= FIRST_SERIES,
        });
        own.map(|[major, minor, patch]| format!("{major}.{minor}.{patch}")).collect::<Vec<_>>()
    };
    if named.is_empty() {
        return of(None);
    }
    let each = named.iter().flat_map(|name| match of(Some(name)) {
        none if none.is_empty() => vec![name.clone()],
        points => points,
    });
    once(&each.collect::<Vec<_>>())
}

fn once(names: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        if !kept.contains(name) {
            kept.push(name.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(release: &str, missing: &[&str]) -> Candidate {
        Candidate {
            release: format!("{release}-a"),
            version: format!("{release}-1"),
            family: "sid".into(),
            page_kib: 4,
            packages: Vec::new(),
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn point_releases_are_whole_in_order_and_once() {
        let all = ["6.1.0", "6.18.9", "6.12.43", "6.18.15", "6.18.9", "7.4~rc2"]
            .map(|r| candidate(r, &[]));
        let all = [&all[..], &[candidate("6.18.5", &["linux-modules"])]].concat();
        assert_eq!(points(&all, &[]), ["6.12.43", "6.18.9", "6.18.15"]);
        let named = ["6.18".to_owned(), "7.3+kasan".to_owned(), "6.18.9".to_owned()];
        assert_eq!(points(&all, &named), ["6.18.9", "6.18.15", "7.3+kasan"]);
    }

    #[test]
    fn a_kernel_is_a_column_once() {
        assert!(is_known("6.12") && is_known("10.1") && !is_known("6.1"));
        assert_eq!(once(&["7.3".into(), "6.12".into(), "7.3".into()]), ["7.3", "6.12"]);
    }
}
