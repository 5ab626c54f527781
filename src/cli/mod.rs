//! Layer 2: the command line, a NETCONF client.
pub mod show;
