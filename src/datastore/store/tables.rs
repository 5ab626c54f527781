//! The tables, and the few things ever done to them.

use std::collections::BTreeMap;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::error::StoreError;
use super::record::{CommitRecord, Loaded};

/// How the tables are laid out; a change of it is a new number.
pub(super) const FORMAT: &str = "1";
/// Commits that the history keeps (`/device-management/commit`).
pub(super) const HISTORY: u64 = crate::datastore::history::COMMITS as u64;

const FORMAT_TABLE: TableDefinition<'_, &str, &str> = TableDefinition::new("format");
const FORMAT_KEY: &str = "format";
/// Commit number to the record without its diff, as JSON.
const COMMITS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("commits");
/// Commit number to its diff.
const DIFFS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("diffs");
/// The number of the last commit it contains, to running as a whole; never more than one row.
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// One value beside the configuration; `None` removes it.
pub type MetaChange = (String, Option<Vec<u8>>);

/// What has to be so again if a transaction that was refused is found in the file after all.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// The refused commit.
    pub(super) commit: Option<u64>,
    /// The values before it.
    pub(super) meta: Vec<MetaChange>,
}

/// Bytes that a start has to read, by which it is decided when a snapshot is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    pub(super) snapshot: usize,
    pub(super) diffs: usize,
    pub(super) commits: u64,
}

/// Runs `work` in one transaction; on return it is on the disk, on an error nobody knows.
pub(super) fn transact(
    database: &Database,
    work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    work(&transaction)?;
    Ok(transaction.commit()?)
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(COMMITS)?;
    transaction.open_table(DIFFS)?;
    transaction.open_table(SNAPSHOT)?;
    transaction.open_table(META)?;
    transaction
        .open_table(FORMAT_TABLE)?
        .insert(FORMAT_KEY, FORMAT)?;
    Ok(())
}

pub(super) fn append(
    transaction: &WriteTransaction,
    record: &CommitRecord,
    head: &[u8],
) -> Result<(), redb::Error> {
    transaction.open_table(COMMITS)?.insert(record.id, head)?;
    transaction
        .open_table(DIFFS)?
        .insert(record.id, record.diff.as_slice())?;
    Ok(())
}

/// Replaces the snapshot and forgets the commits it contains, save the last [`HISTORY`].
pub(super) fn replace_snapshot(
    transaction: &WriteTransaction,
    id: u64,
    running: &[u8],
    last: u64,
) -> Result<(), redb::Error> {
    let mut snapshot = transaction.open_table(SNAPSHOT)?;
    snapshot.retain(|_, _| false)?;
    snapshot.insert(id, running)?;
    let kept = |commit: u64| commit > id || commit.saturating_add(HISTORY) > last;
    transaction
        .open_table(COMMITS)?
        .retain(|commit, _| kept(commit))?;
    transaction
        .open_table(DIFFS)?
        .retain(|commit, _| kept(commit))
        .map_err(Into::into)
}

pub(super) fn change_meta(
    transaction: &WriteTransaction,
    changes: &[MetaChange],
) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    for (key, value) in changes {
        match value {
            Some(value) => meta.insert(key.as_str(), value.as_slice())?,
            None => meta.remove(key.as_str())?,
        };
    }
    Ok(())
}

/// Takes a refused transaction out again where it is found; nothing is written where it is not.
pub(super) fn undo(database: &Database, undo: &Undo) -> Result<(), redb::Error> {
    if !is_present(&database.begin_read()?, undo)? {
        return Ok(());
    }
    transact(database, |transaction| {
        if let Some(commit) = undo.commit {
            transaction.open_table(COMMITS)?.remove(commit)?;
            transaction.open_table(DIFFS)?.remove(commit)?;
        }
        change_meta(transaction, &undo.meta)
    })
}

fn is_present(transaction: &ReadTransaction, undo: &Undo) -> Result<bool, redb::Error> {
    if let Some(commit) = undo.commit
        && transaction.open_table(COMMITS)?.get(commit)?.is_some()
    {
        return Ok(true);
    }
    let meta = transaction.open_table(META)?;
    for (key, before) in &undo.meta {
        let stored = meta.get(key.as_str())?;
        if stored.as_ref().map(redb::AccessGuard::value) != before.as_deref() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses what another version wrote.
pub(super) fn check_format(database: &Database) -> Result<(), StoreError> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let table = transaction.open_table(FORMAT_TABLE).map_err(damaged)?;
    let format = table.get(FORMAT_KEY).map_err(redb::Error::from)?;
    match format.as_ref().map(redb::AccessGuard::value) {
        Some(FORMAT) => Ok(()),
        other => Err(StoreError::Format {
            found: other.unwrap_or("none").to_owned(),
            expected: FORMAT,
        }),
    }
}

fn damaged(error: redb::TableError) -> StoreError {
    match redb::Error::from(error) {
        redb::Error::Io(error) => error.into(),
        other => StoreError::Corrupt(other.to_string()),
    }
}

/// Reads all that a start needs.
pub(super) fn load(database: &Database) -> Result<(Loaded, Weight), StoreError> {
    check_format(database)?;
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let (at, snapshot) = load_snapshot(&transaction)?;
    let mut loaded = Loaded {
        meta: load_meta(&transaction)?,
        history: load_history(&transaction)?,
        next_commit: at + 1,
        ..Loaded::default()
    };
    let mut weight = Weight {
        snapshot: snapshot.as_ref().map_or(0, Vec::len),
        ..Weight::default()
    };
    loaded.snapshot = snapshot;
    let diffs = transaction.open_table(DIFFS).map_err(damaged)?;
    for row in diffs.range(at + 1..).map_err(redb::Error::from)? {
        let (id, diff) = row.map_err(redb::Error::from)?;
        if id.value() != loaded.next_commit {
            return Err(StoreError::Corrupt(format!(
                "commit {} is missing",
                loaded.next_commit
            )));
        }
        loaded.next_commit += 1;
        weight.diffs += diff.value().len();
        weight.commits += 1;
        loaded.diffs.push(diff.value().to_vec());
    }
    Ok((loaded, weight))
}

/// The snapshot and the number of the last commit in it; 0 and none before the first.
fn load_snapshot(transaction: &ReadTransaction) -> Result<(u64, Option<Vec<u8>>), StoreError> {
    let table = transaction.open_table(SNAPSHOT).map_err(damaged)?;
    let last = table.last().map_err(redb::Error::from)?;
    let Some((id, running)) = last else {
        return Ok((0, None));
    };
    if id.value() == u64::MAX {
        return Err(StoreError::Corrupt("the snapshot's number".to_owned()));
    }
    Ok((id.value(), Some(running.value().to_vec())))
}

fn load_meta(transaction: &ReadTransaction) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
    let table = transaction.open_table(META).map_err(damaged)?;
    table
        .iter()
        .map_err(redb::Error::from)?
        .map(|row| {
            let (key, value) = row.map_err(redb::Error::from)?;
            Ok((key.value().to_owned(), value.value().to_vec()))
        })
        .collect()
}

/// The last [`HISTORY`] commits, oldest first.
pub(super) fn history(database: &Database) -> Result<Vec<CommitRecord>, StoreError> {
    load_history(&database.begin_read().map_err(redb::Error::from)?)
}

fn load_history(transaction: &ReadTransaction) -> Result<Vec<CommitRecord>, StoreError> {
    let commits = transaction.open_table(COMMITS).map_err(damaged)?;
    let diffs = transaction.open_table(DIFFS).map_err(damaged)?;
    let mut records = Vec::new();
    for row in commits.iter().map_err(redb::Error::from)?.rev() {
        if records.len() as u64 == HISTORY {
            break;
        }
        let (id, head) = row.map_err(redb::Error::from)?;
        let mut record: CommitRecord = serde_json::from_slice(head.value())
            .map_err(|error| StoreError::Corrupt(format!("commit {}: {error}", id.value())))?;
        let diff = diffs.get(id.value()).map_err(redb::Error::from)?;
        record.diff = diff
            .map(|diff| diff.value().to_vec())
            .ok_or_else(|| StoreError::Corrupt(format!("commit {} has no diff", id.value())))?;
        records.push(record);
    }
    records.reverse();
    Ok(records)
}
