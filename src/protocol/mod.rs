//! Layer 1: what a NETCONF server and a NETCONF client share.
pub mod client;
pub mod framing;
pub mod hello;
pub mod xml;
