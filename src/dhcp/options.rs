//! Which values of options 252 and 253 count.

use std::net::IpAddr;
use std::str::FromStr as _;

use crate::model::settings::Secret;

/// Option 253: the domain of the cloud.
pub const DOMAIN: u8 = 253;
/// Option 252: the password of the cloud.
pub const PASSWORD: u8 = 252;

const LONGEST_DOMAIN: usize = 253;
const LONGEST_LABEL: usize = 63;
const LONGEST_PASSWORD: usize = 63;

/// What options 252 and 253 brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Option 253.
    pub domain: Option<String>,
    /// Option 252.
    pub password: Option<Secret>,
}

impl Discovered {
    /// Whether neither is there.
    pub fn is_empty(&self) -> bool {
        self.domain.is_none() && self.password.is_none()
    }

    /// Both options as they came, with the reasons of those that do not count. One that is empty is not there.
    pub fn read(domain: Option<&[u8]>, password: Option<&[u8]>) -> (Self, Vec<Refused>) {
        let mut refused = Vec::new();
        let mut count = |option, octets: Option<&[u8]>, check: fn(&str) -> Result<(), Reason>| {
            let value = text(octets?).and_then(|text| {
                check(text)?;
                Ok(text.to_owned())
            });
            match value {
                Ok(value) => Some(value),
                Err(Reason::Empty) => None,
                Err(reason) => {
                    refused.push(Refused { option, reason });
                    None
                }
            }
        };
        let found = Self {
            domain: count(DOMAIN, domain, check_domain),
            password: count(PASSWORD, password, check_password).map(Secret::new),
        };
        (found, refused)
    }
}

/// A value that does not count; says nothing of the value itself, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DHCP option {option} is refused: {reason}")]
pub struct Refused {
    /// Number of the option.
    pub option: u8,
    /// Why.
    pub reason: Reason,
}

/// Why a value does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing is left without trailing blanks.
    #[error("it is empty")]
    Empty,
    /// Something else than printable ASCII.
    #[error("it is not printable ASCII text")]
    NotText,
    /// Too many characters.
    #[error("it is longer than {0} characters")]
    TooLong(usize),
    /// Neither a domain name nor an address (RFC 6991, host).
    #[error("it is neither a domain name nor an IP address")]
    NoHost,
    /// Option 252 is used for Web Proxy Auto-Discovery as well, where it is a URL.
    #[error("it is a URL, as of Web Proxy Auto-Discovery, and no password")]
    Url,
}

/// Servers end strings with NUL, and people with blanks, that are none of the value.
fn text(octets: &[u8]) -> Result<&str, Reason> {
    let is_trailing = |octet: &u8| matches!(octet, 0 | b' ' | b'\t' | b'\r' | b'\n');
    let kept = octets.iter().rposition(|octet| !is_trailing(octet));
    let octets = kept.map_or(&[][..], |last| &octets[..=last]);
    if octets.is_empty() {
        return Err(Reason::Empty);
    }
    if !octets.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        return Err(Reason::NotText);
    }
    std::str::from_utf8(octets).map_err(|_| Reason::NotText)
}

/// The syntax of `server/domain`.
fn check_domain(domain: &str) -> Result<(), Reason> {
    if domain.len() > LONGEST_DOMAIN {
        return Err(Reason::TooLong(LONGEST_DOMAIN));
    }
    let is_name = || {
        domain
            .strip_suffix('.')
            .unwrap_or(domain)
            .split('.')
            .all(is_label)
    };
    match IpAddr::from_str(domain).is_ok() || is_name() {
        true => Ok(()),
        false => Err(Reason::NoHost),
    }
}

/// One label of a domain name (RFC 6991, domain-name; RFC 952 and underscores).
fn is_label(label: &str) -> bool {
    let octets = label.as_bytes();
    let (Some(first), Some(last)) = (octets.first(), octets.last()) else {
        return false;
    };
    let starts = first.is_ascii_alphanumeric() || *first == b'_';
    let is_inner = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    octets.len() <= LONGEST_LABEL
        && starts
        && last.is_ascii_alphanumeric()
        && octets.iter().all(is_inner)
}

fn check_password(password: &str) -> Result<(), Reason> {
    if is_url(password) {
        return Err(Reason::Url);
    }
    if password.len() > LONGEST_PASSWORD {
        return Err(Reason::TooLong(LONGEST_PASSWORD));
    }
    Ok(())
}

/// A scheme and two slashes (RFC 3986, section 3).
fn is_url(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once("://") else {
        return false;
    };
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::paths::CLOUD_STATE;
    use crate::model::schema::Schema;
    use crate::model::tree::Tree;

    fn domain(octets: &[u8]) -> Result<Option<String>, Reason> {
        let (found, refused) = Discovered::read(Some(octets), None);
        refused
            .first()
            .map_or(Ok(found.domain), |refused| Err(refused.reason))
    }

    fn password(octets: &[u8]) -> Result<Option<String>, Reason> {
        let (found, refused) = Discovered::read(None, Some(octets));
        let clear = found.password.map(|password| password.reveal().to_owned());
        refused
            .first()
            .map_or(Ok(clear), |refused| Err(refused.reason))
    }

    fn takes(octets: &[u8], value: &str) {
        assert_eq!(domain(octets), Ok(Some(value.to_owned())));
    }

    #[test]
    fn names_and_addresses_are_domains() {
        for good in [
            "cloud.example",
            "cloud",
            "_x.a-b.C0m.",
            "10.1.1.1",
            "2001:db8::1",
            "x.1",
        ] {
            takes(good.as_bytes(), good);
        }
    }

    #[test]
    fn what_follows_the_value_is_stripped() {
        takes(b"cloud.example\0", "cloud.example");
        takes(b"cloud.example \t\0\0\r\n", "cloud.example");
        assert_eq!(
            password(b" two words \0"),
            Ok(Some(" two words".to_owned()))
        );
    }

    #[test]
    fn an_empty_option_is_none() {
        for empty in [&b""[..], b"\0", b"  \0\0"] {
            assert_eq!(domain(empty), Ok(None));
            assert_eq!(password(empty), Ok(None));
        }
    }

    #[test]
    fn other_text_is_no_domain() {
        for bad in [
            "a..b",
            ".",
            ".a",
            "-a.b",
            "a-.b",
            "a b",
            "a:443",
            "https://a",
            "a/b",
            "fe80::1%eth0",
            "a_",
        ] {
            assert_eq!(domain(bad.as_bytes()), Err(Reason::NoHost), "{bad}");
        }
        assert_eq!(domain("a".repeat(64).as_bytes()), Err(Reason::NoHost));
    }

    #[test]
    fn what_is_no_printable_ascii_is_refused() {
        for bad in [
            "cloud\u{e9}.example".as_bytes(),
            b"a\0b",
            b"a\x1bb",
            b"a\nb",
            b"\xff",
        ] {
            assert_eq!(domain(bad), Err(Reason::NotText));
            assert_eq!(password(bad), Err(Reason::NotText));
        }
    }

    #[test]
    fn the_lengths_are_those_of_the_model() {
        let label = "a".repeat(63);
        let longest = [label.as_str(); 4].join(".")[..253].to_owned();
        takes(longest.as_bytes(), &longest);
        assert_eq!(
            domain(format!("{longest}.").as_bytes()),
            Err(Reason::TooLong(253))
        );
        assert_eq!(password(label.as_bytes()), Ok(Some(label.clone())));
        assert_eq!(
            password(format!("{label}a").as_bytes()),
            Err(Reason::TooLong(63))
        );
    }

    #[test]
    fn a_url_is_no_password() {
        for url in [
            "http://wpad.example/wpad.dat",
            "HTTPS://a",
            "http://wpad.example/wpad.dat\n",
        ] {
            assert_eq!(password(url.as_bytes()), Err(Reason::Url), "{url}");
        }
        let none = "a:b//c 9://d ://";
        assert_eq!(password(none.as_bytes()), Ok(Some(none.to_owned())));
    }

    #[test]
    fn one_value_that_is_refused_takes_nothing_from_the_other() {
        let (found, refused) = Discovered::read(Some(b"cloud.example"), Some(b"http://x/"));
        assert_eq!(found.domain.as_deref(), Some("cloud.example"));
        assert_eq!(found.password, None);
        let words = refused[0].to_string();
        assert!(words.contains("252") && !words.contains("http"), "{words}");
    }

    proptest! {
        #[test]
        fn every_domain_that_counts_fits_the_model(text in "[a-z0-9.:_-]{0,30}") {
            if let Ok(Some(domain)) = domain(text.as_bytes()) {
                let mut tree = Tree::new(Schema::load(&[]).unwrap());
                let path = format!("{CLOUD_STATE}/discovered[interface='eth0']/domain");
                prop_assert!(tree.set(&path, Some(&domain)).is_ok(), "{domain}");
            }
        }

        #[test]
        fn any_octets_are_read(octets: Vec<u8>) {
            let (found, _) = Discovered::read(Some(&octets), Some(&octets));
            prop_assert!(found.domain.is_none_or(|domain| domain.len() <= 253));
            prop_assert!(found.password.is_none_or(|one| one.reveal().len() <= 63));
        }
    }
}
