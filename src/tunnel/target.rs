//! Whom to dial: what DHCP discovered comes before what is configured, domain and password each on its own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

pub use crate::dhcp::options::Discovered;
pub use crate::model::settings::Family;
use crate::model::settings::{BackupServer, CloudSettings, Secret};
use crate::model::status::Origin;
use crate::tunnel::wire::Host;

/// The road that every connection to the cloud takes on this device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// Source address.
    pub source: Option<IpAddr>,
    /// VRF, absent for the public network.
    pub vpn_instance: Option<String>,
}

/// Which of the servers a way leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `server` and `server/ipv6`, or what DHCP discovered in their place.
    Primary,
    /// An entry of `backup-server`.
    Backup,
}

/// One server in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Name or literal, in the form in which two are compared.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// Records to ask for.
    pub family: Family,
    /// Source address and VRF.
    pub path: Path,
    /// Whose way it is.
    pub role: Role,
}

/// Everything a tunnel depends on: two that are equal are the same connection (model.md, "Equal target means").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The ways, in the order to try: the primary's, of which there is one at least, then the backup servers'.
    pub ways: Vec<Way>,
    /// Password in clear text.
    pub password: Option<Secret>,
    /// Trust anchors (DER), a set; empty means the platform's roots.
    pub trust: Arc<BTreeSet<Vec<u8>>>,
}

impl Target {
    /// The ways of the primary.
    pub fn primary(&self) -> impl Iterator<Item = &Way> {
        self.ways.iter().filter(|way| way.role == Role::Primary)
    }

    /// Whether what a tunnel on a backup server has beside its own way is still the same under `new`: primary, password
    /// and trust. "The automatically obtained and manually configured domain names are identical" (manual) already when
    /// a `discovered` domain is that of one family, though it stands for both.
    pub fn agrees_with(&self, new: &Self, discovered: bool) -> bool {
        let same_primary = if discovered {
            self.primary().any(|way| new.ways.contains(way))
        } else {
            self.primary().eq(new.primary())
        };
        same_primary && self.password == new.password && self.trust == new.trust
    }

    /// Whether a tunnel on a way of this target goes on under `new`, and as which way of that: all that it stands on is the
    /// same. "The tunnel stays unless its own server was removed" (of the backup servers).
    pub fn keeps(&self, way: usize, new: &Self, discovered: bool) -> Option<usize> {
        match self.agrees_with(new, discovered) {
            true => self.place_in(way, new),
            false => None,
        }
    }

    /// Where a way of this target has its place in `new`.
    pub fn place_in(&self, way: usize, new: &Self) -> Option<usize> {
        let way = self.ways.get(way)?;
        new.ways.iter().position(|other| other == way)
    }
}

/// Where the domain and the password of a target come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Of the domain; absent without one.
    pub domain: Option<Origin>,
    /// Of the password; absent without one.
    pub password: Option<Origin>,
}

/// The effective target, `None` when no domain of the primary is known: backup servers stand in for a primary, they are
/// none. "The domain name obtained through DHCP has a higher priority
/// than the domain name configured manually", and so has the password (manual, "Restrictions and guidelines").
pub fn target(settings: &CloudSettings, discovered: &Discovered) -> Option<Target> {
    let found = discovered.domain.as_ref();
    let ipv4 = found.or(settings.ipv4.domain.as_ref()).map(|domain| Way {
        host: Host::new(domain),
        port: settings.port,
        family: Family::Ipv4,
        path: Path {
            source: settings.ipv4.source_ip.map(IpAddr::V4),
            vpn_instance: settings.ipv4.vpn_instance.clone(),
        },
        role: Role::Primary,
    });
    let ipv6 = found.or(settings.ipv6.domain.as_ref()).map(|domain| Way {
        host: Host::new(domain),
        port: settings.port,
        family: Family::Ipv6,
        path: Path {
            source: settings.ipv6.source_ip.map(IpAddr::V6),
            vpn_instance: settings.ipv6.vpn_instance.clone(),
        },
        role: Role::Primary,
    });
    let mut ways: Vec<Way> = ipv4.into_iter().chain(ipv6).collect();
    if found.is_some() {
        drop_unfit_literals(&mut ways);
    }
    if ways.is_empty() {
        return None;
    }
    let backups = settings.backups.iter();
    ways.extend(backups.map(|entry| backup(entry, settings.port)));
    Some(Target {
        ways,
        password: discovered
            .password
            .as_ref()
            .or(settings.password.as_ref())
            .cloned(),
        trust: Arc::clone(&settings.trust),
    })
}

fn backup(entry: &BackupServer, port: u16) -> Way {
    Way {
        host: Host::new(&entry.domain),
        port: entry.port.unwrap_or(port),
        family: entry.family,
        path: Path {
            source: entry.source_ip,
            vpn_instance: entry.vpn_instance.clone(),
        },
        role: Role::Backup,
    }
}

/// A discovered domain stands for both families; when it is an address, only one of them can dial it.
fn drop_unfit_literals(ways: &mut Vec<Way>) {
    ways.retain(|way| match way.host {
        Host::Name(_) => true,
        Host::Address(address) => address.is_ipv4() == (way.family == Family::Ipv4),
    });
}

/// Where the values of [`target`] come from.
pub fn origins(settings: &CloudSettings, discovered: &Discovered) -> Origins {
    let origin = |found: bool, configured: bool| match (found, configured) {
        (true, _) => Some(Origin::Dhcp),
        (false, true) => Some(Origin::Configured),
        (false, false) => None,
    };
    Origins {
        domain: origin(
            discovered.domain.is_some(),
            settings.ipv4.domain.is_some() || settings.ipv6.domain.is_some(),
        ),
        password: origin(discovered.password.is_some(), settings.password.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(domain: &str) -> CloudSettings {
        let mut settings = CloudSettings::default();
        settings.ipv4.domain = Some(domain.into());
        settings
    }

    fn found(domain: &str) -> Discovered {
        Discovered {
            domain: Some(domain.into()),
            password: None,
        }
    }

    fn dial(settings: &CloudSettings) -> Option<Target> {
        target(settings, &Discovered::default())
    }

    #[test]
    fn without_a_domain_there_is_no_target() {
        let settings = CloudSettings {
            password: Some(Secret::new("x")),
            ..CloudSettings::default()
        };
        assert_eq!(dial(&settings), None);
    }

    #[test]
    fn case_and_trailing_dot_make_no_difference() {
        assert_eq!(
            dial(&configured("Cloud.COM.")),
            dial(&configured("cloud.com"))
        );
        assert_ne!(
            dial(&configured("cloud.org")),
            dial(&configured("cloud.com"))
        );
    }

    #[test]
    fn everything_a_tunnel_depends_on_makes_a_difference() {
        let changes: [fn(&mut CloudSettings); 5] = [
            |s| s.port = 8443,
            |s| s.password = Some(Secret::new("x")),
            |s| s.ipv4.source_ip = Some([10, 0, 0, 1].into()),
            |s| s.ipv4.vpn_instance = Some("red".into()),
            |s| s.trust = Arc::new(BTreeSet::from([vec![1]])),
        ];
        for change in changes {
            let mut settings = configured("cloud.com");
            change(&mut settings);
            assert_ne!(dial(&settings), dial(&configured("cloud.com")));
        }
    }

    #[test]
    fn the_keepalive_interval_and_the_code_make_none() {
        let mut settings = configured("cloud.com");
        settings.keepalive_interval = std::time::Duration::from_secs(10);
        settings.unbinding_code = Some(Secret::new("4711"));
        settings.disabled_services.insert("netconf".into());
        assert_eq!(dial(&settings), dial(&configured("cloud.com")));
    }

    #[test]
    fn ipv4_is_tried_before_ipv6() {
        let mut settings = configured("cloud.com");
        settings.ipv6.domain = Some("six.cloud.com".into());
        let ways = dial(&settings).unwrap().ways;
        assert_eq!(ways[0].host, Host::new("cloud.com"));
        assert_eq!(ways[1].host, Host::new("six.cloud.com"));
        assert_eq!(ways[1].family, Family::Ipv6);
    }

    #[test]
    fn a_discovered_domain_replaces_both_configured_ones() {
        let mut settings = configured("cloud.com");
        settings.ipv6.domain = Some("six.cloud.com".into());
        settings.ipv6.vpn_instance = Some("red".into());
        let ways = target(&settings, &found("dhcp.example")).unwrap().ways;
        assert!(ways.iter().all(|way| way.host == Host::new("dhcp.example")));
        assert_eq!(ways[1].path.vpn_instance.as_deref(), Some("red"));
        assert_eq!(
            origins(&settings, &found("dhcp.example")).domain,
            Some(Origin::Dhcp)
        );
    }

    fn with_backups(domains: &[&str]) -> CloudSettings {
        CloudSettings {
            backups: domains
                .iter()
                .map(|domain| BackupServer {
                    family: Family::Ipv4,
                    domain: (*domain).to_owned(),
                    port: None,
                    vpn_instance: None,
                    source_ip: None,
                })
                .collect(),
            ..configured("cloud.com")
        }
    }

    fn hosts(target: &Target) -> Vec<String> {
        target.ways.iter().map(|way| way.host.to_string()).collect()
    }

    #[test]
    fn backup_servers_follow_the_primary_in_the_order_of_the_user() {
        let mut settings = with_backups(&["z.com", "a.com"]);
        settings.ipv6.domain = Some("six.cloud.com".into());
        let target = dial(&settings).unwrap();
        assert_eq!(
            hosts(&target),
            ["cloud.com", "six.cloud.com", "z.com", "a.com"]
        );
        assert_eq!(target.primary().count(), 2);
    }

    #[test]
    fn a_discovered_domain_replaces_the_primary_alone() {
        let target = target(&with_backups(&["a.com"]), &found("dhcp.example")).unwrap();
        assert_eq!(hosts(&target), ["dhcp.example", "dhcp.example", "a.com"]);
    }

    #[test]
    fn backup_servers_alone_are_no_target() {
        let mut settings = with_backups(&["a.com"]);
        settings.ipv4.domain = None;
        assert_eq!(dial(&settings), None);
    }

    #[test]
    fn a_backup_server_without_a_port_follows_the_primary_s() {
        let mut settings = with_backups(&["a.com", "b.com"]);
        settings.backups[1].port = Some(9443);
        settings.port = 8443;
        let ports: Vec<u16> = dial(&settings)
            .unwrap()
            .ways
            .iter()
            .map(|way| way.port)
            .collect();
        assert_eq!(ports, [8443, 8443, 9443]);
    }

    #[test]
    fn a_discovered_address_is_dialled_in_its_own_family_alone() {
        let ways = target(&CloudSettings::default(), &found("2001:db8::1"))
            .unwrap()
            .ways;
        assert_eq!(ways.len(), 1);
        assert_eq!(ways[0].family, Family::Ipv6);
    }

    #[test]
    fn a_discovered_password_comes_first_and_an_identical_one_changes_nothing() {
        let mut settings = configured("cloud.com");
        settings.password = Some(Secret::new("same"));
        let mut discovered = Discovered {
            domain: None,
            password: Some(Secret::new("same")),
        };
        assert_eq!(target(&settings, &discovered), dial(&settings));
        discovered.password = Some(Secret::new("other"));
        assert_ne!(target(&settings, &discovered), dial(&settings));
        assert_eq!(origins(&settings, &discovered).password, Some(Origin::Dhcp));
    }
}
