//! What a change of the device's own network means: what waits may have what it waited for, and what stands may have
//! lost what it stood on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::established::Loss;
use super::{State, Tunnel};
use crate::model::network::Network;
use crate::tunnel::machine::event::Endpoint;

/// What a connection stands on in this device.
#[derive(Debug)]
pub(super) struct Ground {
    /// Its own address, as far as it is known.
    pub address: Option<IpAddr>,
    /// Its VRF.
    pub vpn_instance: Option<String>,
}

impl Ground {
    pub fn new(address: Option<IpAddr>, server: &Endpoint) -> Self {
        Self {
            address,
            vpn_instance: server.path.vpn_instance.clone(),
        }
    }

    /// Whether it was there and is not any more. What was never seen – an address out of a local prefix such as
    /// 127.0.0.0/8, an interface while netlink is not to be had – is not missed.
    fn is_gone(&self, before: &Network, now: &Network) -> bool {
        let address_is_gone = self
            .address
            .is_some_and(|address| before.has_address(address) && !now.has_address(address));
        // One of the same name with another number is another one, of which a bound socket knows nothing.
        let number = |network: &Network| {
            let name = self.vpn_instance.as_ref()?;
            network.interfaces.get(name).map(|found| found.index)
        };
        let vpn_instance_is_gone = number(before).is_some() && number(before) != number(now);
        address_is_gone || vpn_instance_is_gone
    }
}

impl Tunnel {
    /// A tunnel whose address or VRF is gone is lost at once. What waits wakes, at most once each five seconds; a wake-up
    /// that comes too early is done when it may, and so is the retry of a tunnel that was lost just now: what goes on
    /// here concerns this device alone, so there is no crowd to be kept apart.
    pub(super) fn network_changed(&mut self, network: Arc<Network>, now: Instant) {
        let before = std::mem::replace(&mut self.network, network);
        let lost = matches!(&self.state, State::Established(established)
            if established.ground.is_gone(&before, &self.network));
        if lost {
            self.lose(&Loss::Ground, now);
        }
        self.wake_for_network(now);
        self.tick(now);
    }

    fn wake_for_network(&mut self, now: Instant) {
        let at = self.retry.next_wake(now);
        let woke = match &mut self.state {
            State::Waiting { until } if at < *until => {
                *until = at.max(self.retry.all_held_until(now).unwrap_or(at));
                true
            }
            State::Established(_) => self.wake_subconnections(at, now),
            _ => false,
        };
        if woke {
            self.retry.wakes_at(at);
        }
    }
}
