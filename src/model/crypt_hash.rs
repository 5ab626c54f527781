//! `ianach:crypt-hash` (RFC 7317, section 4): the passwords of those who log in to the device.
//!
//! `$0$` and clear text is replaced at the edit by its SHA-512 hash; `$1$` (MD5), `$5$` (SHA-256) and `$6$`
//! (SHA-512) are stored as they are. The module requires that the form `$1$` can be stored, but a password is never
//! accepted against it: MD5 can be searched at billions of guesses a second.

use sha_crypt::{PasswordHasher, PasswordVerifier, ShaCrypt};
use thiserror::Error;

use super::error::{ErrorTag, RpcError};

/// Octets of a salt: 16 characters once coded, the most the scheme uses.
pub const SALT_LENGTH: usize = 12;

const CLEAR: &str = "$0$";
const MD5: &str = "$1$";
const SHA256: &str = "$5$";
const SHA512: &str = "$6$";
const ROUNDS: &str = "rounds=";
/// A hash that asks for more is not computed: about half a second of a core, which any stranger at the login could
/// spend again and again.
const MOST_ROUNDS: u32 = 1_000_000;
/// Octets of a password; the cost of the scheme grows with the square of it.
const LONGEST: usize = 1024;
/// What the password of an unknown user is compared with; the hash of nothing anyone knows.
const NOBODY: &str = "$6$rounds=5000$tAjNC7IqqUk/CFw8$\
    .....................................................................................0";

/// Why a password is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CryptHashError {
    /// It is not the password.
    #[error("wrong password")]
    Wrong,
    /// The stored hash is MD5.
    #[error("the stored hash is MD5 ($1$), against which no password is accepted")]
    Md5,
    /// The stored hash asks for more rounds than the device will spend.
    #[error("the stored hash asks for more than {MOST_ROUNDS} rounds")]
    Rounds,
    /// The stored hash is none of the known forms.
    #[error("the stored hash has no known form")]
    Form,
    /// The password is empty or too long, in octets.
    #[error("a password has 1 to {LONGEST} octets, not {0}")]
    Length(usize),
}

impl From<CryptHashError> for RpcError {
    fn from(error: CryptHashError) -> Self {
        Self::application(ErrorTag::InvalidValue, error.to_string())
    }
}

/// What is stored when `new` is edited over `old`: a hash, and the old one as long as the clear text matches it, so
/// that such an edit is no change. Takes milliseconds, as hashing passwords should.
///
/// # Errors
/// [`CryptHashError::Length`] for the clear text, [`CryptHashError::Form`] for a value of no known prefix.
pub fn replace(
    new: &str,
    old: Option<&str>,
    salt: [u8; SALT_LENGTH],
) -> Result<String, CryptHashError> {
    let Some(clear) = new.strip_prefix(CLEAR) else {
        let known = [MD5, SHA256, SHA512]
            .iter()
            .any(|prefix| new.starts_with(prefix));
        return known.then(|| new.to_owned()).ok_or(CryptHashError::Form);
    };
    check_length(clear)?;
    match old {
        Some(old) if verify(clear, old).is_ok() => Ok(old.to_owned()),
        _ => ShaCrypt::SHA512
            .hash_password_with_salt(clear.as_bytes(), &salt)
            .map(|hash| hash.as_str().to_owned())
            .map_err(|_| CryptHashError::Form),
    }
}

/// Compares a password with a stored hash, in a time that does not depend on where they differ. Takes milliseconds.
///
/// # Errors
/// Why it is not accepted; the peer is told none of it.
pub fn verify(clear: &str, hash: &str) -> Result<(), CryptHashError> {
    check_length(clear)?;
    if hash.starts_with(MD5) {
        return Err(CryptHashError::Md5);
    }
    let fields = hash
        .strip_prefix(SHA256)
        .or_else(|| hash.strip_prefix(SHA512))
        .ok_or(CryptHashError::Form)?;
    if let Some(rounds) = fields.strip_prefix(ROUNDS) {
        let (rounds, _) = rounds.split_once('$').ok_or(CryptHashError::Form)?;
        if rounds.parse::<u32>().map_err(|_| CryptHashError::Rounds)? > MOST_ROUNDS {
            return Err(CryptHashError::Rounds);
        }
    }
    PasswordVerifier::<str>::verify_password(&ShaCrypt::SHA512, clear.as_bytes(), hash).map_err(
        |error| match error {
            sha_crypt::password_hash::Error::PasswordInvalid => CryptHashError::Wrong,
            _ => CryptHashError::Form,
        },
    )
}

/// Takes as long as [`verify`] and never accepts: for a user that does not exist, so that a stranger cannot tell
/// which do.
pub fn verify_nobody(clear: &str) {
    let _ = verify(clear, NOBODY);
}

fn check_length(clear: &str) -> Result<(), CryptHashError> {
    match clear.len() {
        1..=LONGEST => Ok(()),
        length => Err(CryptHashError::Length(length)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: [u8; SALT_LENGTH] = [7; SALT_LENGTH];
    // Made with `openssl passwd -5`, `-6` and `-1`.
    const OPENSSL_1: &str = "$1$saltstri$zhFR8rF3ZihnSXABV.NjT.";
    const OPENSSL_5: &str = "$5$saltstring$yHu4NCI8wZtVmEi4UlBewMEOd14T6b2X6goRY6eWJo7";
    const OPENSSL_6: &str = "$6$saltstring$SqyhDWidy1FyYQvxJS0mCfscyB71Ni5Yi9UsukwaGkrvtN5uj8uxcQrCB9XRTz8SWHp08vMi14NTi36I1YPJR.";
    const OPENSSL_6_ROUNDS: &str = "$6$rounds=10000$saltstring$GjEfzz20ksGaQvHWvHakPZ9Ey5MhOPzKuaI9T3yew82/CXOSCUkT.wpPSavt7clkiuhYcmoYcAdG1VOgho9sR0";

    #[test]
    fn hashes_of_other_programs_verify() {
        for hash in [OPENSSL_5, OPENSSL_6, OPENSSL_6_ROUNDS] {
            assert_eq!(verify("pleaseletmein", hash), Ok(()), "{hash}");
            assert_eq!(verify("pleaseletmeIn", hash), Err(CryptHashError::Wrong));
        }
    }

    #[test]
    fn a_clear_text_is_hashed_and_verifies() {
        let hash = replace("$0$$0$pass", None, SALT).unwrap();
        assert!(hash.starts_with("$6$"), "{hash}");
        assert_eq!(verify("$0$pass", &hash), Ok(()));
        assert_eq!(verify("pass", &hash), Err(CryptHashError::Wrong));
    }

    #[test]
    fn the_same_clear_text_keeps_its_hash() {
        let old = OPENSSL_5;
        assert_eq!(replace("$0$pleaseletmein", Some(old), SALT).unwrap(), old);
        assert_ne!(replace("$0$other", Some(old), SALT).unwrap(), old);
    }

    #[test]
    fn hashed_forms_are_stored_as_they_are() {
        for hash in [OPENSSL_1, OPENSSL_5, OPENSSL_6] {
            assert_eq!(replace(hash, Some(OPENSSL_6), SALT).unwrap(), hash);
        }
        assert_eq!(replace("secret", None, SALT), Err(CryptHashError::Form));
    }

    #[test]
    fn md5_is_never_accepted() {
        assert_eq!(verify("pleaseletmein", OPENSSL_1), Err(CryptHashError::Md5));
    }

    #[test]
    fn a_hash_of_endless_rounds_is_not_computed() {
        for rounds in ["1000001", "999999999", "99999999999999999999", "x", "-1"] {
            let hash = OPENSSL_6.replacen("$6$", &format!("$6$rounds={rounds}$"), 1);
            assert_eq!(verify("pleaseletmein", &hash), Err(CryptHashError::Rounds));
        }
    }

    #[test]
    fn an_empty_or_endless_password_is_refused() {
        let long = "x".repeat(LONGEST + 1);
        for clear in ["", &long] {
            let refused = Err(CryptHashError::Length(clear.len()));
            assert_eq!(verify(clear, OPENSSL_6), refused);
            assert!(replace(&format!("$0${clear}"), None, SALT).is_err());
        }
    }

    #[test]
    fn a_hash_cut_short_accepts_nothing() {
        for length in 0..OPENSSL_6.len() {
            assert!(verify("pleaseletmein", &OPENSSL_6[..length]).is_err());
        }
        for hash in [
            "$6$",
            "$6$$",
            "$6$salt$",
            "$6$rounds=1000$salt$",
            "$6$rounds=5$salt$ab",
        ] {
            assert!(verify("pleaseletmein", hash).is_err(), "{hash}");
        }
    }

    #[test]
    fn an_unknown_user_costs_as_much_as_a_known_one() {
        assert_eq!(verify("x", NOBODY), Err(CryptHashError::Wrong));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_stored_hash_is_answered(hash in "\\$[0-9]\\$(rounds=[0-9]{1,4}\\$)?\\PC{0,40}") {
            prop_assert!(verify("pleaseletmein", &hash).is_err());
        }
    }
}
