//! The state directory: held by one process, readable by its owner alone, and never left half made.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::StoreError;

const LOCK_FILE: &str = "lock";
/// No secret file of the agent is larger; a larger one is not ours.
const SECRET_FILE_LIMIT: u64 = 64 << 10;

/// A lock that is held is tried this often,
const LOCK_TRIES: u32 = 10;
/// and after this time each.
const LOCK_AGAIN: Duration = Duration::from_millis(50);

/// The state directory, locked until this value goes.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// The lock (flock(2)) ends with the open file, so also when the process is killed.
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory (mode 0700) if it is missing, and locks it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process holds it; [`StoreError::Unusable`] if the directory or its lock file
    /// cannot be made.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        create_directory(path).map_err(StoreError::unusable(path))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(StoreError::file(&lock_path))
            .map_err(StoreError::unusable(path))?;
        match try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    directory: path.to_owned(),
                    holder: holder(&mut lock),
                });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::file(&lock_path)(error)),
        }
        // The number only serves the message of a second agent: a full disk must not stop the first.
        let _ = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the secret file `name`; when there is none, the bytes of `make` become it (mode 0600) and are
    /// on the disk before this returns.
    ///
    /// # Errors
    /// [`StoreError::Exposed`] if group or others have any right on the file, [`StoreError::Corrupt`] if it is
    /// larger than any secret, else what the disk says.
    pub fn secret_file(
        &self,
        name: &str,
        make: impl FnOnce() -> Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let path = self.path.join(name);
        match File::open(&path) {
            Ok(file) => read_secret(file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = make();
                self.create(name, |mut file| {
                    file.write_all(&bytes)?;
                    file.sync_all()
                })?;
                Ok(bytes)
            }
            Err(error) => Err(StoreError::file(path)(error)),
        }
    }

    /// Makes the file `name` all at once: `fill` writes and syncs it under another name, so that a power cut
    /// leaves the whole file or none.
    pub(super) fn create<E>(
        &self,
        name: &str,
        fill: impl FnOnce(File) -> Result<(), E>,
    ) -> Result<(), StoreError>
    where
        StoreError: From<E>,
    {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}.new"));
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::file(unfinished)(error));
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(StoreError::file(&unfinished))?;
        fill(file)?;
        fs::rename(&unfinished, &path).map_err(StoreError::file(&path))?;
        sync_directory(&self.path)
    }
}

/// Takes the lock, with some patience: an agent that is just ending holds it a moment longer, and so does a child of
/// it between its fork(2) and its exec(2).
fn try_lock(lock: &File) -> Result<(), TryLockError> {
    for _ in 1..LOCK_TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_AGAIN),
            done => return done,
        }
    }
    lock.try_lock()
}

/// A new directory is durable only once its parent is (fsync(2)).
fn create_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::file(path)(error))
        }
        _ => sync_directory(parent),
    }
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::file(path))
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn read_secret(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let metadata = file.metadata().map_err(StoreError::file(path))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(StoreError::Exposed {
            path: path.to_owned(),
        });
    }
    if metadata.len() > SECRET_FILE_LIMIT {
        return Err(StoreError::Corrupt(format!(
            "{} has {} bytes",
            path.display(),
            metadata.len()
        )));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(SECRET_FILE_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(StoreError::file(path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_second_agent_is_refused_and_told_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let held = StateDirectory::open(dir.path()).unwrap();
        let refused = StateDirectory::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("in use by another agent"), "{refused}");
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(held);
        StateDirectory::open(dir.path()).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_used_is_named_as_the_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, why) in [
            (Path::new("/proc/tether/x"), "/proc/tether: No such file"),
            (&file, "Not a directory"),
            (&file.join("x"), "Not a directory"),
        ] {
            let refused = StateDirectory::open(path).unwrap_err().to_string();
            let start = format!(
                "the state directory {} (--state-dir) cannot be used: ",
                path.display()
            );
            assert!(
                refused.starts_with(&start) && refused.contains(why),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_is_made_belongs_to_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let state = StateDirectory::open(&path).unwrap();
        state
            .secret_file("k", || Zeroizing::new(b"x".to_vec()))
            .unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("k")), 0o600);
        assert_eq!(mode(&path.join("lock")), 0o600);
        assert!(!path.join("k.new").exists());
    }

    #[test]
    fn a_secret_file_keeps_its_first_content() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(dir.path()).unwrap();
        for bytes in [b"first", b"other"] {
            let read = state
                .secret_file("k", || Zeroizing::new(bytes.to_vec()))
                .unwrap();
            assert_eq!(*read, b"first");
        }
    }

    #[test]
    fn a_leftover_of_an_interrupted_start_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("k.new"), "half").unwrap();
        let state = StateDirectory::open(dir.path()).unwrap();
        let read = state
            .secret_file("k", || Zeroizing::new(b"whole".to_vec()))
            .unwrap();
        assert_eq!(*read, b"whole");
    }

    #[test]
    fn a_secret_file_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(dir.path()).unwrap();
        let path = dir.path().join("k");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = state.secret_file("k", || Zeroizing::new(Vec::new()));
        assert!(matches!(refused, Err(StoreError::Exposed { .. })));
    }
}
