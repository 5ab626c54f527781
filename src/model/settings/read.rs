//! From the validated tree to the types: what YANG guarantees is read as it stands, the rest is checked here.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{
    BackupServer, CloudSettings, DnsSettings, Family, Limits, Secret, ServerSettings, UserEntry,
};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::paths;
use crate::model::secret::SecretKey;
use crate::model::tree::{Node, Tree};

/// The longest name Linux gives a network device, and so a VRF (IFNAMSIZ - 1).
const LONGEST_DEVICE_NAME: usize = 15;

/// The default of `commit-guard/timeout`.
const COMMIT_GUARD_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn invalid(path: &str, words: impl Into<String>) -> RpcError {
    RpcError::application(ErrorTag::InvalidValue, words).at(path)
}

/// A leaf that YANG has given the syntax of `T`; absent where it is not set.
pub(super) fn leaf<T: FromStr>(tree: &Tree, path: &str) -> Option<T> {
    tree.value(path)?.parse().ok()
}

/// The entries of a list below a container.
pub(super) fn entries<'a>(
    tree: &'a Tree,
    container: &str,
    list: &'a str,
) -> impl Iterator<Item = Node<'a>> {
    let children = tree
        .find(container)
        .into_iter()
        .flat_map(|node| node.children());
    children.filter(move |child| child.name() == list)
}

fn values<'a>(node: &Node<'a>, leaf_list: &'a str) -> impl Iterator<Item = String> + use<'a> {
    let children = node
        .children()
        .filter(move |child| child.name() == leaf_list);
    children.filter_map(|child| child.value())
}

impl CloudSettings {
    /// `/cloud-management`.
    ///
    /// # Errors
    /// `invalid-value` for a vpn-instance that no Linux device can bear, a trust anchor that is not one PEM
    /// certificate, a source address that cannot reach the address literal that is the domain, and a password that this
    /// device's key does not open.
    pub fn read(tree: &Tree, key: &SecretKey) -> Result<Self, RpcError> {
        let defaults = Self::default();
        let password = format!("{}/password", paths::SERVER);
        let keepalive = leaf(tree, &format!("{}/keepalive-interval", paths::CLOUD));
        let ipv4 = server(tree, paths::SERVER)?;
        check_source(&ipv4)?;
        Ok(Self {
            ipv4,
            ipv6: server(tree, &format!("{}/ipv6", paths::SERVER))?,
            port: leaf(tree, &format!("{}/port", paths::SERVER)).unwrap_or(defaults.port),
            password: tree
                .value(&password)
                .map(|stored| key.open(&stored))
                .transpose()
                .map_err(|error| invalid(&password, error.to_string()))?,
            backups: entries(tree, paths::CLOUD, "backup-server")
                .map(|entry| backup(&entry))
                .collect::<Result<_, _>>()?,
            primary_return: leaf(tree, &format!("{}/primary-return", paths::SERVER))
                .map_or(defaults.primary_return, minutes),
            keepalive_interval: keepalive.map_or(defaults.keepalive_interval, Duration::from_secs),
            unbinding_code: Self::read_unbinding_code(tree),
            trust: Arc::new(trust(tree)?),
            discovery: Self::read_discovery(tree),
            disabled_services: entries(tree, paths::CLOUD, "service")
                .filter(|service| service.child_value("enabled").as_deref() == Some("false"))
                .filter_map(|service| service.child_value("name"))
                .collect(),
        })
    }

    /// `unbinding-code`
    pub fn read_unbinding_code(tree: &Tree) -> Option<Secret> {
        let path = format!("{}/unbinding-code", paths::CLOUD);
        tree.value(&path).map(Secret::new)
    }

    /// `commit-guard/timeout`; none without `commit-guard`.
    pub fn read_commit_guard(tree: &Tree) -> Option<Duration> {
        tree.find(paths::COMMIT_GUARD)?;
        let timeout = leaf(tree, &format!("{}/timeout", paths::COMMIT_GUARD));
        Some(timeout.map_or(COMMIT_GUARD_TIMEOUT, Duration::from_secs))
    }

    /// The interfaces of `discovery/dhcp`, in the user's order.
    pub fn read_discovery(tree: &Tree) -> Vec<String> {
        let dhcp = tree.find(&format!("{}/dhcp", paths::DISCOVERY));
        dhcp.map_or_else(Vec::new, |dhcp| values(&dhcp, "interface").collect())
    }
}

/// Zero is never.
fn minutes(minutes: u16) -> Option<Duration> {
    (minutes > 0).then(|| Duration::from_secs(u64::from(minutes) * 60))
}

fn server<A: FromStr>(tree: &Tree, path: &str) -> Result<ServerSettings<A>, RpcError> {
    let vpn = format!("{path}/vpn-instance");
    let vpn_instance = tree.value(&vpn);
    check_vpn_instance(vpn_instance.as_deref(), &vpn)?;
    Ok(ServerSettings {
        domain: tree.value(&format!("{path}/domain")),
        vpn_instance,
        source_ip: leaf(tree, &format!("{path}/source-ip")),
    })
}

/// What YANG has checked of an entry is read as it stands: that domain and source address are of its family.
fn backup(entry: &Node<'_>) -> Result<BackupServer, RpcError> {
    let vpn_instance = entry.child_value("vpn-instance");
    let vpn = format!("{}/vpn-instance", entry.path());
    check_vpn_instance(vpn_instance.as_deref(), &vpn)?;
    let number = |name: &str| entry.child_value(name)?.parse().ok();
    Ok(BackupServer {
        family: match entry.child_value("address-family").as_deref() {
            Some("ipv6") => Family::Ipv6,
            _ => Family::Ipv4,
        },
        domain: entry.child_value("domain").unwrap_or_default(),
        port: number("port"),
        vpn_instance,
        source_ip: entry
            .child_value("source-ip")
            .and_then(|source| source.parse().ok()),
    })
}

fn check_vpn_instance(name: Option<&str>, path: &str) -> Result<(), RpcError> {
    if name.is_some_and(|name| name.len() > LONGEST_DEVICE_NAME) {
        let words = format!(
            "the name of a vpn-instance has at most {LONGEST_DEVICE_NAME} bytes on this device"
        );
        return Err(invalid(path, words));
    }
    Ok(())
}

/// `server/domain` may be an IPv6 address, which no IPv4 source address reaches.
fn check_source(server: &ServerSettings<Ipv4Addr>) -> Result<(), RpcError> {
    let domain = server.domain.as_deref().unwrap_or_default();
    if server.source_ip.is_some() && domain.parse::<Ipv6Addr>().is_ok() {
        let path = format!("{}/source-ip", paths::SERVER);
        let words = "an IPv4 source address cannot reach the IPv6 address that is the domain";
        return Err(invalid(&path, words));
    }
    Ok(())
}

fn trust(tree: &Tree) -> Result<BTreeSet<Vec<u8>>, RpcError> {
    let anchors = entries(tree, paths::TRUST, "trust-anchor");
    anchors.map(|anchor| certificate(&anchor)).collect()
}

fn certificate(anchor: &Node<'_>) -> Result<Vec<u8>, RpcError> {
    let pem = anchor.child_value("certificate").unwrap_or_default();
    let refused = |words: String| Err(invalid(&format!("{}/certificate", anchor.path()), words));
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes());
    let der = match (found.next(), found.next()) {
        (Some(Ok(der)), None) => der,
        _ => return refused("a trust anchor is one certificate in PEM".to_owned()),
    };
    match RootCertStore::empty().add(der.clone()) {
        Ok(()) => Ok(der.to_vec()),
        Err(error) => refused(format!("the trust anchor is no X.509 certificate: {error}")),
    }
}

impl DnsSettings {
    /// `dns-resolver` of ietf-system with the static hosts of device-hosts.
    pub fn read(tree: &Tree) -> Self {
        let options = |name: &str| format!("{}/options/{name}", paths::DNS_RESOLVER);
        let host = |host: Node<'_>| {
            let name = host
                .child_value("name")?
                .trim_end_matches('.')
                .to_ascii_lowercase();
            Some((
                name,
                values(&host, "address")
                    .filter_map(|a| a.parse().ok())
                    .collect(),
            ))
        };
        let server = |server: Node<'_>| {
            let udp_and_tcp = server.child("udp-and-tcp")?;
            let port = udp_and_tcp
                .child_value("port")
                .and_then(|port| port.parse().ok());
            Some((
                udp_and_tcp.child_value("address")?.parse().ok()?,
                port.unwrap_or(53),
            ))
        };
        Self {
            hosts: entries(tree, paths::DNS_RESOLVER, "host")
                .filter_map(host)
                .collect(),
            servers: entries(tree, paths::DNS_RESOLVER, "server")
                .filter_map(server)
                .collect(),
            search: tree
                .find(paths::DNS_RESOLVER)
                .map(|resolver| values(&resolver, "search").collect())
                .unwrap_or_default(),
            timeout: Duration::from_secs(leaf(tree, &options("timeout")).unwrap_or(5)),
            attempts: leaf(tree, &options("attempts")).unwrap_or(2),
        }
    }
}

impl UserEntry {
    /// The users of ietf-system.
    ///
    /// # Errors
    /// Never: a key that is no base64 is refused by YANG.
    pub fn read_all(tree: &Tree) -> Vec<Self> {
        let user = |user: Node<'_>| {
            let keys = user
                .children()
                .filter(|child| child.name() == "authorized-key");
            Some(Self {
                name: user.child_value("name")?,
                password: user.child_value("password"),
                authorized_keys: keys.filter_map(|key| authorized_key(&key)).collect(),
            })
        };
        entries(tree, paths::AUTHENTICATION, "user")
            .filter_map(user)
            .collect()
    }
}

/// Algorithm and key blob (RFC 4253, section 6.6) of an authorized key.
fn authorized_key(key: &Node<'_>) -> Option<(String, Vec<u8>)> {
    let data = key.child_value("key-data")?;
    Some((key.child_value("algorithm")?, STANDARD.decode(data).ok()?))
}

impl Limits {
    /// `/device-management/limits`; the defaults are those of the module.
    pub fn read(tree: &Tree) -> Self {
        let number = |name: &str| leaf::<u32>(tree, &format!("{}/{name}", paths::LIMITS));
        let size = |name: &str, default: usize| number(name).map_or(default, |n| n as usize);
        let time = |name: &str, default: Duration| {
            number(name).map_or(default, |n| Duration::from_secs(n.into()))
        };
        let defaults = Self::default();
        Self {
            message_size: size("message-size", defaults.message_size),
            message_depth: size("message-depth", defaults.message_depth),
            login_timeout: time("login-timeout", defaults.login_timeout),
            login_attempts: number("login-attempts").unwrap_or(defaults.login_attempts),
            hello_timeout: time("hello-timeout", defaults.hello_timeout),
            idle_timeout: time("idle-timeout", defaults.idle_timeout),
            write_timeout: time("write-timeout", defaults.write_timeout),
            pipelined_requests: size("pipelined-requests", defaults.pipelined_requests),
            pipelined_octets: size("pipelined-octets", defaults.pipelined_octets),
            sessions: size("sessions", defaults.sessions),
            sessions_per_user: size("sessions-per-user", defaults.sessions_per_user),
            channels: size("channels", defaults.channels),
            subscriptions: size("subscriptions-per-session", defaults.subscriptions),
            replay_events: size("replay-events", defaults.replay_events),
            replay_octets: size("replay-octets", defaults.replay_octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::Schema;

    fn tree(xml: &str) -> Tree {
        let mut tree = Tree::parse_config(Schema::load(&[]).unwrap(), xml).unwrap();
        tree.validate().unwrap();
        tree
    }

    fn cloud(inner: &str) -> Result<CloudSettings, RpcError> {
        let xml = format!(
            r#"<cloud-management xmlns="urn:tether:yang:cloud-management">{inner}</cloud-management>"#
        );
        CloudSettings::read(&tree(&xml), &SecretKey::new(&[7; 32]))
    }

    #[test]
    fn an_empty_configuration_gives_the_defaults() {
        let empty = tree("");
        assert_eq!(
            CloudSettings::read(&empty, &SecretKey::new(&[7; 32])).unwrap(),
            CloudSettings::default()
        );
        assert_eq!(Limits::read(&empty), Limits::default());
        assert!(UserEntry::read_all(&empty).is_empty());
    }

    #[test]
    fn the_cloud_settings_are_those_configured() {
        let sealed = SecretKey::new(&[7; 32]).seal("cloudpass", [1; 12]).unwrap();
        let settings = cloud(&format!(
            "<server><domain>cloud.example</domain><source-ip>127.0.0.2</source-ip><port>8443</port>\
             <password>{sealed}</password></server><keepalive-interval>60</keepalive-interval>\
             <discovery><dhcp><interface>wan1</interface><interface>wan0</interface></dhcp></discovery>\
             <service><name>telemetry</name><enabled>false</enabled></service>"
        ));
        let settings = settings.unwrap();
        assert_eq!(settings.ipv4.domain.as_deref(), Some("cloud.example"));
        assert_eq!(settings.port, 8443);
        assert_eq!(settings.password.unwrap().reveal(), "cloudpass");
        assert_eq!(settings.keepalive_interval, Duration::from_secs(60));
        assert_eq!(settings.discovery, ["wan1", "wan0"]);
        assert!(settings.disabled_services.contains("telemetry"));
    }

    #[test]
    fn backup_servers_are_read_in_the_order_of_the_user() {
        let settings = cloud(
            "<server><primary-return>5</primary-return></server>\
             <backup-server><address-family>ipv6</address-family><domain>z.example</domain></backup-server>\
             <backup-server><address-family>ipv4</address-family><domain>a.example</domain><port>8443</port>\
             <vpn-instance>red</vpn-instance><source-ip>10.0.0.2</source-ip></backup-server>",
        );
        let settings = settings.unwrap();
        assert_eq!(settings.primary_return, Some(Duration::from_secs(300)));
        let [first, second] = &settings.backups[..] else {
            panic!("{:?}", settings.backups)
        };
        assert_eq!(
            (first.family, first.domain.as_str(), first.port),
            (Family::Ipv6, "z.example", None)
        );
        assert_eq!(second.port, Some(8443));
        assert_eq!(second.vpn_instance.as_deref(), Some("red"));
        assert_eq!(second.source_ip, Some([10, 0, 0, 2].into()));
    }

    #[test]
    fn a_primary_return_of_zero_is_never() {
        let settings = cloud("<server><primary-return>0</primary-return></server>");
        assert_eq!(settings.unwrap().primary_return, None);
    }

    #[test]
    fn a_source_address_that_cannot_reach_the_domain_is_refused_at_its_path() {
        let error =
            cloud("<server><domain>2001:db8::1</domain><source-ip>10.0.0.2</source-ip></server>");
        assert_eq!(
            error.unwrap_err().path.as_deref(),
            Some("/cloud-management:cloud-management/server/source-ip")
        );
    }

    #[test]
    fn the_vpn_instance_of_a_backup_server_is_checked_like_the_primary_s() {
        let error = cloud(
            "<backup-server><address-family>ipv4</address-family><domain>a.example</domain>\
             <vpn-instance>a-name-of-16-chr</vpn-instance></backup-server>",
        );
        let path = error.unwrap_err().path.unwrap();
        assert!(
            path.contains("backup-server[") && path.ends_with("/vpn-instance"),
            "{path}"
        );
    }

    #[test]
    fn what_yang_cannot_check_is_refused_with_its_path() {
        let long = "<server><domain>a.example</domain><vpn-instance>a-name-of-16-chr</vpn-instance></server>";
        assert_eq!(
            cloud(long).unwrap_err().path.as_deref(),
            Some("/cloud-management:cloud-management/server/vpn-instance")
        );
        let anchor = "<trust><trust-anchor><name>a</name><certificate>-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----</certificate></trust-anchor></trust>";
        let error = cloud(anchor).unwrap_err();
        assert_eq!(error.tag, ErrorTag::InvalidValue);
        assert!(
            error
                .path
                .unwrap()
                .ends_with("trust-anchor[name='a']/certificate")
        );
    }

    #[test]
    fn hosts_and_resolvers_are_read_in_their_order() {
        let dns = DnsSettings::read(&tree(
            r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><dns-resolver>
            <server><name>a</name><udp-and-tcp><address>127.0.0.53</address></udp-and-tcp></server>
            <host xmlns="urn:tether:yang:device-hosts"><name>Cloud.Example.</name><address>127.0.0.1</address></host>
            </dns-resolver></system>"#,
        ));
        assert_eq!(
            dns.hosts,
            [(
                "cloud.example".to_owned(),
                vec!["127.0.0.1".parse().unwrap()]
            )]
        );
        assert_eq!(dns.servers, [("127.0.0.53".parse().unwrap(), 53)]);
    }
}
