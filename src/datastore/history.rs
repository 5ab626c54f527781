//! The history of running: who changed what, when, and the way back (`/device-management/commit`).
//!
//! It is made of what each commit stores anyway, so keeping it costs a commit nothing; a difference is put in the form of
//! an edit when somebody asks for it. It is bounded: [`COMMITS`] and [`OCTETS`].

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use quick_xml::escape::partial_escape;

use super::retrieval::Reader;
use super::store::CommitRecord;
use super::{Author, Datastore, Step, Target};
use crate::model::date_and_time;
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::{Diff, Node, Tree};

/// Commits that are kept.
pub const COMMITS: usize = 50;
/// Octets of their differences that are kept, the newest first; the newest is there whatever it takes.
pub const OCTETS: usize = 16 << 20;
/// The source of a commit that restores an earlier one.
pub const ROLLBACK_TO: &str = "rollback-to";

/// The last commits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct History {
    commits: VecDeque<Arc<Commit>>,
}

#[derive(Debug)]
struct Commit {
    record: Arc<CommitRecord>,
    /// Whether its difference had to make room.
    is_forgotten: bool,
    /// Its difference as an edit, for those who see everything.
    edit: OnceLock<String>,
}

impl FromIterator<CommitRecord> for History {
    fn from_iter<T: IntoIterator<Item = CommitRecord>>(records: T) -> Self {
        let mut history = Self::default();
        for record in records {
            history.push(Arc::new(record));
        }
        history
    }
}

impl History {
    /// Adds the next commit; the oldest make room.
    pub(super) fn push(&mut self, record: Arc<CommitRecord>) {
        self.commits.push_back(Arc::new(Commit {
            record,
            is_forgotten: false,
            edit: OnceLock::new(),
        }));
        if self.commits.len() > COMMITS {
            self.commits.pop_front();
        }
        let mut octets = 0;
        for (age, commit) in self.commits.iter_mut().rev().enumerate() {
            octets += commit.record.diff.len();
            if octets > OCTETS && age > 0 && !commit.is_forgotten {
                *commit = Arc::new(commit.forgotten());
            }
        }
    }

    /// The records, oldest first; of those that had to make room without their difference.
    pub fn records(&self) -> impl Iterator<Item = &CommitRecord> {
        self.commits.iter().map(|commit| commit.record.as_ref())
    }

    /// The commits after one, newest first.
    fn after(&self, id: u64) -> Result<Vec<&Commit>, RpcError> {
        let (first, last) = match (self.commits.front(), self.commits.back()) {
            (Some(first), Some(last)) => (first.record.id, last.record.id),
            _ => return Err(refused("there was no commit yet".to_owned())),
        };
        if !(first..=last).contains(&id) {
            let words = format!("there is no commit {id} in the list, which has {first} to {last}");
            return Err(refused(words));
        }
        let after: Vec<&Commit> = self
            .commits
            .iter()
            .rev()
            .take_while(|commit| commit.record.id > id)
            .map(AsRef::as_ref)
            .collect();
        match after.iter().find(|commit| commit.is_forgotten) {
            None => Ok(after),
            Some(commit) => Err(refused(format!(
                "commit {id} is too old: what commit {} changed is no longer kept",
                commit.record.id
            ))),
        }
    }

    /// `/device-management/commit`, as a reader may see it: none for one who sees everything. The differences are in
    /// it if they are asked for.
    ///
    /// # Errors
    /// A record that the module does not allow.
    pub fn state(
        &self,
        schema: Schema,
        reader: Option<&Reader>,
        with_diffs: bool,
    ) -> Result<Tree, Errors> {
        let reader = reader.filter(|reader| !reader.nacm.shows_everything(&reader.author));
        let namespace = schema.namespace(MODULE).unwrap_or_default();
        let mut xml = format!("<device-management xmlns=\"{namespace}\">");
        for commit in &self.commits {
            xml.push_str("<commit>");
            commit.write_head(schema, &mut xml);
            if with_diffs {
                commit.write_diff(schema, reader, &mut xml);
            }
            xml.push_str("</commit>");
        }
        xml.push_str("</device-management>");
        Tree::parse_state(schema, &xml)
    }
}

/// The module of the list.
pub const MODULE: &str = "device-management";

fn refused(words: String) -> RpcError {
    let path = format!("{}/commit-id", paths::ROLLBACK_TO);
    RpcError::application(ErrorTag::InvalidValue, words).at(path)
}

impl Commit {
    /// The same without its difference.
    fn forgotten(&self) -> Self {
        Self {
            record: Arc::new(self.record.without_diff()),
            is_forgotten: true,
            edit: OnceLock::new(),
        }
    }

    fn write_head(&self, schema: Schema, to: &mut String) {
        let record = &self.record;
        leaf(to, "id", &record.id.to_string());
        leaf(to, "at", &date_and_time::milliseconds(record.at));
        if !record.user.is_empty() {
            leaf(to, "user", &record.user);
        }
        if let Some(session) = record.session {
            leaf(to, "session-id", &session.to_string());
        }
        leaf(to, "source", &record.source);
        if let Some(earlier) = record.rolled_back_to {
            leaf(to, "rolled-back-to", &earlier.to_string());
        }
        let transport = record
            .transport
            .as_deref()
            .and_then(|it| it.split_once(':'));
        if let Some((module, name)) = transport
            && let Some(namespace) = schema.namespace(module)
        {
            to.push_str(&format!(
                "<transport xmlns:t=\"{namespace}\">t:{name}</transport>"
            ));
        }
        if let Some(host) = record.host {
            leaf(to, "source-host", &host.to_string());
        }
        if let Some(comment) = &record.comment {
            leaf(to, "comment", comment);
        }
    }

    fn write_diff(&self, schema: Schema, reader: Option<&Reader>, to: &mut String) {
        let own;
        let edit = match reader {
            None => self.edit.get_or_init(|| self.edit(schema, &mut |_| true)),
            Some(reader) => {
                own = self.edit(schema, &mut reader.nacm.view(&reader.author));
                &own
            }
        };
        if !edit.is_empty() {
            to.push_str(&format!("<diff>{edit}</diff>"));
        }
    }

    fn edit(&self, schema: Schema, view: &mut dyn FnMut(Node<'_>) -> bool) -> String {
        match self.diff(schema) {
            Ok(diff) => diff.to_edit(view),
            // A module of an earlier start that is no longer given.
            Err(_) => String::new(),
        }
    }

    fn diff(&self, schema: Schema) -> Result<Diff, Errors> {
        Diff::parse(schema, &String::from_utf8_lossy(&self.record.diff))
    }
}

fn leaf(to: &mut String, name: &str, value: &str) {
    let value = partial_escape(value).replace('\r', "&#13;");
    to.push_str(&format!("<{name}>{value}</{name}>"));
}

impl Datastore {
    /// Makes running what the agent started with after an earlier commit: an edit of running like any other.
    ///
    /// # Errors
    /// `invalid-value` for a commit that is not in the list, or that is too old; else as
    /// [`Datastore::replace_running`]. Who has not named the nodes is not told of those that he may not read.
    pub fn roll_back_to(&mut self, id: u64, by: &Author) -> Result<Step, Errors> {
        let tree = self.running_after(id)?;
        let by = Author {
            source: ROLLBACK_TO,
            back_to: Some(id),
            ..by.clone()
        };
        let refused = match self.replace_running(tree, &by) {
            Ok(step) => return Ok(step),
            Err(refused) => refused,
        };
        let target = self.running_after(id)?;
        let told = refused
            .into_iter()
            .map(|error| self.without_hidden(error, &target, &by));
        Err(told.collect())
    }

    /// What the agent started with after an earlier commit.
    fn running_after(&self, id: u64) -> Result<Tree, Errors> {
        let mut tree = self.config(Target::Startup).duplicate();
        let schema = self.schema();
        let back = self
            .history
            .after(id)?
            .into_iter()
            .map(|commit| commit.diff(schema)?.reversed().map_err(Errors::from));
        tree.apply_all(back)?;
        Ok(tree)
    }

    /// A refusal whose path ends where the user may not read on.
    fn without_hidden(&self, mut error: RpcError, target: &Tree, by: &Author) -> RpcError {
        if by.recovery || error.tag != ErrorTag::AccessDenied {
            return error;
        }
        let running = self.config(Target::Running);
        error.path = error.path.map(|path| {
            let node = target.find(&path).or_else(|| running.find(&path));
            node.map_or_else(
                || "/".to_owned(),
                |node| self.nacm().readable_path(by, node),
            )
        });
        error
    }
}

#[cfg(test)]
mod tests;
