//! The paths of rules: node-instance-identifiers (RFC 8341, section 9).

use crate::model::schema::Schema;
use crate::model::tree::{Node, SchemaNode};

/// What a rule with a path is about: a node and everything below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RulePath {
    /// `/`: all data.
    Everything,
    /// From the top.
    Node(Vec<Step>),
    /// A node that no module has.
    Nowhere,
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    schema: SchemaNode,
    tests: Vec<Test>,
}

/// One predicate; a key that has none stands for all its values.
#[derive(Debug, PartialEq, Eq)]
enum Test {
    /// `[name='text']`, or with `.` the value of a leaf-list entry.
    Equals { key: String, text: String },
    /// `[name=$USER]`: the name of the user who asks.
    IsUser { key: String },
    /// A position, or something no instance-identifier has.
    Unknown,
}

impl RulePath {
    /// Reads the canonical form, in which prefixes are module names and stand only where the module changes.
    pub(super) fn parse(text: &str, schema: Schema) -> Self {
        if text == "/" {
            return Self::Everything;
        }
        let mut steps: Vec<Step> = Vec::new();
        for part in split(text, '/').skip(1) {
            let mut pieces = split(part, '[');
            let name = pieces.next().unwrap_or_default();
            let (module, name) = match (name.split_once(':'), steps.last()) {
                (Some(qualified), _) => qualified,
                (None, Some(above)) => (above.schema.module(), name),
                (None, None) => return Self::Nowhere,
            };
            let found = match steps.last() {
                Some(above) => above.schema.child(module, name),
                None => schema.top(module, name),
            };
            let Some(schema) = found else {
                return Self::Nowhere;
            };
            let tests = pieces.map(Test::parse).collect();
            steps.push(Step { schema, tests });
        }
        match steps.is_empty() {
            true => Self::Nowhere,
            false => Self::Node(steps),
        }
    }

    /// Whether it is about other nodes for another user.
    pub(super) fn names_user(&self) -> bool {
        let Self::Node(steps) = self else {
            return false;
        };
        let mut tests = steps.iter().flat_map(|step| &step.tests);
        tests.any(|test| matches!(test, Test::IsUser { .. }))
    }

    /// Whether a node is the one of the path or below it. Where that cannot be told, `in_doubt` is the answer.
    pub(super) fn covers(&self, node: Node<'_>, user: &str, in_doubt: bool) -> bool {
        let steps = match self {
            Self::Everything => return true,
            Self::Nowhere => return false,
            Self::Node(steps) => steps,
        };
        let Some(target) = steps.last() else {
            return false;
        };
        let mut ancestors = std::iter::successors(Some(node), Node::parent);
        let Some(named) = ancestors.find(|above| above.schema() == target.schema) else {
            return false;
        };
        // The schema nodes above agree, as each has one parent; what is left are the keys.
        let line = std::iter::successors(Some(named), Node::parent);
        line.zip(steps.iter().rev()).all(|(node, step)| {
            step.tests
                .iter()
                .all(|test| test.holds(node, user, in_doubt))
        })
    }
}

impl Test {
    /// Reads what follows the opening bracket.
    fn parse(text: &str) -> Self {
        let inside = text.strip_suffix(']');
        let Some((key, value)) = inside.and_then(|inside| inside.split_once('=')) else {
            return Self::Unknown;
        };
        let key = key.trim();
        let key = key.split_once(':').map_or(key, |(_, name)| name).to_owned();
        let value = value.trim();
        if value == "$USER" {
            return Self::IsUser { key };
        }
        let unquoted = ['\'', '"']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        unquoted.map_or(Self::Unknown, |text| Self::Equals {
            key,
            text: text.to_owned(),
        })
    }

    fn holds(&self, node: Node<'_>, user: &str, in_doubt: bool) -> bool {
        let value = |key: &str| match key {
            "." => node.value(),
            _ => node.child_value(key),
        };
        match self {
            Self::Equals { key, text } => value(key).as_deref() == Some(text),
            Self::IsUser { key } => value(key).as_deref() == Some(user),
            Self::Unknown => in_doubt,
        }
    }
}

/// The parts of a text between separators, those inside quotes left alone.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quote = None;
    text.split(move |character| {
        match quote {
            Some(open) if open == character => quote = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"') => quote = Some(character),
            None => return character == separator,
        }
        false
    })
}
