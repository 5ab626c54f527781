//! HTTP Digest, the server's half: RFC 7616 with SHA-256 and `qop=auth`, and nothing else.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use super::secret;

/// Nonces remembered; the oldest is forgotten beyond, its next use is answered with `stale=true`.
const NONCES: usize = 4096;

/// What the credentials are worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The device knows the password. `rspauth` proves that the cloud does.
    Accepted {
        rspauth: String,
        cnonce: String,
        nc: u32,
    },
    /// The password is right, the nonce unknown or too old.
    Stale,
    /// The password is right, the nonce count not above the last one.
    Replayed,
    /// Wrong password, another user, realm, URI or algorithm, an opaque that was not issued with the nonce, or not
    /// Digest at all.
    Refused,
}

/// One request as far as Digest covers it.
pub(super) struct Covered<'a> {
    pub method: &'a str,
    /// The request target, path and query.
    pub uri: &'a str,
    pub username: &'a str,
    pub password: &'a str,
}

struct Nonce {
    issued: Instant,
    last_nc: u32,
}

/// The nonces that this cloud issued, and the realm they are for.
pub(super) struct DigestServer {
    realm: String,
    opaque: String,
    lifetime: Duration,
    nonces: HashMap<String, Nonce>,
    order: VecDeque<String>,
}

impl DigestServer {
    pub(super) fn new(realm: &str, lifetime: Duration) -> Self {
        Self {
            realm: realm.to_owned(),
            opaque: secret::random(),
            lifetime,
            nonces: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// A fresh nonce (RFC 7616 section 3.3).
    pub(super) fn issue(&mut self, now: Instant) -> String {
        if self.order.len() >= NONCES
            && let Some(oldest) = self.order.pop_front()
        {
            self.nonces.remove(&oldest);
        }
        let nonce = secret::random();
        self.nonces.insert(
            nonce.clone(),
            Nonce {
                issued: now,
                last_nc: 0,
            },
        );
        self.order.push_back(nonce.clone());
        nonce
    }

    /// The value of `WWW-Authenticate` for this algorithm; `SHA-256` is the only one that is checked.
    pub(super) fn challenge(&mut self, algorithm: &str, stale: bool, now: Instant) -> String {
        let nonce = self.issue(now);
        let mut value = format!(
            "Digest realm={}, qop=\"auth\", algorithm={algorithm}, nonce=\"{nonce}\", opaque=\"{}\"",
            quote(&self.realm),
            self.opaque
        );
        if stale {
            value.push_str(", stale=true");
        }
        value
    }

    /// Forgets all nonces, as a restart does.
    pub(super) fn forget(&mut self) {
        self.nonces.clear();
        self.order.clear();
    }

    /// Judges an `Authorization` value.
    pub(super) fn verify(
        &mut self,
        authorization: &str,
        request: &Covered<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(given) = Credentials::parse(authorization) else {
            return Verdict::Refused;
        };
        let Some(nc) = self.fits(&given, request) else {
            return Verdict::Refused;
        };
        let keys = Keys::new(request, &self.realm, &given);
        if !secret::equal(
            given.response.as_bytes(),
            keys.response(request.method, request.uri).as_bytes(),
        ) {
            return Verdict::Refused;
        }
        match self.nonces.get_mut(&given.nonce) {
            None => Verdict::Stale,
            Some(_) if given.opaque != self.opaque => Verdict::Refused,
            Some(nonce) if now.duration_since(nonce.issued) > self.lifetime => Verdict::Stale,
            Some(nonce) if nc <= nonce.last_nc => Verdict::Replayed,
            Some(nonce) => {
                nonce.last_nc = nc;
                // RFC 7616 section 3.5: A2 of rspauth has no method.
                let rspauth = keys.response("", request.uri);
                Verdict::Accepted {
                    rspauth,
                    cnonce: given.cnonce,
                    nc,
                }
            }
        }
    }

    /// The nonce count, if everything but nonce, opaque and response is as challenged.
    fn fits(&self, given: &Credentials, request: &Covered<'_>) -> Option<u32> {
        let fits = given.username == request.username
            && given.realm == self.realm
            && given.uri == request.uri
            && given.qop == "auth"
            && given.algorithm.eq_ignore_ascii_case("SHA-256")
            && !given.cnonce.is_empty()
            && given.nc.len() == 8;
        // RFC 7616 section 3.4: exactly eight hexadecimal digits, the first request has 1.
        let nc = u32::from_str_radix(&given.nc, 16).ok()?;
        (fits && nc > 0).then_some(nc)
    }
}

/// The members of RFC 7616 section 3.4 that this server needs.
struct Credentials {
    username: String,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: String,
    cnonce: String,
    opaque: String,
    qop: String,
    nc: String,
}

impl Credentials {
    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut members = parameters(rest)?;
        let mut take = |name: &str| members.remove(name);
        Some(Self {
            username: take("username")?,
            realm: take("realm")?,
            nonce: take("nonce")?,
            uri: take("uri")?,
            response: take("response")?,
            algorithm: take("algorithm")?,
            cnonce: take("cnonce")?,
            opaque: take("opaque")?,
            qop: take("qop")?,
            nc: take("nc")?,
        })
    }
}

/// A(1) of RFC 7616 section 3.4.2, and what is joined with it.
struct Keys<'a> {
    ha1: String,
    given: &'a Credentials,
}

impl<'a> Keys<'a> {
    fn new(request: &Covered<'_>, realm: &str, given: &'a Credentials) -> Self {
        let ha1 = hash(&format!(
            "{}:{realm}:{}",
            request.username, request.password
        ));
        Self { ha1, given }
    }

    fn response(&self, method: &str, uri: &str) -> String {
        let ha2 = hash(&format!("{method}:{uri}"));
        let Credentials {
            nonce, nc, cnonce, ..
        } = self.given;
        hash(&format!("{}:{nonce}:{nc}:{cnonce}:auth:{ha2}", self.ha1))
    }
}

/// The value of `Authentication-Info` (RFC 7616 section 3.5).
pub(super) fn authentication_info(
    rspauth: Option<&str>,
    cnonce: &str,
    nc: u32,
    next: Option<&str>,
) -> String {
    let mut value = format!("qop=auth, cnonce={}, nc={nc:08x}", quote(cnonce));
    if let Some(rspauth) = rspauth {
        // Writing to a String cannot fail.
        let _ = write!(value, ", rspauth=\"{rspauth}\"");
    }
    if let Some(nonce) = next {
        let _ = write!(value, ", nextnonce=\"{nonce}\"");
    }
    value
}

fn hash(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// RFC 9110 section 5.6.4.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// `name=value` pairs separated by commas (RFC 9110 section 11.2), names in lower case; `None` when ill-formed or
/// when a name comes twice.
fn parameters(text: &str) -> Option<BTreeMap<String, String>> {
    let mut members = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = parameter_value(after.trim_start())?;
        if members
            .insert(name.trim().to_ascii_lowercase(), value)
            .is_some()
        {
            return None;
        }
        rest = match after.trim_start() {
            "" => "",
            more => more.strip_prefix(',')?.trim_start(),
        };
    }
    Some(members)
}

/// One token or quoted string, and what follows it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (token, after) = text.split_at(end);
        return (!token.is_empty()).then(|| (token.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    impl DigestServer {
        /// With this nonce issued and this opaque, as a recorded exchange has them.
        pub(in super::super) fn with_nonce(
            realm: &str,
            opaque: &str,
            nonce: &str,
            lifetime: Duration,
            now: Instant,
        ) -> Self {
            let mut server = Self::new(realm, lifetime);
            server.opaque = opaque.to_owned();
            server.nonces.insert(
                nonce.to_owned(),
                Nonce {
                    issued: now,
                    last_nc: 0,
                },
            );
            server
        }
    }

    /// RFC 7616 section 3.9.1 with its nonce, cnonce and URI.
    const RFC: &str = r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=SHA-256,
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        qop=auth, response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

    fn server() -> DigestServer {
        DigestServer::with_nonce(
            "http-auth@example.org",
            "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            Duration::from_secs(60),
            Instant::now(),
        )
    }

    fn get(password: &str) -> Covered<'_> {
        Covered {
            method: "GET",
            uri: "/dir/index.html",
            username: "Mufasa",
            password,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_example_of_rfc_7616_is_accepted_once_and_then_a_replay() {
        let mut server = server();
        let request = get("Circle of Life");
        let now = Instant::now();
        assert!(matches!(
            server.verify(RFC, &request, now),
            Verdict::Accepted { nc: 1, .. }
        ));
        assert_eq!(server.verify(RFC, &request, now), Verdict::Replayed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_password_is_refused_and_an_old_nonce_is_stale() {
        let mut server = server();
        let now = Instant::now();
        assert_eq!(
            server.verify(RFC, &get("Circle of Death"), now),
            Verdict::Refused
        );
        let late = now + Duration::from_secs(61);
        assert_eq!(
            server.verify(RFC, &get("Circle of Life"), late),
            Verdict::Stale
        );
        server.forget();
        assert_eq!(
            server.verify(RFC, &get("Circle of Life"), now),
            Verdict::Stale
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_credentials_for_another_cloud_are_stale_and_those_with_another_opaque_wrong() {
        let now = Instant::now();
        let mut stranger = DigestServer::new("http-auth@example.org", Duration::from_secs(60));
        assert_eq!(
            stranger.verify(RFC, &get("Circle of Life"), now),
            Verdict::Stale
        );
        let mut server = server();
        server.opaque = "another opaque".to_owned();
        assert_eq!(
            server.verify(RFC, &get("Circle of Life"), now),
            Verdict::Refused
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nonces_are_bounded() {
        let mut server = server();
        for _ in 0..NONCES + 10 {
            server.issue(Instant::now());
        }
        assert_eq!(server.order.len(), NONCES);
        assert!(server.nonces.len() <= NONCES + 1);
    }

    #[test]
    fn ill_formed_parameters_are_refused() {
        for text in ["a=\"b", "a", "a=1, a=2", "a=1 b=2", "a=\"\\"] {
            assert_eq!(parameters(text), None, "{text}");
        }
        let members = parameters(r#"A = "x\"y,z" , b=1"#).unwrap();
        assert_eq!(members["a"], "x\"y,z");
        assert_eq!(members["b"], "1");
    }
}
