//! The client side of HTTP Digest (RFC 7616), algorithm SHA-256 and quality of protection `auth` alone.
//!
//! Authentication is mutual: the cloud proves with `rspauth` that it knows the password too.

use std::collections::VecDeque;
use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use super::Host;
use super::quoted::{Params, parse_challenges, parse_params, quote};
use crate::model::settings::Secret;

/// Servers whose nonce is remembered; the one used longest ago is forgotten first.
pub const NONCES_KEPT: usize = 16;

/// Why an authentication by Digest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No challenge with SHA-256 and `auth` was offered (`protocol`): nothing is sent.
    #[error("the cloud offers no Digest challenge with SHA-256 and qop auth")]
    NoUsableChallenge,
    /// The nonce was stale twice in one attempt (`protocol`).
    #[error("the cloud called the nonce stale twice")]
    StaleTwice,
    /// The credentials, or the want of a configured password, were refused (`password-refused`).
    #[error("the cloud refused the password")]
    Refused,
    /// `rspauth` is wrong or missing, or nothing was asked for (`cloud-not-authentic`).
    #[error("the cloud did not prove that it knows the password")]
    NotAuthentic,
    /// Serial number or challenge hold a character that no header line can carry (`protocol`).
    #[error("a value cannot be written into a header line")]
    Unprintable,
}

/// A challenge that this client can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    stale: bool,
}

impl Challenge {
    fn read(params: &Params) -> Option<Self> {
        if !params.get("algorithm")?.eq_ignore_ascii_case("SHA-256") {
            return None;
        }
        let mut offered = params.get("qop")?.split(',');
        if !offered.any(|qop| qop.trim().eq_ignore_ascii_case("auth")) {
            return None;
        }
        Some(Self {
            realm: params.get("realm")?.to_owned(),
            nonce: params.get("nonce")?.to_owned(),
            opaque: params.get("opaque").map(str::to_owned),
            stale: params
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The first usable challenge among all `WWW-Authenticate` lines; a malformed line offers nothing.
    pub fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let challenges = headers.into_iter().filter_map(parse_challenges).flatten();
        challenges
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("Digest"))
            .find_map(|challenge| Self::read(&challenge.params))
    }
}

/// Who authenticates, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Host of the server.
    pub host: Host,
    /// Port of the server.
    pub port: u16,
    /// User name: the serial number.
    pub user: String,
    /// The password in clear text.
    pub password: Secret,
}

/// A nonce in use.
#[derive(Clone, Debug)]
struct Nonce {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// Requests sent with it (`nc`).
    count: u32,
    /// Credentials with it, or with the one it followed, were once accepted.
    accepted: bool,
}

/// The nonces that outlive a connection: one for each server, realm and password. Not kept over a restart.
#[derive(Debug, Default)]
pub struct Nonces(VecDeque<(Credentials, Nonce)>);

impl Nonces {
    /// Starts an authentication with the nonce kept for these credentials, if any. It is taken out, so that no two
    /// requests can ever carry the same count; [`Nonces::keep`] puts it back.
    pub fn begin(&mut self, credentials: Credentials) -> Authentication {
        let found = self.0.iter().position(|(other, _)| *other == credentials);
        let nonce = found.and_then(|at| self.0.remove(at));
        Authentication {
            credentials,
            nonce: nonce.map(|(_, nonce)| nonce),
            sent: None,
            stale_seen: false,
        }
    }

    /// Keeps what an authentication leaves behind.
    pub fn keep(&mut self, ended: Authentication) {
        let Some(nonce) = ended.nonce else { return };
        self.0.retain(|(other, _)| *other != ended.credentials);
        if self.0.len() == NONCES_KEPT {
            self.0.pop_front();
        }
        self.0.push_back((ended.credentials, nonce));
    }
}

/// What went out with the last request; the answer is judged by it.
#[derive(Debug)]
struct Sent {
    realm: String,
    cnonce: String,
    count: String,
    rspauth: String,
}

/// One authentication: a request, and one or two more when the cloud challenges.
#[derive(Debug)]
pub struct Authentication {
    credentials: Credentials,
    nonce: Option<Nonce>,
    sent: Option<Sent>,
    stale_seen: bool,
}

impl Authentication {
    /// `Authorization` for the next `POST` to `target`; `None` while there is no nonce. `cnonce` must be fresh
    /// random text without quotation marks.
    pub fn authorization(
        &mut self,
        target: &str,
        cnonce: &str,
    ) -> Result<Option<String>, DigestError> {
        self.sent = None;
        let Some(nonce) = &mut self.nonce else {
            return Ok(None);
        };
        let Some(count) = nonce.count.checked_add(1) else {
            self.nonce = None;
            return Ok(None);
        };
        nonce.count = count;
        let count = format!("{count:08x}");
        let Credentials { user, password, .. } = &self.credentials;
        let secret = hex(&format!("{user}:{}:{}", nonce.realm, password.reveal()));
        let keyed = |a2: &str| {
            let value = &nonce.nonce;
            hex(&format!(
                "{secret}:{value}:{count}:{cnonce}:auth:{}",
                hex(a2)
            ))
        };
        let header = header(
            user,
            nonce,
            target,
            &count,
            cnonce,
            &keyed(&format!("POST:{target}")),
        );
        self.sent = Some(Sent {
            realm: nonce.realm.clone(),
            // RFC 7616, section 3.5: A2 of the answer has no method.
            rspauth: keyed(&format!(":{target}")),
            cnonce: cnonce.to_owned(),
            count,
        });
        header.map(Some).ok_or(DigestError::Unprintable)
    }

    /// Takes a 401: `Ok` means that the request is to be sent again.
    pub fn challenged<'a>(
        &mut self,
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), DigestError> {
        let accepted = self.nonce.take().is_some_and(|nonce| nonce.accepted);
        let challenge = Challenge::choose(headers);
        if let Some(sent) = self.sent.take() {
            let challenge = challenge.as_ref().ok_or(DigestError::Refused)?;
            // Credentials for another realm say nothing about this one's, nor do those with an old nonce if another
            // server now answers to the name; as with a stale nonce, once.
            if !challenge.stale && challenge.realm == sent.realm && !accepted {
                return Err(DigestError::Refused);
            }
            if std::mem::replace(&mut self.stale_seen, true) {
                return Err(DigestError::StaleTwice);
            }
        }
        let challenge = challenge.ok_or(DigestError::NoUsableChallenge)?;
        self.nonce = Some(Nonce {
            realm: challenge.realm,
            nonce: challenge.nonce,
            opaque: challenge.opaque,
            count: 0,
            accepted: false,
        });
        Ok(())
    }

    /// Takes the `Authentication-Info` of a 200: the cloud must have asked and must prove the password.
    pub fn confirmed(&mut self, info: Option<&str>) -> Result<(), DigestError> {
        if self.proven(info) {
            if let Some(nonce) = &mut self.nonce {
                nonce.accepted = true;
            }
            return Ok(());
        }
        self.nonce = None;
        Err(DigestError::NotAuthentic)
    }

    /// Takes the `Authentication-Info` of any other final answer, which proves nothing but may bring `nextnonce`.
    pub fn refused(&mut self, info: Option<&str>) {
        self.proven(info);
    }

    /// Checks `rspauth` and, only if it is right, takes `nextnonce` over.
    fn proven(&mut self, info: Option<&str>) -> bool {
        let (Some(sent), Some(info)) = (self.sent.take(), info.and_then(parse_params)) else {
            return false;
        };
        let agrees = |name: &str, value: &str| {
            info.get(name)
                .is_none_or(|said| said.eq_ignore_ascii_case(value))
        };
        let proven = info.get("rspauth") == Some(&sent.rspauth)
            && info.get("cnonce").is_none_or(|said| said == sent.cnonce)
            && agrees("nc", &sent.count)
            && agrees("qop", "auth");
        if let (true, Some(next), Some(nonce)) = (proven, info.get("nextnonce"), &mut self.nonce) {
            next.clone_into(&mut nonce.nonce);
            nonce.count = 0;
        }
        proven
    }
}

fn header(
    user: &str,
    nonce: &Nonce,
    target: &str,
    count: &str,
    cnonce: &str,
    response: &str,
) -> Option<String> {
    let mut header = format!("Digest {}", user_name(user)?);
    // Writing into a string cannot fail.
    let _ = write!(
        header,
        ", realm={}, uri={}, algorithm=SHA-256, nonce={}, nc={count}, cnonce={}, qop=auth, response=\"{response}\"",
        quote(&nonce.realm)?,
        quote(target)?,
        quote(&nonce.nonce)?,
        quote(cnonce)?,
    );
    if let Some(opaque) = &nonce.opaque {
        let _ = write!(header, ", opaque={}", quote(opaque)?);
    }
    Some(header)
}

/// `username`, or `username*` (RFC 7616, section 3.4; RFC 8187) where ASCII does not do.
fn user_name(user: &str) -> Option<String> {
    if user.is_ascii() {
        return Some(format!("username={}", quote(user)?));
    }
    let mut name = String::from("username*=UTF-8''");
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    Some(name)
}

fn hex(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests;
