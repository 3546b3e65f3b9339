//! `coverage.html`: the driver's source with what was run of it, as one file like the report's page.

use maud::{Markup, html};

use crate::driver::{DriverCoverage, Line, Share};

use super::{page, units};

/// The page. `source` is the driver's source as it was compiled; it is shown and nowhere kept.
#[must_use]
pub fn driver_page(coverage: &DriverCoverage, source: &str) -> String {
    let release = coverage.kernel.release.as_deref().unwrap_or(&coverage.kernel.spec);
    let title = format!("{:.1} % of the driver's lines: {release}", coverage.lines.percent());
    let body = html! {
        a .skip-link href="#main" { "To the functions" }
        header .top {
            p .eyebrow { "ublk, proven" }
            h1 { (format!("{:.1} %", coverage.lines.percent())) " of the driver's lines, " (format!("{:.1} %", coverage.branches.percent())) " of its branches" }
            p .reason { (share(coverage.lines)) " lines with code and " (share(coverage.branches)) " directions of branches were taken by " (coverage.scenarios_counted) " scenarios in " (units::duration_ms(coverage.duration_ms)) "." }
            p .meta { (release) " \u{b7} " (coverage.run_id) @if let Some(config) = &coverage.kernel.config_sha256 { " \u{b7} config " (units::short_hash(config)) } }
            @if !coverage.scenarios_lost.is_empty() {
                p .meta { "Not counted, because the machine was gone: " (coverage.scenarios_lost.join(", ")) }
            }
        }
        main #main {
            (functions(coverage))
            (listing(coverage, source))
        }
        footer { p { "Counted by the kernel, read by gcov, written by " code { "cargo xtask coverage driver" } "." } }
    };
    page::whole(&title, &body)
}

fn share(share: Share) -> String {
    format!("{} of {}", share.taken, share.all)
}

/// One row for each function, the least covered first.
fn functions(coverage: &DriverCoverage) -> Markup {
    let mut rows: Vec<(&str, u32, Share, Share)> = Vec::new();
    for lines in coverage.detail.chunk_by(|a, b| a.function == b.function) {
        let (of_lines, of_branches) = crate::driver::shares(lines);
        if let Some(first) = lines.first() {
            rows.push((&first.function, first.number, of_lines, of_branches));
        }
    }
    rows.sort_by_key(|(_, number, lines, _)| (lines.taken + u32::MAX / 2 - lines.all, *number));
    html! {
        section #functions aria-label="Functions" {
            h2 { "Functions" }
            table {
                thead { tr { th scope="col" { "Function" } th scope="col" { "Lines" } th scope="col" { "Branches" } } }
                tbody {
                    @for (name, number, lines, branches) in rows {
                        tr {
                            th scope="row" { a href={ "#L" (number) } { code { (name) } } }
                            td class=(if lines.taken == lines.all { "" } else { "odd" }) { (share(lines)) }
                            td class=(if branches.taken == branches.all { "" } else { "odd" }) { (share(branches)) }
                        }
                    }
                }
            }
        }
    }
}

/// The source; red is what was not run, amber what was run with a direction left out.
fn listing(coverage: &DriverCoverage, source: &str) -> Markup {
    let mut detail = coverage.detail.iter().peekable();
    let numbered = (1_u32..)
        .zip(source.lines())
        .map(|(number, text)| (number, text, detail.next_if(|line| line.number == number)));
    let rows: Vec<_> = numbered.collect();
    html! {
        section #source aria-label="Source" {
            h2 { "Source" }
            p { "In front of each line: how often it was run, and how many directions of its branches were taken." }
            div .listing {
                @for (number, text, line) in rows {
                    pre id={ "L" (number) } class=(tone(line)) { (format!("{:>10} {:>7} {number:>5}  ", counted(line), directions(line))) (text) }
                }
            }
        }
    }
}

fn tone(line: Option<&Line>) -> &'static str {
    match line {
        Some(line) if line.count == 0 => "bad",
        Some(line) if line.missed() > 0 => "odd",
        _ => "",
    }
}

fn counted(line: Option<&Line>) -> String {
    line.map(|line| line.count.to_string()).unwrap_or_default()
}

fn directions(line: Option<&Line>) -> String {
    line.filter(|line| !line.branches.is_empty())
        .map(|line| format!("{}/{}", line.branches.len() - line.missed(), line.branches.len()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_is_escaped_and_marked() {
        let line = |number, count, branches: &[u64]| Line {
            number,
            function: "a".into(),
            count,
            branches: branches.to_vec(),
        };
        let detail = vec![line(1, 5, &[]), line(2, 5, &[5, 0]), line(4, 0, &[])];
        let (lines, branches) = crate::driver::shares(&detail);
        let coverage = DriverCoverage {
            kernel: crate::report::KernelHeader { spec: "7.3+gcov".into(), ..Default::default() },
            run_id: "run-1".into(),
            scenarios_counted: 1,
            scenarios_lost: Vec::new(),
            duration_ms: 1,
            lines,
            branches,
            claims: None,
            detail,
        };
        let page = driver_page(&coverage, "int a;\nif (a < 1)\n\n\tb();\n");
        assert!(page.contains("a &lt; 1") && !page.contains("a < 1"));
        assert!(
            page.contains("id=\"L2\" class=\"odd\"") && page.contains("id=\"L4\" class=\"bad\"")
        );
        assert!(page.contains("id=\"L1\" class=\"\"") && page.contains("66.7 %"));
        assert!(!page.contains("http://") && !page.contains("https://"));
    }
}
