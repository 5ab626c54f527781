//! Access control (RFC 8341): who may read, write and execute what.
//!
//! The rules are read once for each running configuration. How they are tried is section 3.4 of the RFC, step by
//! step, in [`UserRules::decide`]. A recovery session (section 3.5.2) is the caller's to let through: it never asks.

mod class;
mod path;
mod rules;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::datastore::Author;
use crate::model::error::{ErrorTag, RpcError};
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::{DefaultDeny, Diff, Node, NodeKind, Op, Operation, Tree};
pub use class::{Class, InForce};
use rules::{About, Access, Rule, Rules};

/// Whose access is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// His name.
    pub user: &'a str,
    /// The groups that the transport says he is in; they count if `enable-external-groups` is set.
    pub groups: &'a [String],
}

impl<'a> From<&'a str> for Who<'a> {
    /// A user of whom the transport tells no groups.
    fn from(user: &'a str) -> Self {
        Self { user, groups: &[] }
    }
}

impl<'a> From<&'a Author> for Who<'a> {
    fn from(author: &'a Author) -> Self {
        Self {
            user: &author.user,
            groups: &author.groups,
        }
    }
}

/// The rules of a running configuration, ready to be asked.
pub struct Nacm {
    schema: Schema,
    rules: Rules,
    denied: Arc<Denied>,
}

/// Refusals since the agent started (`/nacm/denied-operations` and its siblings).
#[derive(Debug, Default)]
struct Denied {
    operations: AtomicU32,
    data_writes: AtomicU32,
    notifications: AtomicU32,
}

/// What access is asked to.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Rpc {
        module: &'a str,
        name: &'a str,
    },
    Notification {
        module: &'a str,
        name: &'a str,
    },
    /// Data, or the action of a data node.
    Node(Node<'a>),
}

/// How a question was decided.
struct Decision<'a> {
    permitted: bool,
    /// None if no rule matched.
    rule: Option<&'a Rule>,
}

impl Nacm {
    /// Reads the rules of `/nacm`.
    pub fn read(running: &Tree) -> Self {
        Self {
            schema: running.schema(),
            rules: Rules::read(running),
            denied: Arc::default(),
        }
    }

    /// The rules of a new running configuration; the counters go on.
    #[must_use]
    pub fn reread(&self, running: &Tree) -> Self {
        Self {
            denied: Arc::clone(&self.denied),
            ..Self::read(running)
        }
    }

    /// Checks that a user may call an rpc (section 3.4.4). Everyone may close his session.
    ///
    /// # Errors
    /// `access-denied`; it is counted.
    pub fn may_exec<'a>(
        &self,
        who: impl Into<Who<'a>>,
        module: &str,
        name: &str,
    ) -> Result<(), RpcError> {
        let who = who.into();
        let subject = Subject::Rpc { module, name };
        let decision = self.of(who).decide(Access::Exec, subject);
        if decision.permitted || (module, name) == ("ietf-netconf", "close-session") {
            return Ok(());
        }
        count(&self.denied.operations);
        let what = format!("execute {name} of {module}");
        Err(decision.refusal(who.user, &what, ErrorKind::Operation))
    }

    /// Checks that a user may call the action of a data node: execute it, and read every node it is in (section
    /// 3.2.3).
    ///
    /// # Errors
    /// `access-denied` with the path of the action; it is counted.
    pub fn may_act<'a>(&self, who: impl Into<Who<'a>>, action: &Operation) -> Result<(), RpcError> {
        let who = who.into();
        let rules = self.of(who);
        let mut decision = Decision {
            permitted: false,
            rule: None,
        };
        let line = std::iter::successors(action.node(), Node::parent);
        for (above, node) in line.enumerate() {
            let access = if above == 0 {
                Access::Exec
            } else {
                Access::Read
            };
            decision = rules.decide(access, Subject::Node(node));
            if !decision.permitted {
                break;
            }
        }
        if decision.permitted {
            return Ok(());
        }
        count(&self.denied.operations);
        let (module, name) = action.name();
        let what = format!("execute {name} of {module}");
        Err(decision
            .refusal(who.user, &what, ErrorKind::Operation)
            .at(action.instance_path()))
    }

    /// Whether a user may receive a top-level notification (section 3.4.6).
    pub fn may_receive<'a>(&self, who: impl Into<Who<'a>>, module: &str, name: &str) -> bool {
        let subject = Subject::Notification { module, name };
        self.of(who.into()).decide(Access::Read, subject).permitted
    }

    /// Counts one that was held back since its receiver may not receive it.
    pub fn count_denied_notification(&self) {
        count(&self.denied.notifications);
    }

    /// Checks that a user may make a change: create, update or delete each node of it (section 3.4.5). A container
    /// without presence is no change by itself.
    ///
    /// # Errors
    /// `access-denied` with the path of the first node that may not be changed; it is counted.
    pub fn check<'a>(&self, who: impl Into<Who<'a>>, diff: &Diff) -> Result<(), RpcError> {
        let who = who.into();
        let rules = self.of(who);
        for (op, node) in diff.changes() {
            let access = match op {
                Op::Create => Access::Create,
                Op::Delete => Access::Delete,
                Op::Replace => Access::Update,
                Op::None => continue,
            };
            if node.kind() == NodeKind::Container && !node.schema().is_presence() {
                continue;
            }
            let decision = rules.decide(access, Subject::Node(node));
            self.written(&decision, who.user, access, node)?;
        }
        Ok(())
    }

    /// The path of a node, or of the last one above it that a user may read; `/` if that is none.
    pub fn readable_path<'a>(&self, who: impl Into<Who<'a>>, node: Node<'_>) -> String {
        let line: Vec<_> = std::iter::successors(Some(node), Node::parent).collect();
        let mut view = self.view(who.into());
        let readable = line.into_iter().rev().take_while(|node| view(*node)).last();
        readable.map_or_else(|| "/".to_owned(), |node| node.path())
    }

    /// Checks that a user may update one node, whether or not it changes.
    ///
    /// # Errors
    /// `access-denied` with its path; it is counted.
    pub fn may_update<'a>(&self, who: impl Into<Who<'a>>, node: Node<'_>) -> Result<(), RpcError> {
        let who = who.into();
        let decision = self.of(who).decide(Access::Update, Subject::Node(node));
        self.written(&decision, who.user, Access::Update, node)
    }

    /// Checks that a user may give a value or an entry that is there already, which tells him that it is: he sees it, or
    /// may update it. A secret he does not see, whatever he may read.
    ///
    /// # Errors
    /// `access-denied` with its path; it is counted.
    pub fn may_give<'a>(&self, who: impl Into<Who<'a>>, node: Node<'_>) -> Result<(), RpcError> {
        let who = who.into();
        let mut view = self.view(who);
        let mut line = std::iter::successors(Some(node), Node::parent);
        let is_secret = matches!(node.schema().typedef(), "secret" | "crypt-hash");
        if !is_secret && (self.shows_everything(who) || line.all(&mut view)) {
            return Ok(());
        }
        self.may_update(who, node)
    }

    fn written(
        &self,
        decision: &Decision<'_>,
        user: &str,
        access: Access,
        node: Node<'_>,
    ) -> Result<(), RpcError> {
        if decision.permitted {
            return Ok(());
        }
        count(&self.denied.data_writes);
        // Whether it would be created or updated tells whether it is there.
        let what = match access {
            Access::Delete => "delete this",
            _ => "write this",
        };
        let refusal = decision.refusal(user, what, ErrorKind::Data);
        Err(refusal.at(node.path()))
    }

    /// What a user may read, as a question for each node: parents first, and what is below a hidden node is hidden
    /// too. An entry of a list is hidden with any of its keys, without which it could not be told from others.
    pub fn view<'a, W: Into<Who<'a>>>(
        &'a self,
        who: W,
    ) -> impl FnMut(Node<'_>) -> bool + use<'a, W> {
        let rules = self.of(who.into());
        move |node| {
            let shows = |node| rules.decide(Access::Read, Subject::Node(node)).permitted;
            let is_list = node.kind() == NodeKind::List;
            shows(node) && (!is_list || node.children().take_while(Node::is_key).all(shows))
        }
    }

    /// Whether [`Nacm::view`] shows a user everything, so that no node needs to be asked about: with access control
    /// switched off, or if the first rule that can match data permits to read all of them.
    pub fn shows_everything<'a>(&self, who: impl Into<Who<'a>>) -> bool {
        let rules = self.rules.of(who.into());
        let first = rules.into_iter().find(|rule| {
            rule.is_for(Access::Read)
                && !matches!(rule.about, About::Rpc(_) | About::Notification(_))
        });
        !self.rules.enabled || first.is_some_and(Rule::permits_everything)
    }

    /// Takes out what a user may not read, silently (section 3.2.4).
    pub fn prune<'a>(&self, who: impl Into<Who<'a>>, tree: &mut Tree) {
        let who = who.into();
        if !self.shows_everything(who) {
            tree.retain(&mut self.view(who));
        }
    }

    /// Whether a user can no longer make the rules other ones: he may not edit, or not these.
    pub fn locks_out<'a>(&self, who: impl Into<Who<'a>>) -> bool {
        let rules = self.of(who.into());
        let edit = Subject::Rpc {
            module: "ietf-netconf",
            name: "edit-config",
        };
        if !rules.decide(Access::Exec, edit).permitted {
            return true;
        }
        let mut tree = Tree::new(self.schema);
        let made = tree.set(&format!("{}/enable-nacm", paths::NACM), Some("true"));
        debug_assert!(made.is_ok(), "{made:?}");
        let mut nodes = tree.roots().flat_map(|root| root.descendants());
        nodes.any(|node| !rules.decide(Access::Update, Subject::Node(node)).permitted)
    }

    /// Adds the counters of refusals to state data.
    ///
    /// # Errors
    /// None that the schema allows.
    pub fn state(&self, into: &mut Tree) -> Result<(), RpcError> {
        let counters = [
            ("denied-operations", &self.denied.operations),
            ("denied-data-writes", &self.denied.data_writes),
            ("denied-notifications", &self.denied.notifications),
        ];
        for (name, counter) in counters {
            let value = counter.load(Ordering::Relaxed).to_string();
            into.set(&format!("{}/{name}", paths::NACM), Some(&value))?;
        }
        Ok(())
    }

    fn of<'a>(&'a self, who: Who<'a>) -> UserRules<'a> {
        UserRules {
            nacm: self,
            user: who.user,
            rules: self.rules.of(who),
        }
    }
}

/// The rules that go for one user.
struct UserRules<'a> {
    nacm: &'a Nacm,
    user: &'a str,
    rules: Vec<&'a Rule>,
}

impl<'a> UserRules<'a> {
    /// The first rule that matches; without one, what the schema says, then the default (section 3.4).
    fn decide(&self, access: Access, subject: Subject<'_>) -> Decision<'a> {
        let all = &self.nacm.rules;
        if !all.enabled {
            return Decision {
                permitted: true,
                rule: None,
            };
        }
        let matching = self
            .rules
            .iter()
            .find(|rule| rule.is_for(access) && subject.is_matched_by(rule, self.user));
        if let Some(rule) = matching {
            return Decision {
                permitted: rule.permits,
                rule: Some(rule),
            };
        }
        let default = match access {
            Access::Read => all.read_default,
            Access::Exec => all.exec_default,
            Access::Create | Access::Update | Access::Delete => all.write_default,
        };
        let denied = match subject.default_deny(self.nacm.schema) {
            DefaultDeny::No => false,
            DefaultDeny::Write => !matches!(access, Access::Read | Access::Exec),
            DefaultDeny::All => true,
        };
        Decision {
            permitted: default && !denied,
            rule: None,
        }
    }
}

impl Subject<'_> {
    fn is_matched_by(self, rule: &Rule, user: &str) -> bool {
        let is =
            |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|own| own == name);
        match (self, &rule.about) {
            (Self::Rpc { module, .. } | Self::Notification { module, .. }, About::Anything) => {
                rule.is_of_module(module)
            }
            (Self::Node(node), About::Anything) => rule.is_of_module(node.module()),
            (Self::Rpc { module, name }, About::Rpc(wanted))
            | (Self::Notification { module, name }, About::Notification(wanted)) => {
                rule.is_of_module(module) && is(wanted, name)
            }
            // In doubt a rule that denies matches and one that permits does not.
            (Self::Node(node), About::Data(path)) => {
                rule.is_of_module(node.module()) && path.covers(node, user, !rule.permits)
            }
            _ => false,
        }
    }

    fn default_deny(self, schema: Schema) -> DefaultDeny {
        match self {
            Self::Node(node) => node.schema().default_deny(),
            // Section 3.4.4, step 10: whatever the module of NETCONF itself says of them.
            Self::Rpc {
                module: "ietf-netconf",
                name: "kill-session" | "delete-config",
            } => DefaultDeny::All,
            Self::Rpc { module, name } | Self::Notification { module, name } => schema
                .top(module, name)
                .map_or(DefaultDeny::No, |node| node.default_deny()),
        }
    }
}

/// Where an error belongs.
#[derive(Clone, Copy)]
enum ErrorKind {
    Operation,
    Data,
}

impl Decision<'_> {
    fn refusal(&self, user: &str, what: &str, kind: ErrorKind) -> RpcError {
        let why = match self.rule {
            Some(rule) => format!("rule \"{}\" of \"{}\" denies it", rule.name, rule.list),
            None => "no rule permits it".to_owned(),
        };
        let message = format!("user \"{user}\" may not {what}: {why}");
        match kind {
            ErrorKind::Operation => RpcError::protocol(ErrorTag::AccessDenied, message),
            ErrorKind::Data => RpcError::application(ErrorTag::AccessDenied, message),
        }
    }
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
