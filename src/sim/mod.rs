//! Layer 5: the other end, for tests and examples; never used by main.
pub mod cloud;
