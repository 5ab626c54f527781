//! Layer 5: the other end, for tests and examples; never used by main. A reference cloud, and a fleet of devices that
//! lose theirs in virtual time.
pub mod cloud;
pub mod storm;
