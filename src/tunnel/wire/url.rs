//! The URLs that a cloud hands out: `wss` alone, and nothing in them that is not needed to dial.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::Url;

/// Why a URL is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL, or one without a host.
    #[error("not an absolute URL")]
    Malformed,
    /// Another scheme than `wss`.
    #[error("the scheme is not wss")]
    Scheme,
    /// User information before the host.
    #[error("user information is not allowed")]
    UserInformation,
    /// A fragment.
    #[error("a fragment is not allowed")]
    Fragment,
    /// A control character, a space or a backslash.
    #[error("control characters are not allowed")]
    ControlCharacter,
    /// Port 0.
    #[error("port 0 cannot be dialled")]
    Port,
}

/// Whom to dial: a name for the resolver, or an address as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain name in lower case without a trailing dot.
    Name(String),
    /// An address literal.
    Address(IpAddr),
}

impl Host {
    /// Reads a configured or discovered domain: an address literal is one, all else is a name.
    pub fn new(domain: &str) -> Self {
        match domain.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(domain.trim_end_matches('.').to_ascii_lowercase()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// A URL that may be dialled.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudUrl {
    text: String,
    host: Host,
    port: u16,
    target: String,
}

impl CloudUrl {
    /// Host, in the form in which two are compared.
    pub fn host(&self) -> &Host {
        &self.host
    }
    /// Port, 443 where the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Path and query as they stand in the request line.
    pub fn target(&self) -> &str {
        &self.target
    }
    /// The URL as text, for the state (`subconnection/url`).
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Whether the URL names this server, so that an open connection to it can be used.
    pub fn is_at(&self, host: &Host, port: u16) -> bool {
        self.host == *host && self.port == port
    }
}

/// The query often holds a session identifier, which is as good as a key while it lives.
impl fmt::Debug for CloudUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudUrl(wss://{}:{}/…)", self.host, self.port)
    }
}

impl FromStr for CloudUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // The parser drops or rewrites these (WHATWG URL, sections 4.1 and 4.4), so they are refused beforehand.
        if text
            .chars()
            .any(|c| c.is_control() || c == ' ' || c == '\\')
        {
            return Err(UrlError::ControlCharacter);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Malformed)?;
        if !scheme.eq_ignore_ascii_case("wss") {
            return Err(UrlError::Scheme);
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::UserInformation);
        }
        // "wss:///host" would otherwise be read as "wss://host".
        if authority.is_empty() {
            return Err(UrlError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        let host = match url.host().ok_or(UrlError::Malformed)? {
            url::Host::Domain(name) => Host::new(name),
            url::Host::Ipv4(address) => Host::Address(address.into()),
            url::Host::Ipv6(address) => Host::Address(address.into()),
        };
        if host == Host::Name(String::new()) {
            return Err(UrlError::Malformed);
        }
        let port = url.port().unwrap_or(443);
        if port == 0 {
            return Err(UrlError::Port);
        }
        Ok(Self {
            target: url[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
            text: url.into(),
            host,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<CloudUrl, UrlError> {
        text.parse()
    }

    #[test]
    fn the_default_port_is_filled_in() {
        let url = parse("wss://Cloud.Example/cloud/v1/connection?session=1").unwrap();
        assert!(url.is_at(&Host::new("CLOUD.example."), 443));
        assert_eq!(url.target(), "/cloud/v1/connection?session=1");
        assert!(
            parse("WSS://cloud.example:443")
                .unwrap()
                .is_at(url.host(), 443)
        );
        assert_eq!(parse("wss://c:8443").unwrap().target(), "/");
    }

    #[test]
    fn address_literals_are_addresses() {
        let url = parse("wss://[2001:DB8::1]:8443/x").unwrap();
        assert!(url.is_at(&Host::new("2001:db8::1"), 8443));
        assert!(
            parse("wss://192.0.2.1/")
                .unwrap()
                .is_at(&Host::new("192.0.2.1"), 443)
        );
    }

    #[test]
    fn only_plain_wss_urls_are_dialled() {
        let cases = [
            ("ws://c/", UrlError::Scheme),
            ("https://c/", UrlError::Scheme),
            ("wss:c", UrlError::Malformed),
            ("/cloud", UrlError::Malformed),
            ("", UrlError::Malformed),
            ("wss://", UrlError::Malformed),
            ("wss:///c", UrlError::Malformed),
            ("wss://u@c/", UrlError::UserInformation),
            ("wss://u:p@c/", UrlError::UserInformation),
            ("wss://@c/", UrlError::UserInformation),
            ("wss://c/#f", UrlError::Fragment),
            ("wss://c/#", UrlError::Fragment),
            ("wss://c/\r\nHost: x", UrlError::ControlCharacter),
            ("\twss://c/", UrlError::ControlCharacter),
            ("wss://c\\@d/", UrlError::ControlCharacter),
            ("wss://c:0/", UrlError::Port),
            ("wss://c:65536/", UrlError::Malformed),
            ("wss://c:x/", UrlError::Malformed),
            ("wss://./", UrlError::Malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn an_at_sign_behind_the_host_is_no_user_information() {
        assert_eq!(parse("wss://c/@a?b=@").unwrap().target(), "/@a?b=@");
    }

    #[test]
    fn the_session_is_not_in_the_debug_form() {
        let url = parse("wss://c/x?session=s3cr3t").unwrap();
        assert!(!format!("{url:?}").contains("s3cr3t"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(rest in ".{0,80}") {
            let _ = parse(&rest);
            let _ = parse(&format!("wss://{rest}"));
        }

        #[test]
        fn what_is_accepted_fits_into_a_request_line(rest in "[ -~]{1,60}") {
            if let Ok(url) = parse(&format!("wss://{rest}")) {
                prop_assert!(url.target().starts_with('/'));
                prop_assert!(url.target().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
