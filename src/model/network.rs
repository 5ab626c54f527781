//! What the device's network looks like, as far as the agent looks at it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The network interfaces, by name, and how often routes have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Every interface of the network namespace.
    pub interfaces: BTreeMap<String, Interface>,
    /// Counts changes of routes and rules, so that one is a change of this.
    pub route_changes: u64,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number of it.
    pub index: u32,
    /// Whether it is switched on and has a carrier (RFC 2863, ifOperStatus up; Linux IFF_UP and IFF_RUNNING).
    pub is_running: bool,
    /// Its address, if it is an Ethernet interface or like one.
    pub hardware_address: Option<[u8; 6]>,
    /// Its addresses that may be used, in the kernel's order.
    pub addresses: Vec<IpAddr>,
}

impl Network {
    /// Whether some interface has this address.
    pub fn has_address(&self, address: IpAddr) -> bool {
        let mut interfaces = self.interfaces.values();
        interfaces.any(|interface| interface.addresses.contains(&address))
    }
}

impl Interface {
    /// The first IPv4 address.
    pub fn ipv4_address(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }
}
