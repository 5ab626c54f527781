//! The configuration that the store holds, and what a start has to make good first.

use std::sync::Arc;
use std::time::SystemTime;

use crate::datastore::commit::CONFIRMED_COMMIT;
use crate::datastore::confirm::BASE_KEY;
use crate::datastore::startup::DELETED_KEY;
use crate::datastore::store::{CommitRecord, Loaded, Store};
use crate::datastore::{Author, Datastore, Target};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::{Diff, Tree};

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

/// Takes a confirmed commit back that was pending when the agent ended: "If the device reboots for any reason before
/// the confirm timeout expires, the server MUST restore the configuration to its state before the confirmed commit was
/// issued" (RFC 6241, section 8.4.1). That is a commit of its own. A full disk does not keep the agent from starting
/// with what is restored.
///
/// # Errors
/// A mark that makes no sense: then the agent does not start, rather than with a configuration that nobody confirmed.
pub(super) fn take_back(
    schema: Schema,
    store: &Store,
    loaded: &mut Loaded,
) -> Result<(), AgentError> {
    let Some(mark) = loaded.meta.get(BASE_KEY) else {
        return Ok(());
    };
    let kept = kept(mark, loaded).ok_or_else(|| {
        let words = "what a confirmed commit falls back to is missing";
        AgentError::Stored(RpcError::application(ErrorTag::OperationFailed, words))
    })?;
    let (first, unconfirmed) = loaded.diffs.split_at(kept);
    let mut base = snapshot(schema, loaded)?;
    apply(&mut base, first)?;
    let mut last = base.duplicate();
    apply(&mut last, unconfirmed)?;
    let back = last.diff(&base).map_err(AgentError::Stored)?;
    let done = [(BASE_KEY.to_owned(), None)];
    if back.is_empty() {
        store.put_meta(&done)?;
    } else {
        let record = record(loaded.next_commit, CONFIRMED_COMMIT, &back);
        tracing::warn!(
            commit = record.id,
            "a confirmed commit was pending when the agent ended: it is taken back"
        );
        loaded.next_commit += 1;
        loaded.diffs.push(record.diff.clone());
        loaded.history.push(record.clone());
        if let Err(error) = store.commit(&record, &done) {
            // The mark stays with it: whatever becomes of this agent, the next falls back to the same.
            tracing::error!(%error, "that cannot be stored yet; no commit can until it is");
            store.owe(record, done.into());
        }
    }
    loaded.meta.remove(BASE_KEY);
    Ok(())
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
        let record = record(loaded.next_commit, FACTORY_DEFAULT, &diff);
        store.commit(&record, &[(DELETED_KEY.to_owned(), None)])?;
        datastore.remember(Arc::new(record));
    }
    Ok(datastore)
}

/// How many of the stored differences stay.
fn kept(mark: &[u8], loaded: &Loaded) -> Option<usize> {
    let last_kept: u64 = std::str::from_utf8(mark).ok()?.parse().ok()?;
    let in_snapshot = loaded.next_commit - 1 - loaded.diffs.len() as u64;
    let kept = usize::try_from(last_kept.checked_sub(in_snapshot)?).ok()?;
    (kept <= loaded.diffs.len()).then_some(kept)
}

fn record(id: u64, source: &'static str, diff: &Diff) -> CommitRecord {
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
