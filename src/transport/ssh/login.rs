//! Who may log in: the users of ietf-system (RFC 7317, section 3.5), their passwords and their keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use russh::keys::key::PublicKeyExt;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use tracing::field::display;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::line::Hangup;
use super::throttle::Guesser;
use super::{Shared, Source};
use crate::model::crypt_hash;
use crate::model::settings::UserEntry;

/// RFC 8332 leaves the size to policy; NIST SP 800-131A disallows less.
const SMALLEST_RSA_KEY: usize = 2048;

/// Characters of a user's name that are told.
const LONGEST_NAME: usize = 64;

/// The users as the login looks them up.
#[derive(Debug, Default)]
pub struct Users {
    by_name: HashMap<String, User>,
}

#[derive(Debug, Default)]
struct User {
    password: Option<String>,
    keys: Vec<KeyData>,
}

impl Users {
    /// Takes what the configuration says. A key that cannot be used is left out, with a line in the log.
    pub fn new(entries: &[UserEntry]) -> Self {
        let named = entries
            .iter()
            .map(|entry| (entry.name.clone(), User::new(entry)));
        Self {
            by_name: named.collect(),
        }
    }

    /// Whether there is such a user.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn hash(&self, name: &str) -> Option<String> {
        self.by_name.get(name)?.password.clone()
    }

    fn has_key(&self, name: &str, key: &KeyData) -> bool {
        let user = self.by_name.get(name);
        user.is_some_and(|user| user.keys.contains(key))
    }
}

impl User {
    fn new(entry: &UserEntry) -> Self {
        Self {
            password: entry.password.clone(),
            keys: entry
                .authorized_keys
                .iter()
                .filter_map(|(_, blob)| usable_key(&entry.name, blob))
                .collect(),
        }
    }
}

fn usable_key(user: &str, blob: &[u8]) -> Option<KeyData> {
    let key = match <PublicKey as PublicKeyExt>::decode(blob) {
        Ok(key) => key.key_data().clone(),
        Err(error) => {
            warn!(user, %error, "an authorized key cannot be read and is not used");
            return None;
        }
    };
    let size = key.rsa().map(|rsa| rsa.key_size() as usize);
    let usable = match key.algorithm() {
        Algorithm::Rsa { .. } => size.is_some_and(|bits| bits >= SMALLEST_RSA_KEY),
        other => is_accepted(&other),
    };
    if !usable {
        let algorithm = key.algorithm();
        warn!(user, %algorithm, ?size, "an authorized key is too weak or of no accepted kind and is not used");
    }
    usable.then_some(key)
}

/// The signature algorithms of a login; `ssh-rsa` is not among them, it signs with SHA-1 (RFC 8332, section 1).
pub(super) fn is_accepted(algorithm: &Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { hash: Some(_) }
    )
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    Refused,
    /// Refused, and it was the last one.
    Exhausted,
}

/// The attempts to log in on one connection.
pub(super) struct Login {
    shared: Arc<Shared>,
    source: Source,
    hangup: Hangup,
    failures: u32,
    attempts: u32,
    user: Option<String>,
    strange: StrangeKeys,
}

/// What became of keys that let nobody in.
#[derive(Default)]
struct StrangeKeys {
    count: u32,
    /// Who the client last said it was, and the print of its key.
    last: Option<(String, String)>,
}

impl Login {
    pub(super) fn new(shared: Arc<Shared>, source: Source, hangup: Hangup) -> Self {
        let attempts = shared.limits.borrow().login_attempts;
        Self {
            shared,
            source,
            hangup,
            failures: 0,
            attempts,
            user: None,
            strange: StrangeKeys::default(),
        }
    }

    /// Whether no further attempt is answered.
    pub(super) fn is_exhausted(&self) -> bool {
        self.failures >= self.attempts
    }

    /// Who has logged in.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// One try with a password.
    pub(super) async fn password(&mut self, user: &str, password: &str) -> Verdict {
        let hash = self.shared.users.borrow().hash(user);
        if self.compare(user, password, hash).await {
            self.accept(user, "password", None)
        } else {
            self.refuse(user, "password")
        }
    }

    /// Whether it is worth the client's while to sign with this key.
    pub(super) fn offers(&mut self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> bool {
        let is_known = self.knows(user, key, algorithm);
        if !is_known {
            self.strange.count += 1;
            let print = key.fingerprint(HashAlg::Sha256).to_string();
            self.strange.last = Some((shown(user), print));
        }
        is_known
    }

    /// The client has proved that it has this key.
    pub(super) fn proves(&mut self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Verdict {
        if self.knows(user, key, algorithm) {
            self.accept(user, "publickey", Some(key))
        } else {
            self.refuse(user, "publickey")
        }
    }

    fn knows(&self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> bool {
        is_accepted(algorithm) && self.shared.users.borrow().has_key(user, key.key_data())
    }

    /// Waits as long as this source has earned, then compares, unless the connection ends before.
    async fn compare(&self, user: &str, password: &str, hash: Option<String>) -> bool {
        let clear = Zeroizing::new(password.to_owned());
        let compared = async {
            tokio::time::sleep(self.delay(user)).await;
            // Never closed, so the only way out is a permit; without one nothing is compared.
            let _permit = self.shared.hashing.acquire().await.ok()?;
            let compared = tokio::task::spawn_blocking(move || is_password(&clear, hash));
            compared.await.ok()
        };
        tokio::select! {
            equal = compared => equal.unwrap_or(false),
            () = self.hangup.gone() => false,
        }
    }

    fn delay(&self, user: &str) -> Duration {
        let guesser = Guesser::new(self.source, user);
        self.shared.throttle().delay(&guesser, Instant::now())
    }

    fn accept(&mut self, user: &str, method: &str, key: Option<&PublicKey>) -> Verdict {
        self.shared.counters.logins.fetch_add(1, Relaxed);
        let key = key.map(|key| display(key.fingerprint(HashAlg::Sha256)));
        info!(user, method, key, source = %self.source, "ssh login");
        self.user = Some(user.to_owned());
        Verdict::Accepted
    }

    fn refuse(&mut self, user: &str, method: &str) -> Verdict {
        self.failures += 1;
        self.shared.counters.failed_logins.fetch_add(1, Relaxed);
        let guesser = Guesser::new(self.source, user);
        self.shared.throttle().failed(guesser, Instant::now());
        warn!(user = shown(user), method, source = %self.source, failures = self.failures, "ssh login refused");
        if self.is_exhausted() {
            Verdict::Exhausted
        } else {
            Verdict::Refused
        }
    }
}

/// A client offers all its keys in turn, so only one who leaves without a login is told of, once. It makes no password of
/// the same source wait: keys cannot be guessed, and a machine with a wrong one must not keep people out.
impl Drop for Login {
    fn drop(&mut self) {
        let StrangeKeys { count, last } = &self.strange;
        if let (None, Some((user, key))) = (&self.user, last) {
            self.shared.counters.failed_logins.fetch_add(1, Relaxed);
            warn!(user, method = "publickey", source = %self.source, keys = count, key, "ssh login refused");
        }
    }
}

/// A name from the network: the log quotes it, and it is not longer than a line.
fn shown(user: &str) -> String {
    user.chars().take(LONGEST_NAME).collect()
}

/// Slow on purpose, and as slow for a user that does not exist or has no password.
fn is_password(clear: &str, hash: Option<String>) -> bool {
    match hash {
        Some(hash) => crypt_hash::verify(clear, &hash).is_ok(),
        None => {
            crypt_hash::verify_nobody(clear);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_key_is_left_out_and_the_user_stays() {
        let user = UserEntry {
            name: "a".into(),
            password: None,
            authorized_keys: vec![("ssh-ed25519".into(), b"rubbish".to_vec())],
        };
        assert!(Users::new(&[user]).contains("a"));
    }

    #[test]
    fn rsa_signatures_with_sha1_are_not_accepted() {
        assert!(!is_accepted(&Algorithm::Rsa { hash: None }));
        assert!(is_accepted(&Algorithm::Ed25519));
    }
}
