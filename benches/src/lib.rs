//! Criterion benches of what needs no kernel, and the fio job files of what does.
//!
//! The library part of this package is the list of the job files, so that a renamed or broken one is seen
//! by `cargo test` and not by a performance run at night.

#![forbid(unsafe_code)]

/// Job files in `benches/fio`, by name and content.
pub const FIO_JOBS: &[(&str, &str)] = &[("randrw-4k", include_str!("../fio/randrw-4k.fio"))];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_file_is_one_that_fio_reads() {
        for (name, text) in FIO_JOBS {
            let parsed = fio_parser::JobFile::parse(text);
            assert!(parsed.is_ok(), "{name}: {parsed:?}");
        }
    }
}
