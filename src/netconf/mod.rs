//! Layer 2: the NETCONF server of RFC 6241.
mod audit;
pub mod clock;
mod evaluator;
pub mod operations;
pub mod ops;
pub mod reply;
pub mod rpc;
pub mod server;
pub mod session;
pub mod subscription;
