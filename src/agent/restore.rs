//! The configuration that the store holds, and what a start has to make good first.

use std::sync::Arc;
use std::time::SystemTime;

use crate::datastore::confirm::BASE_KEY;
use crate::datastore::events::{Announce, Announced, What};
use crate::datastore::guard::record::LAST_KEY;
use crate::datastore::guard::{GUARD_KEY, Rollback};
use crate::datastore::rollback::{COMMIT_GUARD, CONFIRMED_COMMIT};
use crate::datastore::startup::DELETED_KEY;
use crate::datastore::store::{CommitRecord, Loaded, MetaChange, Store};
use crate::datastore::{Author, Datastore, Target};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;
use crate::model::settings::CloudSettings;
use crate::model::status::{LastDown, LastDownReason, Moment};
use crate::model::tree::{Diff, Tree};
use crate::tunnel::{RECORD_KEY, record};

use super::{AgentError, stored};

/// The source of the commit that is the configuration of a first start.
const FACTORY_DEFAULT: &str = "factory-default";

/// The configuration after all that is stored.
///
/// # Errors
/// What this agent does not understand.
pub(super) fn running(schema: Schema, loaded: &Loaded) -> Result<Tree, AgentError> {
    let mut tree = snapshot(schema, loaded)?;
    apply(&mut tree, &loaded.diffs)?;
    Ok(tree)
}

/// What a start took back.
pub(super) struct TakenBack {
    by: Author,
    diff: Diff,
    rollback: Option<Rollback>,
}

/// Tells of what a start took back.
pub(super) fn tell(taken_back: Option<TakenBack>, announce: &mut Announce) {
    let Some(TakenBack { by, diff, rollback }) = taken_back else {
        return;
    };
    let mut told = Vec::new();
    if !diff.is_empty() {
        // The running of this start is the first that anybody sees.
        told.push(What::RunningChanged { diff, version: 0 });
    }
    if let Some(rollback) = rollback {
        told.push(What::RolledBack(Box::new(rollback)));
    }
    for what in told {
        let by = by.clone();
        announce(Announced { by, what });
    }
}

/// Takes back what was pending when the agent ended, a confirmed commit or one that was guarded: "If the device reboots
/// for any reason before the confirm timeout expires, the server MUST restore the configuration to its state before the
/// confirmed commit was issued" (RFC 6241, section 8.4.1). That is a commit of its own. A full disk does not keep the
/// agent from starting with what is restored.
///
/// # Errors
/// A mark that makes no sense: then the agent does not start, rather than with a configuration that nobody confirmed.
pub(super) fn take_back(
    schema: Schema,
    store: &Store,
    loaded: &mut Loaded,
) -> Result<Option<TakenBack>, AgentError> {
    let marks = [BASE_KEY, GUARD_KEY].map(|key| Some((key, loaded.meta.get(key)?)));
    let Some(base) = base(marks.into_iter().flatten(), loaded)? else {
        return Ok(None);
    };
    let (first, pending) = loaded.diffs.split_at(base.kept);
    let mut before = snapshot(schema, loaded)?;
    apply(&mut before, first)?;
    let mut last = before.duplicate();
    apply(&mut last, pending)?;
    let diff = last.diff(&before).map_err(AgentError::Stored)?;
    let source = if base.is_guarded {
        COMMIT_GUARD
    } else {
        CONFIRMED_COMMIT
    };
    let by = Author::agent(source, SystemTime::now());
    let is_commit = !diff.is_empty();
    let rollback = base.is_guarded.then(|| Rollback {
        at: by.at,
        commit: is_commit.then_some(loaded.next_commit),
        taken_back: Rollback::numbers(base.id, loaded.next_commit - 1),
        server: None,
        failure: None,
    });
    tracing::warn!(
        by = source,
        base = base.id,
        "a commit was pending when the agent ended: it is taken back"
    );
    let mut done = vec![
        (BASE_KEY.to_owned(), None),
        (GUARD_KEY.to_owned(), None),
        tunnel_record(loaded, &before, rollback.as_ref()),
    ];
    if let Some(rollback) = &rollback {
        done.push((LAST_KEY.to_owned(), Some(rollback.to_bytes())));
    }
    let record = is_commit.then(|| commit_record(loaded.next_commit, source, &diff));
    keep(store, loaded, record, done);
    Ok(Some(TakenBack { by, diff, rollback }))
}

/// What the tunnel remembers then: the reason for its last end, and that the code of `before` is none to send.
fn tunnel_record(loaded: &Loaded, before: &Tree, rollback: Option<&Rollback>) -> MetaChange {
    let last_down = rollback.map(|rollback| LastDown {
        reason: LastDownReason::CommitRolledBack,
        at: Moment::Stored(rollback.at),
    });
    let stored = loaded.meta.get(RECORD_KEY).map_or(&[][..], Vec::as_slice);
    let code = CloudSettings::read_unbinding_code(before);
    let restored = record::restored(stored, code, last_down);
    (RECORD_KEY.to_owned(), Some(restored))
}

/// Stores what was taken back, and takes it over.
fn keep(store: &Store, loaded: &mut Loaded, record: Option<CommitRecord>, done: Vec<MetaChange>) {
    for (key, value) in &done {
        match value {
            Some(value) => loaded.meta.insert(key.clone(), value.clone()),
            None => loaded.meta.remove(key),
        };
    }
    if let Some(record) = &record {
        loaded.next_commit += 1;
        loaded.diffs.push(record.diff.clone());
        loaded.history.push(record.clone());
    }
    let stored = match &record {
        Some(record) => store.commit(record, &done),
        None => store.put_meta(&done),
    };
    if let Err(error) = stored {
        // The marks stay with it: whatever becomes of this agent, the next falls back to the same.
        tracing::error!(%error, "that cannot be stored yet; no commit can until it is");
        store.owe(record, done);
    }
}

/// What pending commits fall back to.
struct Base {
    /// The last commit that stays.
    id: u64,
    /// How many of the stored differences stay.
    kept: usize,
    is_guarded: bool,
}

/// The oldest of what is marked (model.md, "Commit guard": of both the same base).
fn base<'a>(
    marks: impl Iterator<Item = (&'a str, &'a Vec<u8>)>,
    loaded: &Loaded,
) -> Result<Option<Base>, AgentError> {
    let mut base: Option<Base> = None;
    for (key, mark) in marks {
        let (id, kept) = kept(mark, loaded).ok_or_else(|| {
            let words = "what a commit that was pending falls back to is missing";
            AgentError::Stored(RpcError::application(ErrorTag::OperationFailed, words))
        })?;
        let guarded = key == GUARD_KEY || base.as_ref().is_some_and(|base| base.is_guarded);
        let older = base.take().filter(|other| other.id <= id);
        base = Some(Base {
            is_guarded: guarded,
            ..older.unwrap_or(Base {
                id,
                kept,
                is_guarded: guarded,
            })
        });
    }
    Ok(base)
}

/// Whether the agent starts as a device that has no configuration: nothing was ever stored, or startup was deleted.
pub(super) fn is_first_start(loaded: &Loaded) -> bool {
    loaded.is_first_start() || loaded.meta.contains_key(DELETED_KEY)
}

/// Stores the configuration of a first start. Not before every part has taken it: a factory default that one of them
/// refuses would else be refused for ever.
///
/// # Errors
/// A store that cannot be written.
pub(super) fn keep_first(
    store: &Store,
    loaded: &Loaded,
    mut datastore: Datastore,
) -> Result<Datastore, AgentError> {
    if is_first_start(loaded) {
        let first = datastore.config(Target::Startup);
        let nothing = Tree::new(datastore.schema());
        let diff = nothing.diff(first).map_err(AgentError::Stored)?;
        let record = commit_record(loaded.next_commit, FACTORY_DEFAULT, &diff);
        store.commit(&record, &[(DELETED_KEY.to_owned(), None)])?;
        datastore.remember(Arc::new(record));
    }
    Ok(datastore)
}

/// The commit of a mark, and how many of the stored differences stay.
fn kept(mark: &[u8], loaded: &Loaded) -> Option<(u64, usize)> {
    let last_kept: u64 = std::str::from_utf8(mark).ok()?.parse().ok()?;
    let in_snapshot = loaded.next_commit - 1 - loaded.diffs.len() as u64;
    let kept = usize::try_from(last_kept.checked_sub(in_snapshot)?).ok()?;
    (kept <= loaded.diffs.len()).then_some((last_kept, kept))
}

fn commit_record(id: u64, source: &'static str, diff: &Diff) -> CommitRecord {
    CommitRecord::new(id, &Author::agent(source, SystemTime::now()), diff)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn snapshot(schema: Schema, loaded: &Loaded) -> Result<Tree, AgentError> {
    match &loaded.snapshot {
        Some(snapshot) => Tree::parse_config(schema, &text(snapshot)).map_err(stored),
        None => Ok(Tree::new(schema)),
    }
}

fn apply(tree: &mut Tree, diffs: &[Vec<u8>]) -> Result<(), AgentError> {
    let schema = tree.schema();
    let diffs = diffs.iter().map(|diff| Diff::parse(schema, &text(diff)));
    tree.apply_all(diffs).map_err(stored)
}

#[cfg(test)]
mod tests;
