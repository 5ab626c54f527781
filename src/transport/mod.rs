//! Layer 3: the doors.
pub mod local;
pub mod ssh;
