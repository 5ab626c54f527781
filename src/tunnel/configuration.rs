//! What a commit means for the tunnel (model.md, "Which change does what, at commit").

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::datastore::subscriber::{Direction, Reach};
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
    pub dns: Arc<DnsSettings>,
}

impl Configuration {
    /// The services whose modules are registered and that are enabled.
    pub fn services(&self, registered: &BTreeSet<String>) -> BTreeSet<String> {
        let disabled = &self.cloud.disabled_services;
        registered.difference(disabled).cloned().collect()
    }

    /// What the machine is told when this configuration follows another one. It compares for itself, so what did not
    /// change may be told again; only the static hosts and resolvers, of which it knows nothing, are compared here.
    pub fn events(
        &self,
        before: &Self,
        registered: &BTreeSet<String>,
        discovered: &Discovered,
        direction: Direction,
    ) -> Vec<Event> {
        let cause = match direction {
            Direction::RolledBack => Cause::RolledBack,
            Direction::Onward | Direction::TakenBack => self.cause(before),
        };
        let code = self.cloud.unbinding_code.clone();
        let mut events = vec![
            // Before the target, so that an attempt that it begins registers with them.
            Event::Services(self.services(registered)),
            Event::KeepaliveInterval(self.cloud.keepalive_interval),
            Event::PrimaryReturn(self.cloud.primary_return),
            self.target(discovered, cause),
            match direction {
                Direction::Onward => Event::ConfiguredCode(code),
                Direction::TakenBack | Direction::RolledBack => Event::RestoredCode(code),
            },
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
    use crate::dhcp::findings::Finding;
    use crate::model::settings::{BackupServer, Family};

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
                Direction::Onward,
            );
            events.contains(&Event::HostsChanged)
        };
        assert!(!told(&after));
        Arc::make_mut(&mut after.dns).hosts =
            vec![("cloud.com".into(), vec![[10, 1, 1, 1].into()])];
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
            Direction::Onward,
        );
        let offered = BTreeSet::from(["telemetry".to_owned()]);
        assert_eq!(events[0], Event::Services(offered));
    }

    fn of(domain: &str) -> Configuration {
        let mut configuration = Configuration::default();
        configuration.cloud.ipv4.domain = Some(domain.into());
        configuration
    }

    fn with_backups(domains: &[&str]) -> Configuration {
        let mut configuration = of("cloud.com");
        configuration.cloud.backups = domains
            .iter()
            .map(|domain| BackupServer {
                family: Family::Ipv4,
                domain: (*domain).to_owned(),
                port: None,
                vpn_instance: None,
                source_ip: None,
            })
            .collect();
        configuration
    }

    /// A tunnel on a way of this configuration's target.
    fn on(configuration: &Configuration, way: usize) -> (Target, usize) {
        let target = target(&configuration.cloud, &Discovered::default());
        (target.unwrap(), way)
    }

    fn reach(
        before: &Configuration,
        after: &Configuration,
        standing: Option<&(Target, usize)>,
    ) -> Reach {
        after.reach(before, standing, &Findings::new())
    }

    #[test]
    fn another_target_cuts_a_tunnel_that_stands_and_no_other() {
        let (before, after) = (of("cloud.com"), of("other.com"));
        let tunnel = on(&before, 0);
        assert_eq!(reach(&before, &after, Some(&tunnel)), Reach::Cut);
        assert_eq!(reach(&before, &after, None), Reach::Moved);
        assert_eq!(
            reach(&before, &of("CLOUD.com."), Some(&tunnel)),
            Reach::Kept
        );
        let nobody = Configuration::default();
        assert_eq!(reach(&before, &nobody, Some(&tunnel)), Reach::Cut);
        assert_eq!(reach(&nobody, &after, None), Reach::Moved);
    }

    #[test]
    fn a_tunnel_that_an_earlier_change_ends_stands_no_more() {
        let (first, second, third) = (of("cloud.com"), of("other.com"), of("third.com"));
        let tunnel = on(&first, 0);
        // The driver has not heard of the second yet.
        assert_eq!(reach(&second, &third, Some(&tunnel)), Reach::Moved);
        assert_eq!(reach(&second, &first, Some(&tunnel)), Reach::Moved);
    }

    #[test]
    fn of_the_backup_servers_only_its_own_cuts_a_tunnel() {
        let before = with_backups(&["a.com", "b.com"]);
        let on_b = on(&before, 2);
        let in_turn = with_backups(&["b.com", "c.com"]);
        assert_eq!(reach(&before, &in_turn, Some(&on_b)), Reach::Kept);
        let without = with_backups(&["a.com"]);
        assert_eq!(reach(&before, &without, Some(&on_b)), Reach::Cut);
        assert_eq!(reach(&before, &without, Some(&on(&before, 0))), Reach::Kept);
        assert_eq!(reach(&before, &without, None), Reach::Moved);
    }

    #[test]
    fn what_is_discovered_stands_for_what_is_configured() {
        let mut before = of("cloud.com");
        before.cloud.discovery = vec!["eth0".to_owned()];
        let discovered = Discovered {
            domain: Some("dhcp.example".to_owned()),
            password: None,
        };
        let tunnel = (target(&before.cloud, &discovered).unwrap(), 0);
        let at = std::time::Instant::now();
        let findings = Findings::from([("eth0".to_owned(), Finding { discovered, at })]);
        let reach = |after: &Configuration| after.reach(&before, Some(&tunnel), &findings);
        let mut after = before.clone();
        after.cloud.ipv4.domain = Some("other.com".to_owned());
        assert_eq!(reach(&after), Reach::Kept);
        after.cloud.port = 8443;
        assert_eq!(reach(&after), Reach::Cut);
        let mut without = before.clone();
        without.cloud.discovery.clear();
        assert_eq!(reach(&without), Reach::Cut);
    }
}
