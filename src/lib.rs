//! tether: the agent that a network element runs to be managed.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod agent;
pub mod cli;
pub mod datastore;
pub mod model;
pub mod netconf;
pub mod protocol;
pub mod sim;
pub mod system;
pub mod transport;
pub mod tunnel;
