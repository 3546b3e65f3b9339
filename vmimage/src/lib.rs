//! What a virtual machine is made of, and the QEMU that runs it.
//!
//! A test run needs a kernel, a few programs with their libraries, an initramfs that holds them, and
//! a QEMU new enough to be trusted. All of it comes from the distribution's own archive, through apt
//! with a private state directory, into a content-addressed cache: no root, nothing installed on the
//! machine, and a second run builds nothing. This crate knows kernels and QEMU and nothing of what
//! is tested in them; it prints nothing and reports through [`progress::Progress`].
//!
//! The order of use is [`cache::Cache`], [`archive::Archive`], [`kernel::resolve`] and
//! [`kernel::fetch`], [`userland::Userland`], [`image::build`], [`qemu_install::provide`], and then
//! [`machine`].

#![forbid(unsafe_code)]

pub mod arch;
pub mod archive;
pub mod cache;
pub mod command;
pub mod elf;
pub mod fsio;
pub mod image;
pub mod initramfs;
pub mod kernel;
pub mod machine;
pub mod modules;
pub mod process_group;
pub mod progress;
pub mod qemu_install;
pub mod selftests;
pub mod source_package;
pub mod symbols;
mod sysroot;
pub mod userland;
