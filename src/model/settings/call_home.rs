//! Whom the agent calls, and how (RFC 8071): `/device-management/call-home`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use chrono::DateTime;

use super::read::{entries, invalid, leaf};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::paths;
use crate::model::tree::{Node, Tree};

/// Port of NETCONF call home over SSH (RFC 8071, section 5.1, `netconf-ch-ssh`).
const PORT: u16 = 4334;

/// `/device-management/call-home` as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallHomeSettings {
    /// The managers, in the order of the user; without any there is no call home.
    pub endpoints: Vec<Endpoint>,
    /// With which of them a series of attempts begins.
    pub start_with: StartWith,
    /// For one attempt to find the address and connect to it.
    pub max_wait: Duration,
    /// Attempts on one before the next is tried.
    pub max_attempts: u32,
    /// For how long a connection is wanted.
    pub connection_type: ConnectionType,
}

/// A manager that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What the user calls it.
    pub name: String,
    /// Address literal, or name in lower case without a trailing dot.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// `start-with`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartWith {
    /// The first of the list.
    FirstListed,
    /// The one that was connected last, else the first.
    LastConnected,
    /// Any.
    RandomSelection,
}

/// `connection-type`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionType {
    /// The connection is made again whenever it ends.
    Persistent,
    /// The connection is made now and then.
    Periodic {
        /// From the end of one to the start of the next, or from one start to the next if there is an anchor.
        period: Duration,
        /// One of the moments at which connections start.
        anchor: Option<SystemTime>,
        /// How long a connection may be idle; absent means for ever.
        idle_timeout: Option<Duration>,
    },
}

impl Default for CallHomeSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            start_with: StartWith::FirstListed,
            max_wait: Duration::from_secs(10),
            max_attempts: 3,
            connection_type: ConnectionType::Persistent,
        }
    }
}

impl Endpoint {
    /// Whether they are one manager, whatever it is called.
    pub fn is_at_same_place(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl ConnectionType {
    /// How long a connection may be idle, if there is a bound.
    pub fn idle_timeout(&self) -> Option<Duration> {
        match self {
            Self::Persistent => None,
            Self::Periodic { idle_timeout, .. } => *idle_timeout,
        }
    }
}

impl CallHomeSettings {
    /// Reads it from a validated tree.
    ///
    /// # Errors
    /// `invalid-value` for an address that no host can be called at; `operation-failed` with the app-tag
    /// `data-not-unique` for two endpoints that only differ in how the same name is written.
    pub fn read(tree: &Tree) -> Result<Self, RpcError> {
        let defaults = Self::default();
        let seconds = |name: &str| {
            leaf(tree, &format!("{}/{name}", paths::CALL_HOME)).map(Duration::from_secs)
        };
        let start_with = tree.value(&format!("{}/start-with", paths::CALL_HOME));
        let max_attempts = leaf(tree, &format!("{}/max-attempts", paths::CALL_HOME));
        Ok(Self {
            endpoints: endpoints(tree)?,
            start_with: match start_with.as_deref() {
                Some("last-connected") => StartWith::LastConnected,
                Some("random-selection") => StartWith::RandomSelection,
                _ => StartWith::FirstListed,
            },
            max_wait: seconds("max-wait").unwrap_or(defaults.max_wait),
            max_attempts: max_attempts.unwrap_or(defaults.max_attempts),
            connection_type: connection_type(tree),
        })
    }
}

fn endpoints(tree: &Tree) -> Result<Vec<Endpoint>, RpcError> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for entry in entries(tree, paths::CALL_HOME, "endpoint") {
        let endpoint = endpoint(&entry)?;
        let twin = |other: &&Endpoint| other.is_at_same_place(&endpoint);
        if let Some(twin) = endpoints.iter().find(twin) {
            let words = format!("the endpoint {} is at the same place", twin.name);
            return Err(RpcError::application(ErrorTag::OperationFailed, words)
                .app_tag("data-not-unique")
                .at(entry.path()));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn endpoint(entry: &Node<'_>) -> Result<Endpoint, RpcError> {
    let address = entry.child_value("address").unwrap_or_default();
    let host = match address.parse::<IpAddr>() {
        Ok(literal) => {
            if let Some(words) = no_host(literal) {
                return Err(invalid(&format!("{}/address", entry.path()), words));
            }
            literal.to_string()
        }
        Err(_) => address.trim_end_matches('.').to_ascii_lowercase(),
    };
    let port = entry.child_value("port").and_then(|port| port.parse().ok());
    Ok(Endpoint {
        name: entry.child_value("name").unwrap_or_default(),
        host,
        port: port.unwrap_or(PORT),
    })
}

/// Why nobody can be called there.
fn no_host(address: IpAddr) -> Option<&'static str> {
    const LINK: &str =
        "a link-local address needs the interface with it, which cannot be configured";
    match address {
        _ if address.is_unspecified() => Some("no host has this address"),
        _ if address.is_multicast() => Some("a multicast address is not that of one host"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address is not that of one host"),
        IpAddr::V6(address) if Ipv6Addr::is_unicast_link_local(&address) => Some(LINK),
        _ => None,
    }
}

fn connection_type(tree: &Tree) -> ConnectionType {
    let periodic = format!("{}/periodic", paths::CALL_HOME);
    if tree.find(&periodic).is_none() {
        return ConnectionType::Persistent;
    }
    let minutes: u64 = leaf(tree, &format!("{periodic}/period")).unwrap_or(60);
    let anchor = tree.value(&format!("{periodic}/anchor-time"));
    let anchor = anchor.and_then(|anchor| DateTime::parse_from_rfc3339(&anchor).ok());
    let idle: u64 = leaf(tree, &format!("{periodic}/idle-timeout")).unwrap_or(120);
    ConnectionType::Periodic {
        period: Duration::from_secs(minutes * 60),
        anchor: anchor.map(SystemTime::from),
        idle_timeout: (idle > 0).then(|| Duration::from_secs(idle)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Errors;
    use crate::model::schema::Schema;

    fn first(errors: Errors) -> RpcError {
        errors.into_iter().next().unwrap()
    }

    fn read(inner: &str) -> Result<CallHomeSettings, RpcError> {
        let xml = format!(
            r#"<device-management xmlns="urn:tether:yang:device-management"><call-home>{inner}</call-home></device-management>"#
        );
        let mut tree = Tree::parse_config(Schema::load(&[]).unwrap(), &xml).map_err(first)?;
        tree.validate().map_err(first)?;
        CallHomeSettings::read(&tree)
    }

    fn endpoint(name: &str, address: &str) -> String {
        format!("<endpoint><name>{name}</name><address>{address}</address></endpoint>")
    }

    #[test]
    fn an_empty_configuration_gives_the_defaults() {
        assert_eq!(read("").unwrap(), CallHomeSettings::default());
    }

    #[test]
    fn everything_is_as_configured() {
        let settings = read(
            "<endpoint><name>a</name><address>NMS.Example.</address></endpoint>\
             <endpoint><name>b</name><address>2001:DB8:0::1</address><port>6000</port></endpoint>\
             <start-with>last-connected</start-with><max-wait>7</max-wait><max-attempts>5</max-attempts>\
             <periodic><period>15</period><anchor-time>1970-01-01T01:00:00+01:00</anchor-time>\
             <idle-timeout>0</idle-timeout></periodic>",
        )
        .unwrap();
        let places: Vec<_> = settings
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.host.as_str(), endpoint.port))
            .collect();
        assert_eq!(places, [("nms.example", 4334), ("2001:db8::1", 6000)]);
        assert_eq!(settings.start_with, StartWith::LastConnected);
        assert_eq!(settings.max_wait, Duration::from_secs(7));
        assert_eq!(settings.max_attempts, 5);
        let expected = ConnectionType::Periodic {
            period: Duration::from_secs(900),
            anchor: Some(SystemTime::UNIX_EPOCH),
            idle_timeout: None,
        };
        assert_eq!(settings.connection_type, expected);
    }

    #[test]
    fn an_address_that_is_not_that_of_one_host_is_refused_at_its_path() {
        for address in [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fe80::1",
        ] {
            let error = read(&endpoint("a", address)).unwrap_err();
            assert_eq!(error.tag, ErrorTag::InvalidValue, "{address}");
            let path = error.path.unwrap();
            assert!(path.ends_with("endpoint[name='a']/address"), "{path}");
        }
    }

    #[test]
    fn two_spellings_of_one_name_are_one_place() {
        let both = endpoint("a", "nms.example") + &endpoint("b", "NMS.example.");
        let error = read(&both).unwrap_err();
        assert_eq!(error.app_tag.as_deref(), Some("data-not-unique"));
        assert!(error.message.contains("endpoint a"), "{}", error.message);
    }

    #[test]
    fn yang_refuses_a_missing_address_a_second_entry_for_a_place_and_a_ninth_endpoint() {
        let nine: String = (0..9)
            .map(|n| endpoint(&format!("e{n}"), &format!("10.0.0.{n}")))
            .collect();
        for (config, app_tag) in [
            ("<endpoint><name>a</name></endpoint>".to_owned(), None),
            (
                endpoint("a", "10.0.0.1") + &endpoint("b", "10.0.0.1"),
                Some("data-not-unique"),
            ),
            (nine, Some("too-many-elements")),
        ] {
            let error = read(&config).unwrap_err();
            assert_eq!(error.app_tag.as_deref(), app_tag, "{error:?}");
        }
    }
}
