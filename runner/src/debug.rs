//! Extra observation for `vm-debug`: dynamic debug, a function trace, SQE dumps.

use std::fs;

use reports::plan::DebugOptions;

/// Where the scenario's process appends the SQEs it sends.
pub(crate) const SQE_DUMP: &str = "/tmp/sqe-dump";

const TRACING: &str = "/sys/kernel/tracing";

/// Switches on what was asked for; returns what could not be.
pub(crate) fn begin(options: &DebugOptions) -> Vec<String> {
    let mut refused = Vec::new();
    let mut set = |path: &str, value: &str| {
        if let Err(error) = fs::write(path, value) {
            refused.push(format!("{path} = {value}: {error}"));
        }
    };
    if options.dynamic_debug {
        set("/proc/dynamic_debug/control", "module ublk_drv +pft");
        set("/proc/dynamic_debug/control", "file io_uring/* +pft");
    }
    if options.function_trace {
        set(&format!("{TRACING}/tracing_on"), "0");
        set(&format!("{TRACING}/trace"), "");
        set(&format!("{TRACING}/set_ftrace_filter"), "ublk_* io_uring_cmd*");
        set(&format!("{TRACING}/current_tracer"), "function");
        set(&format!("{TRACING}/tracing_on"), "1");
    }
    if options.sqe_dump {
        let _ = fs::remove_file(SQE_DUMP);
    }
    refused
}

/// What was recorded, as (evidence name, text).
pub(crate) fn end(options: &DebugOptions, kernel_log: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if options.dynamic_debug {
        found.push(("kernel-log", kernel_log.to_owned()));
    }
    if options.function_trace {
        let _ = fs::write(format!("{TRACING}/tracing_on"), "0");
        let trace = fs::read_to_string(format!("{TRACING}/trace"));
        found.push(("function-trace", trace.unwrap_or_else(|error| error.to_string())));
    }
    if options.sqe_dump {
        let dump = fs::read_to_string(SQE_DUMP);
        found.push(("sqe-dump", dump.unwrap_or_else(|error| error.to_string())));
    }
    found
}
