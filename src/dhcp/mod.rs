//! Layer 1: discovery of the cloud by DHCP. "The device obtains the IP address of the DHCP server and parses the option
//! 253 field in the DHCP packets to obtain the domain name of the cloud server", and option 252 for the password (manual,
//! "About this task").
//!
//! The agent is no DHCP client: it leaves addresses and UDP port 68 to the one of the device. It asks for the two options
//! alone ([`inform`], RFC 2131, section 3.4), and takes what the hook of that client hands over. [`client`] gives
//! [`inform`] sockets and a clock, [`message`] is what travels, [`options`] which values count, [`findings`] what has been
//! found where.

pub mod client;
pub mod findings;
pub mod inform;
pub mod message;
pub mod options;
