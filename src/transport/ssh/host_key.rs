//! The host key: made once, at the first start, and kept in the state directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use zeroize::Zeroizing;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "ssh_host_ed25519_key";

/// A key file is a few hundred octets; something much larger is not one.
const LARGEST_FILE: u64 = 64 << 10;

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file or its directory cannot be read or written.
    #[error("the host key {path} cannot be {verb}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: `read` or `written`.
        verb: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("the host key {path} has mode {mode:04o}; a private key needs 0600: chmod 600 {path}", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not an unencrypted private key of OpenSSH.
    #[error("the host key {path} is not an OpenSSH private key without a passphrase ({reason}); remove it to have a new one made, clients will then have to accept it", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
}

/// The server's private key.
#[derive(Clone)]
pub struct HostKey(PrivateKey);

impl HostKey {
    /// Loads the key of the state directory, or makes an Ed25519 one if there is none.
    ///
    /// A new file is complete and on disk (mode 0600) before it has its name, so a crash leaves a key or none.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, HostKeyError> {
        let path = state_dir.join(FILE_NAME);
        match load(&path) {
            Err(HostKeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(state_dir, path)
            }
            loaded => loaded,
        }
    }

    /// `SHA256:…`, as `ssh` shows it when it asks whether to go on.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The public half as a line of `known_hosts` without the host: algorithm and base64.
    pub fn public(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    pub(super) fn private(&self) -> PrivateKey {
        self.0.clone()
    }
}

fn load(path: &Path) -> Result<HostKey, HostKeyError> {
    let io_error = |source| HostKeyError::Io {
        path: path.into(),
        verb: "read",
        source,
    };
    let file = File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Mode {
            path: path.into(),
            mode,
        });
    }
    let corrupt = |reason: &dyn ToString| HostKeyError::Corrupt {
        path: path.into(),
        reason: reason.to_string(),
    };
    let mut text = Zeroizing::new(String::new());
    match file.take(LARGEST_FILE).read_to_string(&mut text) {
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(corrupt(&"not text")),
        read => read.map_err(io_error)?,
    };
    let key = PrivateKey::from_openssh(text.as_str()).map_err(|e| corrupt(&e))?;
    if key.is_encrypted() {
        return Err(corrupt(&"it is encrypted"));
    }
    Ok(HostKey(key))
}

fn create(state_dir: &Path, path: PathBuf) -> Result<HostKey, HostKeyError> {
    let failed = |source: io::Error| HostKeyError::Io {
        path: path.clone(),
        verb: "written",
        source,
    };
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)
        .map_err(|e| failed(io::Error::other(e)))?;
    let text = key
        .to_openssh(LineEnding::LF)
        .map_err(|e| failed(io::Error::other(e)))?;
    write_durably(state_dir, &path, text.as_bytes()).map_err(failed)?;
    Ok(HostKey(key))
}

fn write_durably(state_dir: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_made_at_the_first_start_is_the_key_of_the_second() {
        let dir = tempfile::tempdir().unwrap();
        let first = HostKey::load_or_create(dir.path()).unwrap();
        let second = HostKey::load_or_create(dir.path()).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert!(first.public().starts_with("ssh-ed25519 "));
    }

    #[test]
    fn only_the_owner_can_read_a_new_key() {
        let dir = tempfile::tempdir().unwrap();
        HostKey::load_or_create(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(FILE_NAME)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        HostKey::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = HostKey::load_or_create(dir.path()).err().unwrap();
        assert!(matches!(error, HostKeyError::Mode { mode: 0o640, .. }));
        assert!(error.to_string().contains("0640"));
    }

    #[test]
    fn a_corrupt_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        HostKey::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        for rubbish in [
            &b""[..],
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
            b"\xff\xfe",
        ] {
            fs::write(&path, rubbish).unwrap();
            let error = HostKey::load_or_create(dir.path()).err().unwrap();
            assert!(matches!(error, HostKeyError::Corrupt { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), rubbish);
        }
    }

    #[test]
    fn a_crash_while_the_key_is_written_does_not_prevent_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ssh_host_ed25519_key.new"), b"half").unwrap();
        HostKey::load_or_create(dir.path()).unwrap();
    }

    #[test]
    fn a_missing_state_directory_is_named_in_the_error() {
        let error = HostKey::load_or_create(Path::new("/nonexistent/state"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("/nonexistent/state"), "{error}");
    }
}
