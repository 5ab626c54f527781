//! A record as the edits of a YANG patch (RFC 8072, section 2; RFC 8641, section 3.5.2).

use std::collections::{HashMap, HashSet};

use quick_xml::escape::partial_escape;

use super::record::{Entry, Fate, Key, Level, Record, Spot, Turn, Value, is_ordered};
use crate::model::tree::{NodeKind, SchemaNode};

/// A type of change (RFC 8641, typedef `change-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    /// A node comes into being.
    Create,
    /// A node goes.
    Delete,
    /// An entry comes into being among those that the user orders.
    Insert,
    /// An entry comes to stand elsewhere among those.
    Move,
    /// A value is another one.
    Replace,
}

impl ChangeType {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Delete,
        Self::Insert,
        Self::Move,
        Self::Replace,
    ];

    /// The word of the module.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Insert => "insert",
            Self::Move => "move",
            Self::Replace => "replace",
        }
    }
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// Before all others.
    First,
    /// Behind the one with this path.
    After(String),
}

/// One edit of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is done.
    pub operation: ChangeType,
    /// The node, as RFC 8040, section 3.5.3, writes it.
    pub target: String,
    /// Of an entry that is inserted or moved; none if it stands behind one that the subscriber may not see.
    pub place: Option<Where>,
    /// The node with all that is in it, as XML; of one that is created, inserted or replaced.
    pub value: Option<String>,
}

/// Writes the edits of a record.
struct Writer<'a> {
    excluded: &'a [ChangeType],
    edits: Vec<Edit>,
}

impl Record {
    /// The edits that turn what was told last into what is there now, in the order in which they are to be done; without
    /// those of the types that are excluded.
    pub fn edits(&self, excluded: &[ChangeType]) -> Vec<Edit> {
        let mut writer = Writer {
            excluded,
            edits: Vec::new(),
        };
        writer.level(&self.top, "", "");
        writer.edits
    }
}

impl Writer<'_> {
    /// `path` leads to the level, `module` is that of the last name in it.
    fn level(&mut self, level: &Level, path: &str, module: &str) {
        for entry in &level.entries {
            let schema = entry.key.0;
            let target = step(path, module, &entry.key);
            let has_turns = is_ordered(schema);
            match entry.fate {
                Fate::Leads => self.level(&entry.below, &target, schema.module()),
                Fate::Gone => {}
                _ if has_turns => {}
                Fate::Created if entry.is_way && entry.below.is_void() => {}
                Fate::Created => self.push(ChangeType::Create, target, None, Some(entry)),
                Fate::Deleted | Fate::Passed => self.push(ChangeType::Delete, target, None, None),
                // Nothing that is selected came again with it.
                Fate::Replaced if entry.is_way && entry.below.is_void() => {
                    self.push(ChangeType::Delete, target, None, None);
                }
                Fate::Replaced => self.push(ChangeType::Replace, target, None, Some(entry)),
            }
        }
        self.turns(level, path, module);
    }

    fn turns(&mut self, level: &Level, path: &str, module: &str) {
        // What an entry holds in the end is told when it comes for the last time.
        let is_coming = |turn: &Turn| !matches!(turn, Turn::Moved(_));
        let coming = level
            .turns
            .iter()
            .enumerate()
            .filter(|(_, (_, turn))| is_coming(turn));
        let last: HashMap<&Key, usize> = coming.map(|(at, (key, _))| (key, at)).collect();
        for (at, (key, turn)) in level.turns.iter().enumerate() {
            let target = step(path, module, key);
            let (spot, operation) = match turn {
                Turn::Deleted => {
                    self.push(ChangeType::Delete, target, None, None);
                    continue;
                }
                Turn::Inserted(spot) => (spot, ChangeType::Insert),
                Turn::Moved(spot) => (spot, ChangeType::Move),
            };
            let place = match spot {
                Spot::First => Some(Where::First),
                Spot::After(keys) => Some(Where::After(step(path, module, &(key.0, keys.clone())))),
                Spot::Unseen => None,
            };
            let entry = level.find(key).filter(|_| last.get(key) == Some(&at));
            match (operation, entry) {
                (ChangeType::Insert, Some(entry)) if entry.fate == Fate::Created => {
                    self.push(operation, target, place, Some(entry));
                }
                (ChangeType::Insert, _) => self.insert_bare(target, place, key),
                _ => self.push(operation, target, place, None),
            }
        }
    }

    /// An entry that others stood behind before it went.
    fn insert_bare(&mut self, target: String, place: Option<Where>, key: &Key) {
        let mut bare = Entry::new(key.clone());
        bare.value = key.1.first().cloned().map(Value::Text);
        self.push(ChangeType::Insert, target, place, Some(&bare));
    }

    fn push(
        &mut self,
        operation: ChangeType,
        target: String,
        place: Option<Where>,
        value: Option<&Entry>,
    ) {
        if self.excluded.contains(&operation) {
            return;
        }
        self.edits.push(Edit {
            operation,
            target,
            place,
            value: value.map(|entry| {
                let mut xml = String::new();
                write(&mut xml, entry, None);
                xml
            }),
        });
    }
}

/// The path of a node below another (RFC 8040, section 3.5.3).
fn step(path: &str, module: &str, (schema, keys): &Key) -> String {
    let mut target = format!("{path}/");
    if schema.module() != module {
        target.push_str(schema.module());
        target.push(':');
    }
    target.push_str(schema.name());
    for (at, key) in keys.iter().enumerate() {
        target.push(if at == 0 { '=' } else { ',' });
        encode(&mut target, key);
    }
    target
}

/// Percent-encoding of all but the unreserved characters of RFC 3986.
fn encode(out: &mut String, text: &str) {
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(octet));
            }
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
}

/// An element with all that is in it; `above` is the element around it.
fn write(xml: &mut String, entry: &Entry, above: Option<SchemaNode>) {
    let (schema, keys) = &entry.key;
    if let Some(Value::Element(element)) = &entry.value {
        xml.push_str(element);
        return;
    }
    start(xml, *schema, above);
    match &entry.value {
        Some(Value::Text(text)) if schema.kind() != NodeKind::List => text_of(xml, text),
        _ => {
            for (key, value) in schema.keys().zip(keys) {
                start(xml, key, Some(*schema));
                text_of(xml, value);
                end(xml, key);
            }
            inside(xml, &entry.below, *schema);
        }
    }
    end(xml, *schema);
}

/// What a created node holds in the end. Entries that the user orders stand as their turns have left them.
fn inside(xml: &mut String, level: &Level, above: SchemaNode) {
    for entry in &level.entries {
        let is_ordered = is_ordered(entry.key.0);
        let is_there = !matches!(entry.fate, Fate::Gone | Fate::Deleted | Fate::Passed);
        let is_way = entry.is_way || entry.fate == Fate::Leads;
        if is_there && !is_ordered && !(is_way && entry.below.is_void()) {
            write(xml, entry, Some(above));
        }
    }
    for key in order(&level.turns) {
        if let Some(entry) = level.find(key) {
            write(xml, entry, Some(above));
        }
    }
}

/// The entries that are there after all turns.
fn order(turns: &[(Key, Turn)]) -> Vec<&Key> {
    let (mut order, mut seen): (Vec<&Key>, HashSet<&Key>) = Default::default();
    for (key, turn) in turns {
        if !seen.insert(key)
            && let Some(at) = order.iter().rposition(|other| *other == key)
        {
            order.remove(at);
        }
        let spot = match turn {
            Turn::Deleted => continue,
            Turn::Inserted(spot) | Turn::Moved(spot) => spot,
        };
        let at = match spot {
            // Lists beside one another do not mix: what is first of its own may stand behind others.
            Spot::First => order
                .iter()
                .position(|other| other.0 == key.0)
                .unwrap_or(order.len()),
            Spot::Unseen => order.len(),
            Spot::After(keys) => {
                let is_anchor = |other: &&Key| other.0 == key.0 && other.1 == *keys;
                order
                    .iter()
                    .rposition(is_anchor)
                    .map_or(order.len(), |at| at + 1)
            }
        };
        order.insert(at, key);
    }
    order
}

fn start(xml: &mut String, schema: SchemaNode, above: Option<SchemaNode>) {
    xml.push('<');
    xml.push_str(schema.name());
    if above.is_none_or(|above| above.namespace() != schema.namespace()) {
        xml.push_str(" xmlns=\"");
        xml.push_str(&partial_escape(schema.namespace()).replace('"', "&quot;"));
        xml.push('"');
    }
    xml.push('>');
}

fn end(xml: &mut String, schema: SchemaNode) {
    xml.push_str("</");
    xml.push_str(schema.name());
    xml.push('>');
}

fn text_of(xml: &mut String, text: &str) {
    // A reader turns a carriage return that stands as it is into a line feed (XML 1.0, section 2.11).
    xml.push_str(&partial_escape(text).replace('\r', "&#13;"));
}
