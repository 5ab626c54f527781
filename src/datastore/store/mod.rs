//! Durability: what the configuration is after a power cut.
//!
//! One file on an embedded ACID store. A commit appends its difference in one transaction and is on the disk when
//! [`Store::commit`] returns; now and then a snapshot replaces the differences. All calls block on the disk: they
//! are made from a thread that may.
//!
//! **A refused write leaves no trace.** After a failed write or sync nobody knows what is on the disk: the
//! transaction may be there in full. So the store opens the file again, reads it from the disk rather than from the
//! page cache – which, after a failed fsync(2), holds as clean what was never written – and takes the refused
//! transaction out. Until that has succeeded every further write is refused, with the reason of the last attempt.

mod directory;
mod error;
mod events;
mod record;
mod tables;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use redb::{Builder, Database, WriteTransaction};

pub use directory::StateDirectory;
pub use error::StoreError;
pub use events::{EventStore, Recorded};
pub use record::{CommitRecord, Loaded};
pub use tables::MetaChange;
use tables::{Undo, Weight};

const FILE: &str = "configuration.redb";
/// A start applies at most about so many differences, or as many as it applies in the time it needs for the snapshot.
const COMMITS_PER_SNAPSHOT: u64 = 64;
/// So many bytes of a snapshot take a start about as long as a small difference.
const SNAPSHOT_PER_COMMIT: usize = 4 << 10;
/// Differences lighter than this never ask for a snapshot by their weight, in bytes.
const LIGHT: usize = 64 << 10;
/// Bytes of the file kept in memory: it is read once, at the start.
const CACHE: usize = 1 << 20;

/// Opens the database again, each time it is called.
type Opener = Box<dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync>;

/// The durable side of the datastores.
pub struct Store {
    opener: Opener,
    /// None while a failed disk cannot be opened again. Locked after `writer`.
    database: RwLock<Option<Database>>,
    writer: Mutex<Writer>,
    meta: RwLock<BTreeMap<String, Vec<u8>>>,
    /// The last to go: the next agent may come only once the file is closed.
    directory: Option<StateDirectory>,
}

struct Writer {
    next_commit: u64,
    weight: Weight,
    /// The transaction that was refused and may yet be in the file.
    refused: Option<Undo>,
    /// What has happened and is still to be stored, before anything else.
    owed: Option<Box<Owed>>,
}

/// What took effect before it could be stored.
struct Owed {
    record: Option<CommitRecord>,
    beside: Vec<MetaChange>,
}

impl Store {
    /// Opens the store of a state directory, making both where they are missing, and reads it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another agent runs on this directory, [`StoreError::Format`] when another version
    /// wrote it, [`StoreError::Corrupt`] when it is damaged; else what the disk says.
    pub fn open(directory: &Path) -> Result<(Self, Loaded), StoreError> {
        let directory = StateDirectory::open(directory)?;
        let path = directory.path().join(FILE);
        if !path.try_exists().map_err(StoreError::file(&path))? {
            directory.create(FILE, create)?;
        }
        let (mut store, loaded) = Self::with(Box::new(move || open(&path)))?;
        store.directory = Some(directory);
        Ok((store, loaded))
    }

    fn with(opener: Opener) -> Result<(Self, Loaded), StoreError> {
        let database = opener().map_err(redb::Error::from)?;
        let (loaded, weight) = tables::load(&database)?;
        let store = Self {
            opener,
            database: RwLock::new(Some(database)),
            writer: Mutex::new(Writer {
                next_commit: loaded.next_commit,
                weight,
                refused: None,
                owed: None,
            }),
            meta: RwLock::new(loaded.meta.clone()),
            directory: None,
        };
        Ok((store, loaded))
    }

    /// The state directory, for the files beside the store.
    pub fn directory(&self) -> Option<&StateDirectory> {
        self.directory.as_ref()
    }

    /// Appends a commit, and changes what lies beside the configuration in the same transaction (what a confirmed
    /// commit falls back to must be there exactly when the commit is). On the disk when this returns.
    ///
    /// # Errors
    /// Whatever the error, neither this process nor the next will ever see the commit – except that a process
    /// killed while the disk is still broken may leave it behind, which no writer can prevent.
    /// [`StoreError::OutOfOrder`] if the number is not the next.
    pub fn commit(&self, record: &CommitRecord, beside: &[MetaChange]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        if record.id != writer.next_commit {
            return Err(StoreError::OutOfOrder {
                expected: writer.next_commit,
                given: record.id,
            });
        }
        let head = head(record)?;
        let undo = self.undo(Some(record.id), beside);
        self.write(&mut writer, undo, |transaction| {
            tables::append(transaction, record, &head)?;
            tables::change_meta(transaction, beside)
        })?;
        writer.next_commit += 1;
        self.count(&mut writer, record, beside);
        Ok(())
    }

    /// Takes note of a commit that is in force although [`Store::commit`] has refused it: what a confirmed commit falls
    /// back to at a start, which the disk says without it, too. It is stored before anything else, as soon as the disk
    /// works; until then everything else is refused. Without a record only what lies beside the configuration changes.
    pub fn owe(&self, record: Option<CommitRecord>, beside: Vec<MetaChange>) {
        let mut writer = self.writer();
        if let Some(record) = &record {
            writer.next_commit = record.id + 1;
        }
        writer.owed = Some(Box::new(Owed { record, beside }));
    }

    /// Whether something is still to be stored, see [`Store::settle`].
    pub fn is_unsettled(&self) -> bool {
        let writer = self.writer();
        writer.refused.is_some() || writer.owed.is_some()
    }

    /// Whether the differences have grown so many or so heavy that a snapshot should follow.
    pub fn is_snapshot_due(&self) -> bool {
        let weight = self.writer().weight;
        // What a snapshot costs follows its size: a large one is taken more seldom.
        let as_long = (weight.snapshot / SNAPSHOT_PER_COMMIT) as u64;
        weight.commits >= COMMITS_PER_SNAPSHOT.max(as_long)
            || weight.diffs > weight.snapshot.max(LIGHT)
    }

    /// Replaces the differences by running as it is after commit `id`, the last one (0: before the first).
    ///
    /// # Errors
    /// As [`Store::commit`]. What a start reads is the same whether this succeeds or fails.
    pub fn snapshot(&self, id: u64, running: &[u8]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let last = writer.next_commit - 1;
        if id != last {
            return Err(StoreError::OutOfOrder {
                expected: last,
                given: id,
            });
        }
        self.write(&mut writer, Undo::default(), |transaction| {
            tables::replace_snapshot(transaction, id, running, last)
        })?;
        writer.weight = Weight {
            snapshot: running.len(),
            ..Weight::default()
        };
        Ok(())
    }

    /// Changes what lies beside the configuration, all in one transaction; on the disk when this returns.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn put_meta(&self, changes: &[MetaChange]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let undo = self.undo(None, changes);
        self.write(&mut writer, undo, |transaction| {
            tables::change_meta(transaction, changes)
        })?;
        self.remember(changes);
        Ok(())
    }

    /// A value beside the configuration; never waits for the disk.
    pub fn get_meta(&self, key: &str) -> Option<Vec<u8>> {
        let meta = self.meta.read().unwrap_or_else(PoisonError::into_inner);
        meta.get(key).cloned()
    }

    /// The last 50 commits, oldest first. Does not wait for a commit that is being written.
    ///
    /// # Errors
    /// What the disk says.
    pub fn history(&self) -> Result<Vec<CommitRecord>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        tables::history(database.as_ref().ok_or_else(closed)?)
    }

    /// Takes a refused transaction out of the file if one may still be there, and stores what is owed; for idle moments,
    /// since every write does it first.
    ///
    /// # Errors
    /// Why it could not be done yet.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.settle_locked(&mut self.writer())
    }

    /// One transaction, or none: the only way to the file.
    fn write(
        &self,
        writer: &mut Writer,
        undo: Undo,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        self.settle_locked(writer)?;
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let written = tables::transact(database.as_ref().ok_or_else(closed)?, work);
        drop(database);
        written.map_err(|error| {
            writer.refused = Some(undo);
            if let Err(reason) = self.settle_locked(writer) {
                tracing::warn!(%reason, "the disk has failed; nothing can be stored until it works again");
            }
            error.into()
        })
    }

    fn settle_locked(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if let Some(undo) = &writer.refused {
            let mut database = self
                .database
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            // The old one first: two of them never have the file open.
            *database = None;
            let opened = (self.opener)().map_err(redb::Error::from)?;
            tables::undo(&opened, undo)?;
            *database = Some(opened);
            writer.refused = None;
        }
        match writer.owed.take() {
            Some(owed) => self.pay(writer, owed),
            None => Ok(()),
        }
    }

    fn pay(&self, writer: &mut Writer, owed: Box<Owed>) -> Result<(), StoreError> {
        let Owed { record, beside } = owed.as_ref();
        let record = record.as_ref();
        let head = record.map(head).transpose()?;
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(closed)?;
        let paid = tables::transact(database, |transaction| {
            if let Some((record, head)) = record.zip(head.as_deref()) {
                tables::append(transaction, record, head)?;
            }
            tables::change_meta(transaction, beside)
        });
        match (&paid, record) {
            (Ok(()), Some(record)) => self.count(writer, record, beside),
            (Ok(()), None) => self.remember(beside),
            (Err(_), record) => {
                let commit = record.map(|record| record.id);
                writer.refused = Some(self.undo(commit, beside));
                writer.owed = Some(owed);
            }
        }
        Ok(paid?)
    }

    /// After a commit is on the disk.
    fn count(&self, writer: &mut Writer, record: &CommitRecord, beside: &[MetaChange]) {
        writer.weight.commits += 1;
        writer.weight.diffs += record.diff.len();
        self.remember(beside);
    }

    /// What is so before a transaction.
    fn undo(&self, commit: Option<u64>, beside: &[MetaChange]) -> Undo {
        let before = beside
            .iter()
            .map(|(key, _)| (key.clone(), self.get_meta(key)));
        Undo {
            commit,
            meta: before.collect(),
        }
    }

    fn remember(&self, changes: &[MetaChange]) {
        let mut meta = self.meta.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => meta.insert(key.clone(), value.clone()),
                None => meta.remove(key),
            };
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(reason) = self.settle() {
            tracing::error!(%reason, "a refused commit may still be in the store");
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

fn head(record: &CommitRecord) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|error| StoreError::Io(error.into()))
}

fn closed() -> StoreError {
    StoreError::Io(io::Error::other("the disk has failed"))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    // A start is rare and the file small; without the check a damaged file would be trusted.
    builder.set_check_integrity_on_open(true);
    builder
}

fn create(file: File) -> Result<(), StoreError> {
    let again = file.try_clone()?;
    let backend = redb::backends::FileBackend::new(file).map_err(redb::Error::from)?;
    let database = builder()
        .create_with_backend(backend)
        .map_err(redb::Error::from)?;
    initialise(&database)?;
    database.close().map_err(redb::Error::from)?;
    Ok(again.sync_all()?)
}

fn initialise(database: &Database) -> Result<(), redb::Error> {
    tables::transact(database, tables::create)
}

fn open(path: &PathBuf) -> Result<Database, redb::DatabaseError> {
    // After a failed sync the page cache may hold what the disk does not; a hint that is refused changes nothing.
    let _ = posix_fadvise(
        File::open(path)?,
        0,
        0,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    );
    builder().open(path)
}

#[cfg(test)]
pub(crate) mod tests;
