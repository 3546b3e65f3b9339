//! Placeholder for the skeleton; replaced by the first real commit of this crate.
