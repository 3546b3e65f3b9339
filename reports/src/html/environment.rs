//! Where the numbers and verdicts come from, and how to get them again.

use maud::{Markup, Render, html};

use crate::event::GuestFacts;
use crate::report::{KernelHeader, RunHeader};

use super::clean::line;
use super::{Artifact, reproduce, units};

/// A run's surroundings.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) run: &'a RunHeader,
    /// Each kernel, and what its guest said of itself.
    pub(super) kernels: Vec<(&'a KernelHeader, Option<&'a GuestFacts>)>,
    pub(super) duration_ms: Option<u64>,
    /// What else is known, by name.
    pub(super) more: Vec<(&'static str, String)>,
    pub(super) artifacts: &'a [Artifact],
}

/// One block for each run.
pub(super) fn section(all: &[Surroundings<'_>]) -> Markup {
    if all.is_empty() {
        return html! {};
    }
    html! {
        section #environment aria-labelledby="environment-title" {
            h2 #environment-title { "Environment" }
            @for one in all { (block(one, all.len() > 1)) }
        }
    }
}

fn block(one: &Surroundings<'_>, named: bool) -> Markup {
    let run = one.run;
    html! {
        div .environment {
            @if named { h3 { (line(&run.run_id)) } }
            (again(run))
            // A list for each kernel: what belongs together stays in one row.
            @for (kernel, guest) in &one.kernels { dl .facts { (kernel_facts(kernel, *guest)) } }
            dl .facts {
                @if let Some(server) = &run.server { (fact("Server under test", html! { (line(&server.to_string())) (hash(Some(&server.program_sha256))) })) }
                (fact("Accelerator", html! { (line(&run.accelerator.name)) " " span .dim { (line(&run.accelerator.reason)) } }))
                (fact("QEMU", html! { (line(&run.qemu.version)) " " span .dim { (line(&run.qemu.origin)) } (hash(run.qemu.sha256.as_deref())) }))
                (fact("Seed", html! { code { (format!("{:#x}", run.seed)) } }))
                (fact("Commit", commit(run)))
                (fact("Began", html! { time datetime=(units::moment_iso(run.started_at_unix_ms)) { (units::moment(run.started_at_unix_ms)) } }))
                @if let Some(ms) = one.duration_ms { (fact("Took", html! { (units::duration_ms(ms)) })) }
                (fact("Host", host(run)))
                @for (name, value) in &one.more { (fact(name, html! { (line(value)) })) }
            }
            (packages(one))
            (files(one.artifacts))
        }
    }
}

fn again(run: &RunHeader) -> Markup {
    html! {
        figure .again {
            figcaption { "Run it again" }
            pre tabindex="0" data-copy { (line(&reproduce::command(run))) }
        }
        @if run.dirty {
            p .dim { "The tree had local changes, which the commit does not have." }
        }
    }
}

fn fact(name: &str, value: impl Render) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn hash(sha256: Option<&str>) -> Markup {
    html! { @if let Some(sha256) = sha256 { br; code .hash.sum { "sha256 " (line(sha256)) } } }
}

fn kernel_facts(kernel: &KernelHeader, guest: Option<&GuestFacts>) -> Markup {
    let release = guest.map(|guest| guest.kernel_release.as_str()).or(kernel.release.as_deref());
    html! {
        (fact("Kernel", html! {
            (line(release.unwrap_or(&kernel.spec)))
            @if let Some(guest) = guest { br; span .dim { (line(&guest.kernel_version)) } }
        }))
        (fact("Its config", html! { @match &kernel.config_sha256 {
            Some(sha256) => code .hash.sum { "sha256 " (line(sha256)) },
            None => span .dim { "not known" },
        } }))
        @if let Some(guest) = guest {
            (fact("Guest", html! {
                (units::things(u64::from(guest.cpus), "CPU")) ", " (units::bytes(guest.memory_bytes)) ", "
                @match guest.ublk_features {
                    Some(features) => { "ublk features " code { (format!("{features:#x}")) } },
                    None => { "ublk features unknown" },
                }
                br; code .hash { (line(&guest.cmdline)) }
            }))
        }
    }
}

fn commit(run: &RunHeader) -> Markup {
    html! {
        @match &run.commit { Some(commit) => code .hash { (line(commit)) }, None => "unknown" }
        @if run.dirty { " with local changes" }
    }
}

fn host(run: &RunHeader) -> Markup {
    let host = &run.host;
    html! {
        (line(&host.cpu_model)) ", " (units::things(u64::from(host.cpus), "CPU")) ", " (units::bytes(host.memory_bytes))
        br; span .dim { (line(&host.os)) ", Linux " (line(&host.kernel_release)) }
    }
}

fn packages(one: &Surroundings<'_>) -> Markup {
    html! {
        @for (kernel, _) in &one.kernels {
            @if !kernel.packages.is_empty() {
                details .text {
                    summary {
                        "Image of kernel " (line(&kernel.spec)) " "
                        span .dim { (units::things(kernel.packages.len() as u64, "package")) }
                    }
                    div .scroll tabindex="0" role="region" aria-label={ "Packages of kernel " (line(&kernel.spec)) } {
                        table .packages {
                            thead { tr {
                                th scope="col" { "Package" } th scope="col" { "Version" }
                                th scope="col" { "Origin" } th scope="col" { "SHA-256" }
                            } }
                            tbody { @for entry in &kernel.packages {
                                tr {
                                    th scope="row" { (line(&entry.name)) }
                                    td { (line(&entry.version)) } td { (line(&entry.origin)) }
                                    td { code .hash title=(entry.sha256) { (units::short_hash(&entry.sha256)) "\u{2026}" } }
                                }
                            } }
                        }
                    }
                }
            }
        }
    }
}

fn files(artifacts: &[Artifact]) -> Markup {
    html! {
        @if !artifacts.is_empty() {
            h3 .minor { "Files" }
            ul .files {
                @for file in artifacts {
                    li { a href=(file.href) { (line(&file.name)) } " " span .dim { (units::bytes(file.len_bytes)) } }
                }
            }
        }
    }
}
