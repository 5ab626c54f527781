//! The configuration of a reference cloud, from code or from a TOML file.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::event::Sink;
use super::tls::Pem;

/// One device that the cloud knows.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Device {
    /// Its serial number; also its Digest user name.
    pub serial_number: String,
    /// Its password; without one it is let in unchallenged.
    pub password: Option<String>,
    /// The user it is bound to; a user other than the cloud's own refuses it.
    pub bound_to: Option<String>,
    /// Codes that lift the binding, each once.
    #[serde(default)]
    pub unbinding_codes: BTreeSet<String>,
}

/// Without password and codes.
impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("serial_number", &self.serial_number)
            .field("bound_to", &self.bound_to)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// A device without password, binding or codes.
    pub fn new(serial_number: impl Into<String>) -> Self {
        Self {
            serial_number: serial_number.into(),
            ..Self::default()
        }
    }

    /// With this password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Bound to this user.
    #[must_use]
    pub fn bound_to(mut self, user: impl Into<String>) -> Self {
        self.bound_to = Some(user.into());
        self
    }

    /// With one more unbinding code.
    #[must_use]
    pub fn unbinding_code(mut self, code: impl Into<String>) -> Self {
        self.unbinding_codes.insert(code.into());
        self
    }
}

/// One service in the subconnection list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceOffer {
    /// Its name, for example `telemetry`.
    pub name: String,
    /// The URL to list instead of the cloud's own for this service.
    pub url: Option<String>,
    /// Added to the cloud's own URL when not 0, so that a changed one makes the device reconnect.
    pub revision: u32,
}

impl ServiceOffer {
    /// At the cloud's own URL for this service.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: None,
            revision: 0,
        }
    }

    /// At this URL.
    #[must_use]
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// At the cloud's own URL with this revision.
    #[must_use]
    pub fn revision(mut self, revision: u32) -> Self {
        self.revision = revision;
        self
    }
}

/// Everything a cloud is started with.
#[derive(Clone)]
pub struct CloudConfig {
    /// Where to listen; port 0 takes a free port.
    pub listen: Vec<SocketAddr>,
    /// DNS names and IP addresses in the server certificate.
    pub names: Vec<String>,
    /// Certificate and key to use instead of made ones.
    pub certificate: Option<Pem>,
    /// `host:port` in the URLs handed out; the request's own `Host` when absent.
    pub advertise: Option<String>,
    /// The Digest realm.
    pub realm: String,
    /// The user this cloud acts for.
    pub user: String,
    /// The devices known.
    pub devices: Vec<Device>,
    /// The services listed.
    pub services: Vec<ServiceOffer>,
    /// How long a token lasts (whole seconds).
    pub token_lifetime: Duration,
    /// How long a nonce lasts.
    pub nonce_lifetime: Duration,
    /// Whether each accepted authentication hands out the next nonce (`nextnonce`).
    pub next_nonce: bool,
    /// Subconnections a device may have; one more is closed with 1013.
    pub subconnection_limit: usize,
    /// TCP connections at once; one more is dropped.
    pub connection_limit: usize,
    /// A WebSocket on which the device is silent for so long is closed with 1001.
    pub idle_limit: Duration,
    /// Telemetry notifications kept for each device; the oldest is dropped beyond.
    pub telemetry_kept: usize,
    /// Each byte is this much later, in each direction; the TCP handshake itself is not.
    pub latency: Duration,
    /// Where managers reach the devices: a port at this address for each. Without it `netconf` is no more than bytes.
    pub netconf_listen: Option<IpAddr>,
    /// Called with each event, in order; must not block.
    pub sink: Option<Sink>,
}

impl Default for CloudConfig {
    /// On 127.0.0.1 and a free port, as `localhost`, with no devices and the services `netconf` and `telemetry`.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            names: ["localhost", "127.0.0.1", "::1"]
                .map(str::to_owned)
                .to_vec(),
            certificate: None,
            advertise: None,
            realm: "cloud".to_owned(),
            user: "operator".to_owned(),
            devices: Vec::new(),
            services: ["netconf", "telemetry"].map(ServiceOffer::new).to_vec(),
            token_lifetime: Duration::from_secs(3600),
            nonce_lifetime: Duration::from_secs(86_400),
            next_nonce: false,
            subconnection_limit: 8,
            connection_limit: 4096,
            // Three of the longest keepalive intervals, and one more for good measure.
            idle_limit: Duration::from_secs(2400),
            telemetry_kept: 256,
            latency: Duration::ZERO,
            netconf_listen: None,
            sink: None,
        }
    }
}

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Not the TOML that is described in `examples/cloud.toml`.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// Only one of `certificate` and `key` is given.
    #[error("certificate and key are given together or not at all")]
    CertificateAlone,
    /// A serial number comes twice.
    #[error("device {0:?} is listed twice")]
    Twice(String),
}

/// The file, as documented in `examples/cloud.toml`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    names: Option<Vec<String>>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    advertise: Option<String>,
    realm: Option<String>,
    user: Option<String>,
    services: Option<Vec<String>>,
    token_lifetime: Option<u64>,
    nonce_lifetime: Option<u64>,
    next_nonce: Option<bool>,
    subconnection_limit: Option<usize>,
    latency: Option<u64>,
    netconf_listen: Option<IpAddr>,
    #[serde(default)]
    device: Vec<Device>,
}

impl CloudConfig {
    /// With these devices, else the default.
    pub fn with_devices(devices: impl IntoIterator<Item = Device>) -> Self {
        Self {
            devices: devices.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Reads the file documented in `examples/cloud.toml`; paths in it are relative to its folder.
    ///
    /// # Errors
    /// The file, its certificate or its key cannot be read, or it is not as documented.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder)
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text)?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = file.device.iter().find(|d| !seen.insert(&d.serial_number)) {
            return Err(ConfigError::Twice(twice.serial_number.clone()));
        }
        let certificate = match (&file.certificate, &file.key) {
            (Some(chain), Some(key)) => Some(Pem {
                chain: read(&folder.join(chain))?,
                key: read(&folder.join(key))?,
            }),
            (None, None) => None,
            _ => return Err(ConfigError::CertificateAlone),
        };
        let default = Self::default();
        let services = file
            .services
            .map(|names| names.into_iter().map(ServiceOffer::new).collect());
        Ok(Self {
            names: file.names.unwrap_or(default.names),
            certificate,
            advertise: file.advertise,
            realm: file.realm.unwrap_or(default.realm),
            user: file.user.unwrap_or(default.user),
            devices: file.device,
            services: services.unwrap_or(default.services),
            token_lifetime: file
                .token_lifetime
                .map_or(default.token_lifetime, Duration::from_secs),
            nonce_lifetime: file
                .nonce_lifetime
                .map_or(default.nonce_lifetime, Duration::from_secs),
            next_nonce: file.next_nonce.unwrap_or(default.next_nonce),
            subconnection_limit: file
                .subconnection_limit
                .unwrap_or(default.subconnection_limit),
            latency: file.latency.map_or(default.latency, Duration::from_millis),
            netconf_listen: file.netconf_listen,
            ..default
        })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_is_understood() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cloud.toml");
        let config = CloudConfig::load(&path).unwrap();
        assert!(!config.devices.is_empty());
    }

    #[test]
    fn a_misspelt_member_a_doubled_device_and_a_key_alone_are_refused() {
        let parse = |text: &str| CloudConfig::parse(text, Path::new("."));
        assert!(matches!(parse("relm = 'x'"), Err(ConfigError::Syntax(_))));
        let twice = "[[device]]\nserial-number = 'a'\n[[device]]\nserial-number = 'a'\n";
        assert!(matches!(parse(twice), Err(ConfigError::Twice(_))));
        assert!(matches!(
            parse("key = 'k.pem'"),
            Err(ConfigError::CertificateAlone)
        ));
    }
}
