//! The rules of `/nacm`, read from the configuration.

use super::Who;
use super::path::RulePath;
use crate::model::schema::Schema;
use crate::model::tree::{Node, Tree};

/// What somebody wants to do (RFC 8341, section 9, `access-operations-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Create,
    Read,
    Update,
    Delete,
    Exec,
}

impl Access {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Exec => "exec",
        }
    }
}

/// `/nacm` with its defaults.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) enabled: bool,
    pub(super) read_default: bool,
    pub(super) write_default: bool,
    pub(super) exec_default: bool,
    external_groups: bool,
    groups: Vec<Group>,
    lists: Vec<RuleList>,
}

#[derive(Debug)]
struct Group {
    name: String,
    users: Vec<String>,
}

#[derive(Debug)]
pub(super) struct RuleList {
    groups: Vec<String>,
    rules: Vec<Rule>,
}

/// One `rule`, with the name of its `rule-list`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) list: String,
    /// None for `*`.
    pub(super) module: Option<String>,
    pub(super) about: About,
    /// Permit or deny.
    pub(super) permits: bool,
    /// None for `*`.
    operations: Option<String>,
}

/// The choice `rule-type`; names are none for `*`.
#[derive(Debug)]
pub(super) enum About {
    Anything,
    Rpc(Option<String>),
    Notification(Option<String>),
    Data(RulePath),
}

impl Rule {
    pub(super) fn is_for(&self, access: Access) -> bool {
        self.operations
            .as_ref()
            .is_none_or(|bits| bits.split_whitespace().any(|bit| bit == access.as_str()))
    }

    pub(super) fn permits_everything(&self) -> bool {
        self.permits && self.module.is_none() && matches!(self.about, About::Anything)
    }

    pub(super) fn is_of_module(&self, module: &str) -> bool {
        self.module.as_ref().is_none_or(|own| own == module)
    }
}

impl Rules {
    /// Reads them; what the configuration leaves out has the default of the module.
    pub(super) fn read(tree: &Tree) -> Self {
        let top = tree
            .roots()
            .find(|root| root.module() == "ietf-netconf-acm" && root.name() == "nacm");
        let leaf = |name: &str| top.and_then(|nacm| nacm.child_value(name));
        let permits =
            |name: &str, default: &str| leaf(name).as_deref().unwrap_or(default) == "permit";
        Self {
            enabled: leaf("enable-nacm").as_deref() != Some("false"),
            read_default: permits("read-default", "permit"),
            write_default: permits("write-default", "deny"),
            exec_default: permits("exec-default", "permit"),
            external_groups: leaf("enable-external-groups").as_deref() != Some("false"),
            groups: top
                .and_then(|nacm| nacm.child("groups"))
                .into_iter()
                .flat_map(|groups| entries(groups, "group"))
                .map(|group| Group {
                    name: text(group, "name"),
                    users: values(group, "user-name"),
                })
                .collect(),
            lists: top
                .into_iter()
                .flat_map(|nacm| entries(nacm, "rule-list"))
                .map(|list| rule_list(list, tree.schema()))
                .collect(),
        }
    }

    /// The groups a user is in: those of the configuration that name him, and those that the transport reports.
    pub(super) fn groups_of<'a>(&'a self, who: Who<'a>) -> Vec<&'a str> {
        let named = |group: &&Group| group.users.iter().any(|name| name == who.user);
        let configured = self.groups.iter().filter(named);
        let reported: &[String] = if self.external_groups {
            who.groups
        } else {
            &[]
        };
        configured
            .map(|group| group.name.as_str())
            .chain(reported.iter().map(String::as_str))
            .collect()
    }

    /// The rules that go for a user, in the order in which they are tried. Without any group there are none, not
    /// even those for all groups (RFC 8341, section 3.4.4, step 4).
    pub(super) fn of<'a>(&'a self, who: Who<'a>) -> Vec<&'a Rule> {
        let lists = self.lists_of(who);
        lists.flat_map(|(_, list)| &list.rules).collect()
    }

    /// The lists that go for a user, each with its place among all.
    pub(super) fn lists_of<'a>(
        &'a self,
        who: Who<'a>,
    ) -> impl Iterator<Item = (usize, &'a RuleList)> {
        let groups = self.groups_of(who);
        let lists = self.lists.iter().enumerate();
        lists.filter(move |(_, list)| !groups.is_empty() && list.is_for(&groups))
    }
}

impl RuleList {
    fn is_for(&self, groups: &[&str]) -> bool {
        self.groups
            .iter()
            .any(|name| name == "*" || groups.contains(&name.as_str()))
    }
}

fn entries<'a>(node: Node<'a>, name: &'a str) -> impl Iterator<Item = Node<'a>> {
    node.children().filter(move |child| child.name() == name)
}

fn values(node: Node<'_>, name: &str) -> Vec<String> {
    entries(node, name)
        .filter_map(|entry| entry.value())
        .collect()
}

fn text(node: Node<'_>, name: &str) -> String {
    node.child_value(name).unwrap_or_default()
}

fn rule_list(list: Node<'_>, schema: Schema) -> RuleList {
    let name = text(list, "name");
    RuleList {
        groups: values(list, "group"),
        rules: entries(list, "rule")
            .map(|entry| rule(entry, &name, schema))
            .collect(),
    }
}

fn rule(entry: Node<'_>, list: &str, schema: Schema) -> Rule {
    let unless_all =
        |name: &str| Some(entry.child_value(name)).map(|value| value.filter(|value| value != "*"));
    let named = |name: &str| entry.child(name).and_then(|_| unless_all(name));
    let about = match (
        named("rpc-name"),
        named("notification-name"),
        entry.child_value("path"),
    ) {
        (Some(rpc), ..) => About::Rpc(rpc),
        (_, Some(notification), _) => About::Notification(notification),
        (_, _, Some(path)) => About::Data(RulePath::parse(&path, schema)),
        _ => About::Anything,
    };
    Rule {
        name: text(entry, "name"),
        list: list.to_owned(),
        module: unless_all("module-name").flatten(),
        about,
        permits: text(entry, "action") == "permit",
        operations: unless_all("access-operations").flatten(),
    }
}
