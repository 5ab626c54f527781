//! Edits (RFC 6241, section 7.2; RFC 7950, sections 7.5.8, 7.6.8, 7.7.9, 7.8.6 and 7.9).

use std::fmt::Write as _;

use super::{Node, Schema, find};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Merge,
    Replace,
    Create,
    Delete,
    Remove,
    None,
}

impl Op {
    pub fn word(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Replace => "replace",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Remove => "remove",
            Self::None => "none",
        }
    }
}

#[derive(Clone, Debug)]
pub enum Insert {
    First,
    Last,
    Before(Vec<String>),
    After(Vec<String>),
}

/// One element of a `<config>`.
#[derive(Clone, Debug)]
pub struct Edit {
    pub name: &'static str,
    pub op: Option<Op>,
    pub insert: Option<Insert>,
    pub value: Option<String>,
    /// The keys first.
    pub children: Vec<Edit>,
}

impl Edit {
    /// What tells the instance it means from its siblings.
    pub fn id(&self, schema: &Schema) -> Vec<String> {
        let value = |edit: &Edit| edit.value.clone().unwrap();
        match (schema.keys().len(), schema.is_value()) {
            (0, true) if schema.kind != super::Kind::Leaf => vec![value(self)],
            (keys, _) => self.children[..keys].iter().map(value).collect(),
        }
    }

    /// The element as XML.
    pub fn write(&self, schema: &Schema, out: &mut String) {
        write!(out, "<{}", self.name).unwrap();
        if let Some(op) = self.op {
            write!(out, " nc:operation=\"{}\"", op.word()).unwrap();
        }
        if let Some(insert) = &self.insert {
            let (word, anchor) = match insert {
                Insert::First => ("first", None),
                Insert::Last => ("last", None),
                Insert::Before(anchor) => ("before", Some(anchor)),
                Insert::After(anchor) => ("after", Some(anchor)),
            };
            write!(out, " yang:insert=\"{word}\"").unwrap();
            if let Some(anchor) = anchor {
                let keys = schema.keys().iter().zip(anchor);
                let key: String = keys
                    .map(|(key, value)| format!("[ex:{}='{value}']", key.name))
                    .collect();
                match schema.is_value() {
                    true => write!(out, " yang:value=\"{}\"", anchor[0]).unwrap(),
                    false => write!(out, " yang:key=\"{key}\"").unwrap(),
                }
            }
        }
        out.push('>');
        out.push_str(self.value.as_deref().unwrap_or_default());
        for child in &self.children {
            child.write(find(&schema.children, child.name), out);
        }
        write!(out, "</{}>", self.name).unwrap();
    }
}

/// The content of a `<config>`.
pub fn config(edits: &[Edit], schema: &[Schema]) -> String {
    let mut xml = String::new();
    for edit in edits {
        let mut element = String::new();
        edit.write(find(schema, edit.name), &mut element);
        let declared = "xmlns=\"urn:example:all\" xmlns:ex=\"urn:example:all\" \
            xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\" xmlns:yang=\"urn:ietf:params:xml:ns:yang:1\"";
        let (name, rest) = element.split_at(1 + edit.name.len());
        write!(xml, "{name} {declared}{rest}").unwrap();
    }
    xml
}

/// Does the edits one after the other; the tag of the first error. After one the data are of no use.
pub fn apply(
    data: &mut Vec<Node>,
    schema: &[Schema],
    edits: &[Edit],
    inherited: Op,
) -> Result<(), &'static str> {
    edits
        .iter()
        .try_for_each(|edit| one(data, find(schema, edit.name), schema, edit, inherited))
}

fn one(
    data: &mut Vec<Node>,
    own: &Schema,
    siblings: &[Schema],
    edit: &Edit,
    inherited: Op,
) -> Result<(), &'static str> {
    let op = edit.op.unwrap_or(inherited);
    let id = edit.id(own);
    let at = data
        .iter()
        .position(|node| node.name == own.name && own.id(node) == id);
    match (op, at) {
        (Op::Delete, None) => return Err("data-missing"),
        (Op::Delete | Op::Remove, Some(at)) => {
            data.remove(at);
            return Ok(());
        }
        (Op::Remove, None) => return Ok(()),
        (Op::Create, Some(_)) => return Err("data-exists"),
        (Op::None, None) if !own.is_plain_container() => return Err("data-missing"),
        _ => {}
    }
    let at = at.unwrap_or_else(|| {
        // RFC 7950, section 7.9: what comes into being in one case deletes all other cases.
        data.retain(|node| !excludes(own, find(siblings, node.name)));
        data.push(fresh(own, edit));
        data.len() - 1
    });
    if own.is_value() {
        if op != Op::None {
            data[at].value.clone_from(&edit.value);
        }
    } else {
        let keys = own.keys().len();
        if op == Op::Replace {
            let is_key = |child: &Node| own.keys().iter().any(|key| key.name == child.name);
            data[at].children.retain(is_key);
        }
        apply(
            &mut data[at].children,
            &own.children,
            &edit.children[keys..],
            op,
        )?;
    }
    match &edit.insert {
        Some(insert) => place(data, own, at, insert),
        None => Ok(()),
    }
}

/// Whether two nodes are in different cases of one choice.
pub fn excludes(own: &Schema, other: &Schema) -> bool {
    let clash =
        |(choice, case): &(&str, &str)| other.cases.iter().any(|(c, k)| c == choice && k != case);
    own.cases.iter().any(clash)
}

fn fresh(own: &Schema, edit: &Edit) -> Node {
    let keys = &edit.children[..own.keys().len()];
    let key = |key: &Edit| Node {
        name: key.name,
        value: key.value.clone(),
        children: Vec::new(),
    };
    Node {
        name: own.name,
        value: edit.value.clone(),
        children: keys.iter().map(key).collect(),
    }
}

/// Moves an entry; only its order among those of its own list counts.
fn place(
    data: &mut Vec<Node>,
    own: &Schema,
    at: usize,
    insert: &Insert,
) -> Result<(), &'static str> {
    let position = |data: &[Node], id: &[String]| {
        data.iter()
            .position(|node| node.name == own.name && own.id(node) == id)
    };
    if let Insert::Before(id) | Insert::After(id) = insert {
        // RFC 7950, section 15.8.
        match position(data, id) {
            None => return Err("bad-attribute"),
            Some(anchor) if anchor == at => return Ok(()),
            Some(_) => {}
        }
    }
    let entry = data.remove(at);
    let to = match insert {
        Insert::First => 0,
        Insert::Last => data.len(),
        Insert::Before(id) => position(data, id).unwrap(),
        Insert::After(id) => position(data, id).unwrap() + 1,
    };
    data.insert(to, entry);
    Ok(())
}
