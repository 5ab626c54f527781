//! The values of the commands: how `?` shows them, which texts they can be, and where the device knows some.

use super::filters;
use crate::log::levels::PARTS;

/// Which values there are, for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Those of a leaf on the device.
    OnDevice {
        /// The content of a subtree filter of get.
        filter: &'static str,
        /// The leaf.
        leaf: &'static str,
    },
    /// These.
    Always(&'static [&'static str]),
}

/// The name of the device.
pub const NAME: Known = Known::OnDevice {
    filter: filters::NAME,
    leaf: "hostname",
};

/// A value.
#[derive(Debug)]
pub struct Value {
    /// Its name in the syntax.
    pub name: &'static str,
    /// How `?` shows it.
    pub shown: &'static str,
    /// What `?` says of it.
    pub help: &'static str,
    /// Whether a text can be it; the server looks closer.
    pub fits: fn(&str) -> bool,
    /// Whether it is all that follows.
    pub takes_rest: bool,
    /// Where the device knows some.
    pub known: Option<Known>,
}

const fn value(
    name: &'static str,
    shown: &'static str,
    help: &'static str,
    fits: fn(&str) -> bool,
) -> Value {
    Value {
        name,
        shown,
        help,
        fits,
        takes_rest: false,
        known: None,
    }
}

impl Value {
    const fn known(self, filter: &'static str, leaf: &'static str) -> Self {
        self.of(Known::OnDevice { filter, leaf })
    }

    const fn of(self, known: Known) -> Self {
        Self {
            known: Some(known),
            ..self
        }
    }

    const fn up_to_the_end(self) -> Self {
        Self {
            takes_rest: true,
            ..self
        }
    }
}

fn is_number(text: &str, from: u32, to: u32) -> bool {
    text.parse()
        .is_ok_and(|number| (from..=to).contains(&number))
        && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_length(text: &str, to: usize) -> bool {
    (1..=to).contains(&text.chars().count())
}

/// All of them.
pub static VALUES: &[Value] = &[
    value(
        "backup-domain",
        "STRING<1-253>",
        "Domain name or IP address of the backup server",
        |text| has_length(text, 253),
    )
    .known(filters::BACKUP_DOMAINS, "domain"),
    value(
        "cipher",
        "STRING<4-1027>",
        "Password in encrypted form, as the configuration displays it",
        |text| text.starts_with("$1$") && has_length(text, 1027),
    ),
    value(
        "code",
        "STRING<1-127>",
        "Verification code that the cloud has given",
        |text| has_length(text, 127),
    ),
    value(
        "commit-id",
        "INTEGER<1-4294967295>",
        "Number of the commit",
        |text| is_number(text, 1, u32::MAX),
    )
    .known(filters::COMMIT_IDS, "id"),
    value(
        "domain-name",
        "STRING<1-253>",
        "Domain name or IP address of the cloud server",
        |text| has_length(text, 253),
    )
    .known(filters::SERVER_DOMAINS, "domain"),
    value("host-name", "STRING<1-253>", "Host name", |text| {
        has_length(text, 253)
    })
    .known(filters::STATIC_HOSTS, "name"),
    value(
        "interval",
        "INTEGER<10-600>",
        "Keepalive interval in seconds",
        |text| is_number(text, 10, 600),
    ),
    value("ip-address", "X.X.X.X", "IP address of the host", |text| {
        text.parse::<std::net::IpAddr>().is_ok()
    })
    .known(filters::STATIC_HOSTS, "address"),
    value("module", "STRING<1-64>", "Part of the agent", |text| {
        has_length(text, 64)
    })
    .of(Known::Always(&PARTS)),
    value(
        "number",
        "INTEGER<1-1000>",
        "The newest so many entries",
        |text| is_number(text, 1, 1000),
    ),
    value(
        "port-number",
        "INTEGER<1-65535>",
        "TCP port number",
        |text| is_number(text, 1, 65535),
    ),
    value("regular-expression", "TEXT", "Regular expression", |text| {
        !text.is_empty()
    })
    .up_to_the_end(),
    value(
        "seconds",
        "INTEGER<1-4294967295>",
        "Seconds within which it is to be confirmed",
        |text| is_number(text, 1, u32::MAX),
    ),
    value(
        "session-id",
        "INTEGER<1-4294967295>",
        "Number of the session",
        |text| is_number(text, 1, u32::MAX),
    )
    .known(filters::SESSION_IDS, "session-id"),
    value(
        "simple",
        "STRING<1-63>",
        "Password in plaintext form",
        |text| has_length(text, 63),
    ),
    value("source-ip", "X.X.X.X", "Source IPv4 address", |text| {
        text.parse::<std::net::Ipv4Addr>().is_ok()
    }),
    value("source-ipv6", "X:X::X:X", "Source IPv6 address", |text| {
        text.parse::<std::net::Ipv6Addr>().is_ok()
    }),
    value("sysname", "STRING<1-253>", "Name of the device", |text| {
        has_length(text, 253)
    })
    .of(NAME),
    value(
        "text",
        "TEXT",
        "What the list of commits is to say",
        |text| has_length(text, 255),
    )
    .up_to_the_end(),
    value(
        "vpn-instance-name",
        "STRING<1-31>",
        "Name of the VPN instance",
        |text| has_length(text, 31),
    )
    .known(filters::VPN_INSTANCES, "vpn-instance"),
];

/// What stands for a name of the syntax that nobody has explained; a test sees that there is none.
static UNEXPLAINED: Value = value("", "TEXT", "", |_| true);

/// The value of a name in the syntax.
pub fn named(name: &str) -> &'static Value {
    let found = VALUES.iter().find(|value| value.name == name);
    found.unwrap_or(&UNEXPLAINED)
}
