//! Discovery and what it stands on: the network that is watched, the interfaces that are listed.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::watched::Watched;
use crate::dhcp::client::{self, Reports};
use crate::dhcp::findings::Findings;
use crate::model::network::Network;
use crate::model::paths;
use crate::model::settings::CloudSettings;
use crate::netlink::watcher;

/// The parts that run, and how others hear of them.
pub(super) struct Discovery {
    /// Takes the list of interfaces over from each commit.
    pub listed: Watched<Vec<String>>,
    /// Where hooks of DHCP clients report.
    pub reports: Reports,
    /// What has been found.
    pub findings: watch::Receiver<Arc<Findings>>,
    /// What the network is like.
    pub network: watch::Receiver<Arc<Network>>,
    /// End once the agent stops.
    pub tasks: [JoinHandle<()>; 2],
}

impl Discovery {
    /// Starts both.
    pub fn start(stopping: &watch::Receiver<bool>) -> Self {
        let (listed, known_listed) = Watched::new(paths::DISCOVERY, CloudSettings::read_discovery);
        let (network, watcher) = watcher::start(stopping.clone());
        let setup = client::Setup {
            listed: known_listed,
            network: network.clone(),
            random: rand::random,
        };
        let (reports, findings, client) = client::start(setup, stopping.clone());
        Self {
            listed,
            reports,
            findings,
            network,
            tasks: [watcher, client],
        }
    }
}
