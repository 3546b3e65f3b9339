//! A matrix of kernels, as far as it is more than a run of several: which kernels, what an interrupted one has done
//! already, and the pages that come of it.

mod course;
mod kernels;
mod pages;
mod parts;
mod reproducers;

pub(crate) use course::{Course, Kernel};
pub(crate) use kernels::chosen;
pub(crate) use pages::{check, deliver, previous, summary};
pub(crate) use parts::Parts;
pub(crate) use reproducers::write as write_reproducers;

/// The section of a page that holds a matrix.
pub(crate) const SECTION: &str = "vm-matrix";
