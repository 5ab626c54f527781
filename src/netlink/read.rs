//! The kernel's messages, read.

use std::collections::HashMap;
use std::net::IpAddr;

use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::model::network::{Interface, Network};

/// What a notice is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Interfaces and addresses.
    pub interfaces: u64,
    /// Routes and rules.
    pub routes: u64,
}

impl Notices {
    /// Counts one more.
    pub fn count(&mut self, payload: &NetlinkPayload<RouteNetlinkMessage>) {
        use RouteNetlinkMessage::{
            DelAddress, DelLink, DelRoute, DelRule, NewAddress, NewLink, NewRoute, NewRule,
        };
        match payload {
            NetlinkPayload::InnerMessage(
                NewLink(_) | DelLink(_) | NewAddress(_) | DelAddress(_),
            ) => {
                self.interfaces += 1;
            }
            NetlinkPayload::InnerMessage(NewRoute(_) | DelRoute(_) | NewRule(_) | DelRule(_)) => {
                self.routes += 1;
            }
            // Notices were lost, and may have been about anything.
            NetlinkPayload::Overrun(_) => {
                self.interfaces += 1;
                self.routes += 1;
            }
            _ => {}
        }
    }
}

/// All interfaces with all addresses.
pub fn network(links: &[LinkMessage], addresses: &[AddressMessage], route_changes: u64) -> Network {
    let mut of: HashMap<u32, Vec<IpAddr>> = HashMap::new();
    for message in addresses {
        let own = of.entry(message.header.index).or_default();
        own.extend(address(message));
    }
    let interfaces = links.iter().filter_map(|link| {
        let name = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            })?;
        let interface = Interface {
            index: link.header.index,
            is_running: link
                .header
                .flags
                .contains(LinkFlags::Up | LinkFlags::Running),
            hardware_address: hardware_address(link),
            addresses: of.remove(&link.header.index).unwrap_or_default(),
        };
        Some((name, interface))
    });
    Network {
        interfaces: interfaces.collect(),
        route_changes,
    }
}

fn hardware_address(link: &LinkMessage) -> Option<[u8; 6]> {
    let address = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => Some(octets),
            _ => None,
        })?;
    address.as_slice().try_into().ok()
}

/// An address of the device, unless it may not be used, or not yet (RFC 4862, section 5.4: duplicate address detection).
fn address(message: &AddressMessage) -> Option<IpAddr> {
    let mut flags = AddressFlags::empty();
    let (mut local, mut other) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Local(address) => local = Some(*address),
            // The far end's on a point-to-point link, which has a local one beside it.
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed;
    local
        .or(other)
        .filter(|_| !flags.intersects(unusable) || flags.contains(AddressFlags::Optimistic))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn link(index: u32, name: &str, flags: LinkFlags, hardware: &[u8]) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        message
            .attributes
            .push(LinkAttribute::Address(hardware.to_vec()));
        message
    }

    fn address(index: u32, attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        message
    }

    #[test]
    fn interfaces_have_their_own_addresses_in_order() {
        let near = IpAddr::from([192, 0, 2, 7]);
        let second = IpAddr::from([192, 0, 2, 1]);
        let network = network(
            &[
                link(1, "lo", LinkFlags::Up | LinkFlags::Running, &[0; 6]),
                link(2, "eth0", LinkFlags::Up, &[2, 0, 0, 0, 0, 7]),
                link(3, "ppp0", LinkFlags::Up | LinkFlags::Running, &[]),
            ],
            &[
                address(2, vec![AddressAttribute::Local(near)]),
                address(
                    3,
                    vec![
                        AddressAttribute::Address([198, 51, 100, 1].into()),
                        AddressAttribute::Local([198, 51, 100, 2].into()),
                    ],
                ),
                address(2, vec![AddressAttribute::Address(second)]),
            ],
            5,
        );
        let eth0 = &network.interfaces["eth0"];
        assert_eq!((eth0.index, eth0.is_running), (2, false));
        assert_eq!(eth0.hardware_address, Some([2, 0, 0, 0, 0, 7]));
        assert_eq!(eth0.addresses, [near, second]);
        assert_eq!(eth0.ipv4_address(), Some(Ipv4Addr::new(192, 0, 2, 7)));
        let ppp0 = &network.interfaces["ppp0"];
        assert_eq!((ppp0.is_running, ppp0.hardware_address), (true, None));
        assert_eq!(ppp0.addresses, [IpAddr::from([198, 51, 100, 2])]);
        assert!(network.interfaces["lo"].addresses.is_empty());
        assert!(network.has_address(second) && !network.has_address([192, 0, 2, 2].into()));
        assert_eq!(network.route_changes, 5);
    }

    #[test]
    fn an_address_that_may_not_be_used_yet_is_none() {
        let six = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let with = |flags| {
            super::address(&address(
                1,
                vec![
                    AddressAttribute::Address(six),
                    AddressAttribute::Flags(flags),
                ],
            ))
        };
        assert_eq!(with(AddressFlags::Permanent), Some(six));
        assert_eq!(
            with(AddressFlags::Permanent | AddressFlags::Tentative),
            None
        );
        assert_eq!(with(AddressFlags::Dadfailed), None);
        assert_eq!(
            with(AddressFlags::Optimistic | AddressFlags::Tentative),
            Some(six)
        );
    }

    #[test]
    fn lost_notices_may_have_been_about_anything() {
        let mut notices = Notices::default();
        let lost = NetlinkPayload::Overrun(Vec::new());
        let route = RouteNetlinkMessage::NewRoute(Default::default());
        let address = RouteNetlinkMessage::DelAddress(Default::default());
        for (notice, interfaces, routes) in [
            (lost, 1, 1),
            (NetlinkPayload::InnerMessage(route), 1, 2),
            (NetlinkPayload::InnerMessage(address), 2, 2),
        ] {
            notices.count(&notice);
            assert_eq!(notices, Notices { interfaces, routes });
        }
    }
}
