//! Layer 2: the NETCONF server of RFC 6241.
pub mod ops;
pub mod rpc;
pub mod session;
