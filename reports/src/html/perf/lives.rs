//! A server's beginning, end and replacement, and the memory it keeps, by depth of its queue.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::perf::{PerfReport, StartUpResult};

use super::super::clean::line;
use super::super::units;
use super::frame::{folded, head, number, table};

/// Something that is known of a life, and how it is written.
struct Aspect {
    title: &'static str,
    explained: &'static str,
    read: fn(&StartUpResult) -> Option<String>,
}

const ASPECTS: [Aspect; 4] = [
    Aspect {
        title: "Start, in milliseconds",
        explained: "from the program\u{2019}s start to the open device",
        read: |life| Some(ms(life.median_ns)),
    },
    Aspect {
        title: "Stop, in milliseconds",
        explained: "from the order to delete the device to nothing left of it",
        read: |life| life.stop_median_ns.map(ms),
    },
    Aspect {
        title: "Recovery, in milliseconds",
        explained: "from the start of a server that takes over to the first read it serves",
        read: |life| life.recovery_median_ns.map(ms),
    },
    Aspect {
        title: "Memory, in KiB",
        explained: "what the server keeps resident, the most that was seen",
        read: |life| Some(units::count(life.resident_bytes? >> 10)),
    },
];

/// A folded table for each that was measured.
pub(super) fn tables(report: &PerfReport) -> Markup {
    html! { @for aspect in &ASPECTS { (one(report, aspect)) } }
}

fn one(report: &PerfReport, aspect: &Aspect) -> Markup {
    let known = || report.start_up.iter().filter(|life| (aspect.read)(life).is_some());
    let depths: BTreeSet<u16> = known().map(|life| life.depth).collect();
    let mut servers: Vec<(&str, &str)> = Vec::new();
    for life in known() {
        if !servers.contains(&(&life.name, &life.mode)) {
            servers.push((&life.name, &life.mode));
        }
    }
    if servers.is_empty() {
        return html! {};
    }
    let of = |server: (&str, &str), depth: u16| {
        known().find(|life| {
            (life.name.as_str(), life.mode.as_str(), life.depth) == (server.0, server.1, depth)
        })
    };
    let body = html! {
        @for server in &servers {
            tr {
                th scope="row" { (line(server.0)) } td { (line(server.1)) }
                @for depth in &depths { (number(of(*server, *depth).and_then(aspect.read))) }
            }
        }
    };
    let head = head(&["Server", "Mode"], depths.iter().map(|depth| format!("depth {depth}")));
    folded(aspect.title, aspect.explained, &table(aspect.title, &head, &body))
}

fn ms(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e6)
}
