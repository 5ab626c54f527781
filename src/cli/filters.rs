//! What the commands ask the server for: the content of subtree filters (RFC 6241, section 6), and the namespaces in them.

/// `urn:tether:yang:cloud-management` around something, or its name.
macro_rules! cloud {
    () => {
        "urn:tether:yang:cloud-management"
    };
    ($inside:literal) => {
        concat!(
            "<cloud-management xmlns=\"",
            cloud!(),
            "\">",
            $inside,
            "</cloud-management>"
        )
    };
}

/// The same for ietf-system (RFC 7317).
macro_rules! system {
    () => {
        "urn:ietf:params:xml:ns:yang:ietf-system"
    };
    ($inside:literal) => {
        concat!("<system xmlns=\"", system!(), "\">", $inside, "</system>")
    };
}

/// The same for device-management.
macro_rules! management {
    () => {
        "urn:tether:yang:device-management"
    };
    ($inside:literal) => {
        concat!(
            "<device-management xmlns=\"",
            management!(),
            "\">",
            $inside,
            "</device-management>"
        )
    };
}

/// The same for ietf-netconf-monitoring (RFC 6022).
macro_rules! monitoring {
    ($inside:literal) => {
        concat!(
            "<netconf-state xmlns=\"urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring\">",
            $inside,
            "</netconf-state>"
        )
    };
}

/// The namespace of cloud-management.
pub const CLOUD: &str = cloud!();
/// The namespace of ietf-system.
pub const SYSTEM: &str = system!();
/// The namespace of device-management.
pub const MANAGEMENT: &str = management!();
/// The namespace of device-hosts.
pub const HOSTS: &str = "urn:tether:yang:device-hosts";

/// All of cloud-management.
pub const ALL_OF_CLOUD: &str = cloud!("");
/// `display cloud-management state`.
pub const STATE: &str = cloud!("<state/>");
/// `display cloud-management backup-server state`.
pub const BACKUP_SERVERS: &str = cloud!("<backup-server/><server><port/></server><state/>");
/// What a test of the connection has come to.
pub const CONNECTION_TEST: &str = cloud!("<state><connection-test/></state>");
/// The unbinding code in force.
pub const UNBINDING_CODE: &str = cloud!("<unbinding-code/>");
/// The domains of the server.
pub const SERVER_DOMAINS: &str = cloud!("<server><domain/><ipv6><domain/></ipv6></server>");
/// The domains of the backup servers.
pub const BACKUP_DOMAINS: &str = cloud!("<backup-server><domain/></backup-server>");
/// The VPN instances of all servers.
pub const VPN_INSTANCES: &str = cloud!(
    "<server><vpn-instance/><ipv6><vpn-instance/></ipv6></server><backup-server><vpn-instance/></backup-server>"
);
/// The name of the device.
pub const NAME: &str = system!("<hostname/>");
/// The static hosts.
pub const STATIC_HOSTS: &str =
    system!("<dns-resolver><host xmlns=\"urn:tether:yang:device-hosts\"/></dns-resolver>");
/// `display netconf sessions`.
pub const SESSIONS: &str = monitoring!("<sessions/>");
/// Their numbers.
pub const SESSION_IDS: &str = monitoring!("<sessions><session><session-id/></session></sessions>");
/// `display configuration commit list`.
pub const COMMITS: &str = management!(
    "<commit><id/><at/><user/><session-id/><source/><rolled-back-to/><source-host/><comment/></commit>"
);
/// Their numbers.
pub const COMMIT_IDS: &str = management!("<commit><id/></commit>");

/// `display configuration commit ID`.
pub fn commit(id: &str) -> String {
    format!(
        "<device-management xmlns=\"{MANAGEMENT}\"><commit><id>{id}</id></commit></device-management>"
    )
}
