//! Layer 2: the cloud connection.
pub mod backoff;
pub mod driver;
pub mod machine;
pub mod net;
pub mod service;
pub mod subconnection;
pub mod target;
pub mod wire;
