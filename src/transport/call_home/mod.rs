//! NETCONF call home over SSH (RFC 8071): the agent dials a manager, and is the same SSH server on that connection as on
//! those that it accepts.
//!
//! [`machine`] says who is called when, [`driver`] calls, [`status`] is what is shown of it. Keepalives of SSH, which go
//! on whatever the manager does, notice one that has died (RFC 8071, section 4.1).

pub mod driver;
pub mod machine;
pub mod status;

#[cfg(test)]
mod tests;
