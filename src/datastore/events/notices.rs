//! The notifications of ietf-netconf-notifications (RFC 6470): what changed, who did it, who came and went; and that of the
//! commit guard.

use std::time::Duration;

use crate::datastore::filter::View;
use crate::datastore::guard::Rollback;
use crate::datastore::{Author, SessionId, Target};
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::{Cursor, Diff, Node, NodeKind, Op, Tree};

/// Changes that a notification lists at the most; of more it names what they have in common.
const MOST_EDITS: usize = 1000;

/// What became of a confirmed commit (RFC 6470, `confirm-event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmEvent {
    /// It is pending, for so long.
    Start(Duration),
    /// It is pending for another while.
    Extend(Duration),
    /// It was taken back, by somebody or since its session ended.
    Cancel,
    /// Its time was over.
    Timeout,
    /// It was confirmed.
    Complete,
}

/// A notification in the making.
struct Writer {
    tree: Tree,
    base: &'static str,
}

impl Writer {
    fn new(schema: Schema, base: &'static str) -> Self {
        Self {
            tree: Tree::new(schema),
            base,
        }
    }

    fn set(&mut self, leaf: &str, value: &str) -> Result<(), RpcError> {
        self.tree.set(&format!("{}/{leaf}", self.base), Some(value))
    }

    /// `common-session-parms`; `below` is the container they are in.
    fn session(&mut self, by: &Author, below: &str) -> Result<(), RpcError> {
        self.set(&format!("{below}username"), &by.user)?;
        self.set(&format!("{below}session-id"), &by.session.to_string())?;
        match &by.host {
            Some(host) => self.set(&format!("{below}source-host"), &host.to_string()),
            None => Ok(()),
        }
    }

    /// `changed-by`: a session, or the agent itself.
    fn changed_by(&mut self, by: &Author) -> Result<(), RpcError> {
        match by.session {
            0 => self.set("changed-by/server", ""),
            _ => self.session(by, "changed-by/"),
        }
    }
}

/// `netconf-config-change`, without the changes.
///
/// # Errors
/// A value that the module refuses.
pub fn config_change(schema: Schema, by: &Author, target: Target) -> Result<Tree, RpcError> {
    let mut to = Writer::new(schema, paths::CONFIG_CHANGE);
    to.changed_by(by)?;
    if target == Target::Startup {
        to.set("datastore", "startup")?;
    }
    Ok(to.tree)
}

/// Lists the changes of a `netconf-config-change` in place of those it lists. `view` says which nodes the reader may see;
/// of the others nothing is told. False if there is nothing to tell him.
///
/// # Errors
/// A value that the module refuses.
pub fn list_edits(notice: &mut Tree, diff: &Diff, view: View<'_>) -> Result<bool, RpcError> {
    hide_edits(notice);
    let edits = edits(diff, view);
    for (position, edit) in edits.iter().enumerate() {
        let entry = format!("{}/edit[{}]", paths::CONFIG_CHANGE, position + 1);
        // A path that cannot be written as an instance-identifier is left out, which the module allows.
        let written = notice.set(&format!("{entry}/target"), Some(&edit.target));
        if let Err(error) = written {
            tracing::debug!(%error, "a change has no instance-identifier");
        }
        notice.set(&format!("{entry}/operation"), Some(edit.operation))?;
    }
    Ok(!edits.is_empty())
}

/// Leaves of a `netconf-config-change` that there was a change.
pub fn hide_edits(notice: &mut Tree) {
    notice.retain(&mut |node| node.name() != "edit");
}

struct Edit {
    target: String,
    operation: &'static str,
}

fn edits(diff: &Diff, view: View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for root in diff.tree().roots() {
        collect(root, None, view, &mut edits);
    }
    if edits.len() <= MOST_EDITS {
        return edits;
    }
    let root = |edit: &Edit| edit.target.split('/').nth(1).map(str::to_owned);
    let mut tops: Vec<String> = edits.iter().filter_map(root).collect();
    tops.dedup();
    let whole = |top: String| Edit {
        target: format!("/{top}"),
        operation: "merge",
    };
    tops.into_iter().map(whole).collect()
}

/// The topmost changes at or below a node that the reader may see.
fn collect(node: Node<'_>, inherited: Option<Op>, view: View<'_>, into: &mut Vec<Edit>) {
    if !view(node) {
        return;
    }
    let op = Diff::op_of(node).or(inherited).unwrap_or(Op::None);
    if let Some(operation) = operation(op, node) {
        into.push(Edit {
            target: node.path(),
            operation,
        });
        return;
    }
    let below = Some(op).filter(|op| *op != Op::Replace);
    for child in node.children() {
        collect(child, below, view, into);
    }
}

/// The operation that changes this node; none if it only leads to those that change.
fn operation(op: Op, node: Node<'_>) -> Option<&'static str> {
    let is_container = node.kind() == NodeKind::Container && !node.schema().is_presence();
    match op {
        Op::None => None,
        // A container without presence is there with what is in it.
        Op::Create | Op::Delete if is_container => None,
        // Nobody has set it: it comes and goes with what is above it.
        Op::Create | Op::Delete if node.is_default() => None,
        // A value that somebody takes back gives way to the default.
        Op::Replace if node.is_default() => Some("delete"),
        Op::Create => Some("create"),
        Op::Delete => Some("delete"),
        // Its place among those that the user orders.
        Op::Replace if node.kind() == NodeKind::List => Some("merge"),
        Op::Replace => Some("replace"),
    }
}

/// `netconf-session-start`.
///
/// # Errors
/// A value that the module refuses.
pub fn session_start(schema: Schema, who: &Author) -> Result<Tree, RpcError> {
    let mut to = Writer::new(schema, paths::SESSION_START);
    to.session(who, "")?;
    Ok(to.tree)
}

/// `netconf-session-end`, with the word of the module for the reason, and who killed it.
///
/// # Errors
/// A value that the module refuses.
pub fn session_end(
    schema: Schema,
    who: &Author,
    reason: &str,
    killed_by: Option<SessionId>,
) -> Result<Tree, RpcError> {
    let mut to = Writer::new(schema, paths::SESSION_END);
    to.session(who, "")?;
    if let Some(by) = killed_by {
        to.set("killed-by", &by.to_string())?;
    }
    to.set("termination-reason", reason)?;
    Ok(to.tree)
}

/// `netconf-confirmed-commit`.
///
/// # Errors
/// A value that the module refuses.
pub fn confirmed_commit(
    schema: Schema,
    by: &Author,
    event: ConfirmEvent,
) -> Result<Tree, RpcError> {
    let mut to = Writer::new(schema, paths::CONFIRMED_COMMIT);
    let (word, timeout) = match event {
        ConfirmEvent::Start(timeout) => ("start", Some(timeout)),
        ConfirmEvent::Extend(timeout) => ("extend", Some(timeout)),
        ConfirmEvent::Cancel => ("cancel", None),
        ConfirmEvent::Timeout => ("timeout", None),
        ConfirmEvent::Complete => ("complete", None),
    };
    if event != ConfirmEvent::Timeout {
        to.session(by, "")?;
    }
    to.set("confirm-event", word)?;
    if let Some(timeout) = timeout {
        to.set("timeout", &timeout.as_secs().to_string())?;
    }
    Ok(to.tree)
}

/// `commit-rolled-back` of cloud-management.
///
/// # Errors
/// A value that the module refuses.
pub fn rolled_back(schema: Schema, rollback: &Rollback) -> Result<Tree, RpcError> {
    let mut tree = Tree::new(schema);
    tree.set(paths::COMMIT_ROLLED_BACK, None)?;
    write_rollback(&mut tree, paths::COMMIT_ROLLED_BACK, rollback)?;
    Ok(tree)
}

/// Writes what there is to tell of a rollback below a node, in the notification and in the state.
///
/// # Errors
/// A value that the module refuses.
pub fn write_rollback(tree: &mut Tree, base: &str, rollback: &Rollback) -> Result<(), RpcError> {
    let mut to = Cursor::at(tree, base)?;
    // The module has 32 bits for the number of a commit.
    let number = |id: u64| id.min(u32::MAX.into()).to_string();
    if let Some(commit) = rollback.commit {
        to.put("commit-id", &number(commit))?;
    }
    for &commit in &rollback.taken_back {
        to.put("rolled-back-commit-id", &number(commit))?;
    }
    if let Some(server) = &rollback.server {
        to.put("server-domain", &server.domain)?;
        if let Some(address) = server.address {
            to.put("server-address", &address.to_string())?;
        }
        to.put("server-port", &server.port.to_string())?;
    }
    match rollback.failure {
        Some(failure) => to.put("failure-reason", failure.as_yang()),
        None => Ok(()),
    }
}

/// `netconf-capability-change`, by the agent itself: what its last start did not announce, and what it did.
///
/// # Errors
/// A value that the module refuses.
pub fn capability_change(
    schema: Schema,
    before: &[String],
    now: &[String],
) -> Result<Option<Tree>, RpcError> {
    let base = |uri: &str| uri.split('?').next().unwrap_or_default().to_owned();
    let has = |all: &[String], uri: &String| all.iter().any(|other| base(other) == base(uri));
    let changes = now.iter().filter(|uri| !before.contains(uri));
    let (modified, added): (Vec<_>, Vec<_>) = changes.partition(|uri| has(before, uri));
    let deleted: Vec<_> = before.iter().filter(|uri| !has(now, uri)).collect();
    if added.is_empty() && modified.is_empty() && deleted.is_empty() {
        return Ok(None);
    }
    let mut to = Writer::new(schema, paths::CAPABILITY_CHANGE);
    to.set("changed-by/server", "")?;
    let lists = [
        ("added-capability", added),
        ("deleted-capability", deleted),
        ("modified-capability", modified),
    ];
    for (list, uris) in lists {
        for uri in uris {
            to.set(list, uri)?;
        }
    }
    Ok(Some(to.tree))
}

/// `yang-library-update` (RFC 8525, section 4).
///
/// # Errors
/// None that the module allows.
pub fn library_update(schema: Schema) -> Result<Tree, RpcError> {
    let mut to = Writer::new(schema, paths::LIBRARY_UPDATE);
    to.set("content-id", schema.content_id())?;
    Ok(to.tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &[&str], now: &[&str]) -> Option<String> {
        let schema = Schema::load(&[]).unwrap();
        let list = |uris: &[&str]| uris.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>();
        let notice = capability_change(schema, &list(before), &list(now)).unwrap();
        notice.map(|notice| notice.to_xml())
    }

    #[test]
    fn capabilities_come_go_and_change_their_parameters() {
        let told = told(
            &["urn:a", "urn:b?revision=1", "urn:c"],
            &["urn:a", "urn:b?revision=2", "urn:d"],
        );
        let told = told.unwrap();
        for part in [
            "<added-capability>urn:d</added-capability>",
            "<deleted-capability>urn:c</deleted-capability>",
            "<modified-capability>urn:b?revision=2</modified-capability>",
            "<server/>",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("urn:a"), "{told}");
    }

    #[test]
    fn the_same_capabilities_are_no_news() {
        assert_eq!(told(&["urn:a"], &["urn:a"]), None);
    }
}
