//! One row of drawings for each data mode: the ratio to the reference, reads over depth, writes over depth.
//!
//! All rows share their scales, so that one mode can be compared with another by eye.

use maud::{Markup, html};

use crate::perf::{Operation, PerfReport, Role, SubjectResult};

use super::super::clean::line;
use super::{bars, curves, reference};

/// What the rows share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) report: &'a PerfReport,
    /// Least and most ratio of any server to the reference.
    pub(super) ratios: (f64, f64),
    /// The most I/Os per second of any server.
    pub(super) iops_max: f64,
}

/// The servers of one mode.
#[derive(Debug)]
pub(super) struct Panel<'a> {
    pub(super) mode: &'a str,
    pub(super) subjects: Vec<&'a SubjectResult>,
}

impl Panel<'_> {
    /// Whether the reference was measured in this mode; else ratios are to its copy mode.
    pub(super) fn has_reference(&self) -> bool {
        self.subjects.iter().any(|s| s.role == Role::Reference && !s.cells.is_empty())
    }
}

/// Class of a server's drawings, the same in every panel.
pub(super) fn series(report: &PerfReport, subject: &SubjectResult) -> String {
    match subject.role {
        Role::Ours => "ours".to_owned(),
        Role::Reference => "reference".to_owned(),
        Role::Limit => "limit".to_owned(),
        Role::Peer => {
            let mut names: Vec<&str> = Vec::new();
            for peer in report.subjects.iter().filter(|s| s.role == Role::Peer) {
                if !names.contains(&peer.name.as_str()) {
                    names.push(&peer.name);
                }
            }
            let place = names.iter().position(|name| *name == subject.name).unwrap_or(0);
            format!("peer-{}", place.min(3))
        }
    }
}

/// Modes in the report's order, each with its servers.
pub(super) fn panels(report: &PerfReport) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    let measured = |s: &&SubjectResult| s.role != Role::Limit && !s.cells.is_empty();
    for subject in report.subjects.iter().filter(measured) {
        match panels.iter_mut().find(|panel| panel.mode == subject.mode) {
            Some(panel) => panel.subjects.push(subject),
            None => panels.push(Panel { mode: &subject.mode, subjects: vec![subject] }),
        }
    }
    panels
}

/// The drawings of a report.
pub(super) fn all(report: &PerfReport) -> Markup {
    let panels = panels(report);
    if panels.is_empty() {
        return html! {};
    }
    let cells = || panels.iter().flat_map(|p| &p.subjects).flat_map(|s| &s.cells);
    let ratios = cells().filter_map(|cell| cell.ratio).filter(|ratio| ratio.is_finite());
    let (low, high) = ratios.fold((0.95, 1.1), |(low, high), r| (r.min(low), r.max(high)));
    let common = Common {
        report,
        // Out to the next tenth, so that the axis ends with a number.
        ratios: ((low * 20.0).floor() / 20.0, (high * 10.0).ceil() / 10.0),
        iops_max: cells().map(|cell| cell.median_iops).fold(0.0, f64::max),
    };
    html! {
        (legend(report, &panels))
        div .panels {
            @for panel in &panels { (row(&common, panel)) }
        }
    }
}

fn row(common: &Common<'_>, panel: &Panel<'_>) -> Markup {
    html! {
        section .panel aria-label={ "Mode " (line(panel.mode)) } {
            h3 { (line(panel.mode)) }
            div .drawings {
                (bars::figure(common, panel))
                (curves::figure(common, panel, Operation::Read))
                (curves::figure(common, panel, Operation::Write))
            }
        }
    }
}

/// Which mark is whose, once for all rows.
fn legend(report: &PerfReport, panels: &[Panel<'_>]) -> Markup {
    let mut known: Vec<(String, &str)> = Vec::new();
    for subject in panels.iter().flat_map(|panel| &panel.subjects) {
        let series = series(report, subject);
        if !known.iter().any(|(other, _)| *other == series) {
            known.push((series, &subject.name));
        }
    }
    html! {
        ul .legend {
            @for (series, name) in &known {
                li {
                    svg width="28" height="12" viewBox="0 0 28 12" aria-hidden="true" {
                        (super::chart::path(series, &[(1.0, 6.0), (27.0, 6.0)]))
                        (super::chart::mark(series, 14.0, 6.0, ""))
                    }
                    (line(name))
                    @if series == "ours" { span .dim { " (ours)" } }
                    @if Some(*name) == reference(report) { span .dim { " (the reference, 1.00)" } }
                }
            }
        }
    }
}
