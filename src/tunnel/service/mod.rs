//! The service modules.
pub mod telemetry;
