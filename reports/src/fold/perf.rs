//! Reads fio's output among a scenario's evidence into the report's cells.
//!
//! The numbers decide nothing. That they are there, and that fio itself was content, does: a scenario
//! that measured nothing and says pass would be a lie of the kind this crate exists to catch.

use std::collections::BTreeMap;

use fio_parser::{Capture, Direction, DirectionTotals, Mode, Totals};

use crate::report::{LatencyPercentile, PerfCell, PerfSide};

/// The cells of every text in `texts`, and what is wrong with the first one that is not usable.
pub(super) fn cells(texts: &[String]) -> (Vec<PerfCell>, Option<String>) {
    let (mut cells, mut broken) = (Vec::new(), None);
    for text in texts {
        match cells_of(text) {
            Ok(more) => cells.extend(more),
            Err(why) => drop(broken.get_or_insert(why)),
        }
    }
    (cells, broken)
}

fn cells_of(text: &str) -> Result<Vec<PerfCell>, String> {
    let capture = Capture::parse(text.as_bytes(), Mode::Lenient).map_err(|e| chain(&e))?;
    // Refuses on every finding that makes the numbers wrong.
    capture.summary().map_err(|refused| refused.to_string())?;
    let jobs: BTreeMap<&str, Totals> = capture.last().totals_by_name();
    jobs.into_iter().map(|(name, totals)| cell(name, &totals)).collect()
}

fn cell(name: &str, totals: &Totals) -> Result<PerfCell, String> {
    let side = |direction| totals.directions.get(&direction).map(side);
    let (read, write) = (side(Direction::Read), side(Direction::Write));
    if read.is_none() && write.is_none() {
        return Err(format!("job `{name}` reports neither reads nor writes"));
    }
    Ok(PerfCell { name: name.to_owned(), read, write })
}

fn side(totals: &DirectionTotals) -> PerfSide {
    let percentiles = totals.latency.iter().flat_map(|latency| &latency.percentiles);
    PerfSide {
        ios: totals.total_ios,
        iops: totals.iops.0,
        bandwidth_bytes_per_s: totals.bandwidth.0,
        latency: percentiles
            .map(|(percentile, nanos)| LatencyPercentile {
                percent: percentile.percent(),
                latency_ns: nanos.0,
            })
            .collect(),
    }
}

/// An error with its sources, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(error: u32, ios: u32) -> String {
        let stats = format!(
            r#"{{"io_bytes":{bytes},"bw":{kib},"bw_bytes":{bytes},"iops":{ios}.5,"runtime":1000,
            "total_ios":{ios},"short_ios":0,"drop_ios":0,"iops_samples":2,
            "clat_ns":{{"min":100,"max":900,"mean":300.0,"stddev":1.0,"N":{ios},
            "percentile":{{"50.000000":250,"99.000000":800}}}}}}"#,
            bytes = ios * 4096,
            kib = ios * 4,
        );
        format!(
            r#"note: both iodepth >= 1 and synchronous I/O engine are selected
            {{"fio version":"fio-3.39","timestamp":1,"timestamp_ms":1000,"time":"now",
            "jobs":[{{"jobname":"rand","groupid":0,"error":{error},"elapsed":1,"read":{stats}}}]}}"#
        )
    }

    #[test]
    fn numbers_come_over_with_their_units() {
        let (cells, broken) = cells(&[job(0, 1000)]);
        assert_eq!(broken, None);
        let read = cells[0].read.as_ref().unwrap();
        assert_eq!((cells[0].name.as_str(), read.ios), ("rand", 1000));
        assert_eq!((read.iops, read.bandwidth_bytes_per_s), (1000.5, 4_096_000));
        let latency: Vec<_> = read.latency.iter().map(|p| (p.percent, p.latency_ns)).collect();
        assert_eq!(latency, [(50.0, 250), (99.0, 800)]);
        assert_eq!(cells[0].write, None);
    }

    #[test]
    fn what_fio_was_not_content_with_is_broken() {
        // How it is said is the parser's business; that it is not taken for numbers is ours.
        let whole = job(0, 1000);
        let cut_off = whole[..whole.len() - 9].to_owned();
        for text in [job(28, 1000), job(0, 0), cut_off, String::new()] {
            let (cells, why) = cells(&[text]);
            assert!(cells.is_empty());
            assert!(why.is_some_and(|why| !why.is_empty()));
        }
    }

    #[test]
    fn one_broken_text_does_not_hide_the_others() {
        let (cells, broken) = cells(&["?".to_owned(), job(0, 10)]);
        assert_eq!(cells.len(), 1);
        assert!(broken.is_some());
    }
}
