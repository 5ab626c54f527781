//! `cm:secret`: the passwords that the agent itself has to present, kept as ciphertext under a key of the device.
//!
//! A value is `$0$` and the clear text, which is what a manager may send, or `$1$` and the Base64 of nonce,
//! ciphertext and tag (ChaCha20-Poly1305, RFC 8439), which is what is stored and read back. Only the first three
//! characters are the prefix: `$0$$0$x` is the clear text `$0$x`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use thiserror::Error;
use zeroize::Zeroizing;

use super::error::{ErrorTag, RpcError};
use super::settings::Secret;

/// Octets of the device's key.
pub const KEY_LENGTH: usize = 32;
/// Octets of a nonce; random ones serve, since a device seals few secrets in its life.
pub const NONCE_LENGTH: usize = 12;

const CLEAR: &str = "$0$";
const SEALED: &str = "$1$";
/// Characters of a clear text (manual: "a string of 1 to 63 characters").
const LONGEST: usize = 63;
/// Ties a ciphertext to its purpose: one made with this key for anything else does not open as a secret.
const PURPOSE: &[u8] = b"cloud-management:secret";

/// Why a value of `cm:secret` is refused. None of these shows the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SecretError {
    /// Neither prefix.
    #[error("a secret starts with $0$ (clear text) or $1$ (encrypted by this device)")]
    Prefix,
    /// Too short or too long, in characters.
    #[error("a secret has 1 to {LONGEST} characters, not {0}")]
    Length(usize),
    /// A ciphertext of another device, or a damaged one.
    #[error("the encrypted secret cannot be opened with the key of this device")]
    Foreign,
    /// The cipher refused; it does so for texts of many gigabytes only.
    #[error("the secret could not be encrypted")]
    Cipher,
}

impl From<SecretError> for RpcError {
    fn from(error: SecretError) -> Self {
        Self::application(ErrorTag::InvalidValue, error.to_string())
    }
}

/// The key of this device.
pub struct SecretKey(LessSafeKey);

impl SecretKey {
    /// The key of these bytes, from the device's key file.
    pub fn new(bytes: &[u8; KEY_LENGTH]) -> Self {
        // The only error is a wrong length, and the type has the right one.
        #[allow(clippy::expect_used)]
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("the length is the cipher's");
        Self(LessSafeKey::new(key))
    }

    /// The stored form of a clear text. `nonce` must never have been used with this key.
    ///
    /// # Errors
    /// [`SecretError::Length`].
    pub fn seal(&self, clear: &str, nonce: [u8; NONCE_LENGTH]) -> Result<String, SecretError> {
        check_length(clear)?;
        // Of its final size at once: growing would leave copies of the clear text in freed memory.
        let mut text = Zeroizing::new(Vec::with_capacity(clear.len()));
        text.extend_from_slice(clear.as_bytes());
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(PURPOSE),
                &mut text,
            )
            .map_err(|_| SecretError::Cipher)?;
        let sealed = [nonce.as_slice(), text.as_slice(), tag.as_ref()].concat();
        Ok(format!("{SEALED}{}", STANDARD.encode(sealed)))
    }

    /// The clear text of a stored form.
    ///
    /// # Errors
    /// [`SecretError::Foreign`] if this key did not seal it, [`SecretError::Prefix`] if it is no stored form.
    pub fn open(&self, stored: &str) -> Result<Secret, SecretError> {
        let coded = stored.strip_prefix(SEALED).ok_or(SecretError::Prefix)?;
        let sealed = STANDARD.decode(coded).map_err(|_| SecretError::Foreign)?;
        let (nonce, text) = sealed
            .split_first_chunk::<NONCE_LENGTH>()
            .ok_or(SecretError::Foreign)?;
        let mut text = Zeroizing::new(text.to_vec());
        let clear = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(PURPOSE),
                &mut text,
            )
            .map_err(|_| SecretError::Foreign)?;
        let clear = std::str::from_utf8(clear).map_err(|_| SecretError::Foreign)?;
        Ok(Secret::new(clear))
    }

    /// What is stored when `new` is edited over `old`: always ciphertext, and the old one as long as the clear text
    /// is the same, so that such an edit is no change. `nonce` must never have been used with this key.
    ///
    /// # Errors
    /// As [`SecretKey::seal`] and [`SecretKey::open`].
    pub fn replace(
        &self,
        new: &str,
        old: Option<&str>,
        nonce: [u8; NONCE_LENGTH],
    ) -> Result<String, SecretError> {
        let clear = match new.strip_prefix(CLEAR) {
            Some(clear) => {
                check_length(clear)?;
                Secret::new(clear)
            }
            None => self.open(new)?,
        };
        if let Some(old) = old
            && self.open(old).is_ok_and(|stored| stored == clear)
        {
            return Ok(old.to_owned());
        }
        if new.starts_with(SEALED) {
            return Ok(new.to_owned());
        }
        self.seal(clear.reveal(), nonce)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

fn check_length(clear: &str) -> Result<(), SecretError> {
    match clear.chars().count() {
        1..=LONGEST => Ok(()),
        length => Err(SecretError::Length(length)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; NONCE_LENGTH] = [9; NONCE_LENGTH];

    fn key() -> SecretKey {
        SecretKey::new(&[1; KEY_LENGTH])
    }

    fn clear_of(stored: &str) -> String {
        key().open(stored).unwrap().reveal().to_owned()
    }

    #[test]
    fn only_the_first_three_characters_are_the_prefix() {
        let stored = key().replace("$0$$0$x", None, NONCE).unwrap();
        assert_eq!(clear_of(&stored), "$0$x");
    }

    #[test]
    fn the_same_clear_text_keeps_its_ciphertext() {
        let old = key().seal("secret", [3; 12]).unwrap();
        assert_eq!(key().replace("$0$secret", Some(&old), NONCE).unwrap(), old);
        let other_form = key().seal("secret", [4; 12]).unwrap();
        assert_eq!(key().replace(&other_form, Some(&old), NONCE).unwrap(), old);
        let changed = key().replace("$0$Secret", Some(&old), NONCE).unwrap();
        assert_eq!(clear_of(&changed), "Secret");
    }

    #[test]
    fn an_old_value_that_no_longer_opens_is_replaced() {
        let foreign = SecretKey::new(&[2; 32]).seal("secret", NONCE).unwrap();
        let stored = key().replace("$0$secret", Some(&foreign), NONCE).unwrap();
        assert_eq!(clear_of(&stored), "secret");
    }

    #[test]
    fn a_ciphertext_of_another_device_is_an_invalid_value() {
        let foreign = SecretKey::new(&[2; 32]).seal("secret", NONCE).unwrap();
        let refused = key().replace(&foreign, None, NONCE).unwrap_err();
        assert_eq!(refused, SecretError::Foreign);
        let told = RpcError::from(refused);
        assert_eq!(told.tag, ErrorTag::InvalidValue);
        assert!(told.message.contains("key of this device"));
    }

    #[test]
    fn a_clear_text_has_1_to_63_characters() {
        for length in [1, 63] {
            let clear = "ü".repeat(length);
            let stored = key().seal(&clear, NONCE).unwrap();
            assert_eq!(clear_of(&stored), clear);
        }
        for length in [0, 64, 10_000] {
            let value = format!("$0${}", "x".repeat(length));
            assert_eq!(
                key().replace(&value, None, NONCE),
                Err(SecretError::Length(length))
            );
        }
    }

    #[test]
    fn a_value_without_prefix_is_refused() {
        for value in ["", "$", "$0", "secret", "$2$abc", " $0$abc", "0$abc"] {
            assert_eq!(
                key().replace(value, None, NONCE),
                Err(SecretError::Prefix),
                "{value}"
            );
        }
    }

    #[test]
    fn no_message_and_no_debug_shows_the_value() {
        let refused = key().replace("hunter2", None, NONCE).unwrap_err();
        assert!(!format!("{refused} {refused:?} {:?}", key()).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn a_ciphertext_changed_anywhere_does_not_open(at in 0..100_usize, to in any::<u8>()) {
            let stored = key().seal("some password", NONCE).unwrap();
            let mut bytes = stored.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(changed) = String::from_utf8(bytes) && changed != stored {
                prop_assert!(key().open(&changed).is_err());
            }
        }

        #[test]
        fn anything_at_all_is_answered(value in "\\PC*") {
            let _ = key().open(&value);
            let _ = key().open(&format!("$1${value}"));
            let _ = key().replace(&value, Some(&value), NONCE);
        }
    }
}
