//! What DHCP has found, on its way to the machine and into the state.

use super::Driver;
use crate::dhcp::findings::effective;
use crate::model::status::{DiscoveredStatus, Moment};
use crate::tunnel::machine::Cause;
use crate::tunnel::target::Discovered;

impl Driver {
    /// DHCP has found something or lost it.
    pub(super) fn discover(&mut self) {
        let discovered = self.discovered();
        let target = self.configuration.target(&discovered, Cause::Discovery);
        self.tell(target);
    }

    /// What counts of it.
    pub(super) fn discovered(&self) -> Discovered {
        effective(&self.configuration.cloud.discovery, &self.findings.borrow())
    }

    /// What the state shows of the interfaces that are listed.
    pub(super) fn discovered_status(&self) -> Vec<DiscoveredStatus> {
        let findings = self.findings.borrow();
        let listed = self.configuration.cloud.discovery.iter();
        let found = listed.filter_map(|interface| {
            let finding = findings.get(interface)?;
            Some(DiscoveredStatus {
                interface: interface.clone(),
                domain: finding.discovered.domain.clone(),
                password_present: finding.discovered.password.is_some(),
                at: Moment::Run(finding.at),
            })
        });
        found.collect()
    }
}
