//! What a commit means for the tunnel (model.md, "Which change does what, at commit").

use std::collections::BTreeSet;

use crate::datastore::subscriber::Reach;
use crate::dhcp::findings::{Findings, effective};
use crate::model::settings::{CloudSettings, DnsSettings};
use crate::tunnel::machine::{Cause, Event};
use crate::tunnel::target::{Discovered, Target, origins, target};

/// The part of running that the tunnel works by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// `/cloud-management`
    pub cloud: CloudSettings,
    /// How the cloud's name is resolved.
    pub dns: DnsSettings,
}

impl Configuration {
    /// The services whose modules are registered and that are enabled.
    pub fn services(&self, registered: &BTreeSet<String>) -> BTreeSet<String> {
        let disabled = &self.cloud.disabled_services;
        registered.difference(disabled).cloned().collect()
    }

    /// What the machine is told when this configuration follows another one, for a `cause`. It compares for itself, so what did not
    /// change may be told again; only the static hosts and resolvers, of which it knows nothing, are compared here.
    pub fn events(
        &self,
        before: &Self,
        registered: &BTreeSet<String>,
        discovered: &Discovered,
        cause: Cause,
    ) -> Vec<Event> {
        let mut events = vec![
            // Before the target, so that an attempt that it begins registers with them.
            Event::Services(self.services(registered)),
            Event::KeepaliveInterval(self.cloud.keepalive_interval),
            Event::PrimaryReturn(self.cloud.primary_return),
            self.target(discovered, cause),
            Event::ConfiguredCode(self.cloud.unbinding_code.clone()),
        ];
        // After the target: an attempt that the commit has just begun is not woken.
        if self.dns != before.dns {
            events.push(Event::HostsChanged);
        }
        events
    }

    /// What the machine is told of whom to dial.
    pub fn target(&self, discovered: &Discovered, cause: Cause) -> Event {
        Event::Target {
            target: target(&self.cloud, discovered),
            origins: origins(&self.cloud, discovered),
            cause,
        }
    }

    /// What a change from one to the other means for a tunnel that stands on a way of a target.
    pub fn reach(
        &self,
        before: &Self,
        standing: Option<&(Target, usize)>,
        findings: &Findings,
    ) -> Reach {
        let target_of = |configuration: &Self| {
            let found = effective(&configuration.cloud.discovery, findings);
            target(&configuration.cloud, &found)
        };
        let (old, new) = (target_of(before), target_of(self));
        if old == new {
            return Reach::Kept;
        }
        // A tunnel that a change before this one is about to end stands no more.
        let way = standing.zip(old.as_ref()).and_then(|((target, way), old)| {
            let place = target.keeps(*way, old, false)?;
            Some((old, place))
        });
        let Some((old, way)) = way else {
            return Reach::Moved;
        };
        let discovered = self.cause(before) == Cause::Discovery;
        let kept = new.and_then(|new| old.keeps(way, &new, discovered));
        match kept {
            Some(_) => Reach::Kept,
            None => Reach::Cut,
        }
    }

    /// A commit that changes nothing but where is discovered changes what is discovered: a tunnel to the same server
    /// stays, and one to another is lost by that.
    pub fn cause(&self, before: &Self) -> Cause {
        let discovery = &self.cloud.discovery;
        let mut with_these = before.cloud.clone();
        with_these.discovery.clone_from(discovery);
        match before.cloud.discovery != *discovery && with_these == self.cloud {
            true => Cause::Discovery,
            false => Cause::Configuration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_hosts_or_resolvers_is_told_as_one() {
        let before = Configuration::default();
        let mut after = before.clone();
        after.cloud.port = 8443;
        let told = |after: &Configuration| {
            let events = after.events(
                &before,
                &BTreeSet::new(),
                &Discovered::default(),
                Cause::Configuration,
            );
            events.contains(&Event::HostsChanged)
        };
        assert!(!told(&after));
        after.dns.hosts = vec![("cloud.com".into(), vec![[10, 1, 1, 1].into()])];
        assert!(told(&after));
    }

    #[test]
    fn a_disabled_service_is_not_offered() {
        let mut configuration = Configuration::default();
        configuration
            .cloud
            .disabled_services
            .insert("netconf".into());
        let registered = BTreeSet::from(["netconf".to_owned(), "telemetry".to_owned()]);
        let events = configuration.events(
            &Configuration::default(),
            &registered,
            &Discovered::default(),
            Cause::Configuration,
        );
        let offered = BTreeSet::from(["telemetry".to_owned()]);
        assert_eq!(events[0], Event::Services(offered));
    }
}
