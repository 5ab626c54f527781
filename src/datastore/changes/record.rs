//! What has changed since somebody was told last: differences put together, one change a node (RFC 8641, section 3.3).
//!
//! Of a node that changed several times the last change counts, even where it cancels out with those before: the receiver
//! learns that something went on. Only of entries that the user orders all turns are kept, each of which may stand
//! where another one had put it.

use std::collections::HashMap;

use crate::model::tree::{Anchor, SchemaNode};

/// A node among its siblings: its schema node, and the keys of a list entry or the value of a leaf-list entry.
pub(super) type Key = (SchemaNode, Vec<String>);

/// Changes that were put together.
#[derive(Debug, Default)]
pub struct Record {
    pub(super) top: Level,
    pub(super) nodes: usize,
}

/// Changes below one node.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub entries: Vec<Entry>,
    places: HashMap<Key, usize>,
    /// What became of entries that the user orders, one after the other.
    pub turns: Vec<(Key, Turn)>,
}

/// A node that changed, or something below it did.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: Key,
    pub fate: Fate,
    /// Of a leaf or leaf-list entry, or an anydata node, that is there.
    pub value: Option<Value>,
    pub below: Level,
    /// Whether it counts only with something below it: it is on the way to what is selected.
    pub is_way: bool,
}

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing, but of something below it.
    Leads,
    Created,
    Deleted,
    Replaced,
    /// It is not there and was not, as far as anybody was told.
    Gone,
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// The whole element, with the declarations it needs.
    Element(String),
}

/// What became of an entry that the user orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Inserted(Anchor),
    Moved(Anchor),
    Deleted,
}

/// Whether the user orders the entries; of state nobody does (RFC 7950, section 7.7.7).
pub(super) fn is_ordered(schema: SchemaNode) -> bool {
    schema.is_user_ordered() && schema.is_config()
}

impl Record {
    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.nodes == 0
    }

    /// How many nodes were put in; those that changed several times count as often.
    pub fn nodes(&self) -> usize {
        self.nodes
    }
}

impl Level {
    /// Whether nothing is left of it.
    pub fn is_void(&self) -> bool {
        let is_void = |entry: &Entry| match entry.fate {
            Fate::Gone => true,
            Fate::Leads => entry.below.is_void(),
            Fate::Created => entry.is_way && entry.below.is_void(),
            Fate::Deleted | Fate::Replaced => false,
        };
        self.turns.is_empty() && self.entries.iter().all(is_void)
    }

    /// The node, if something is known of it.
    pub fn find(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(*self.places.get(key)?)
    }

    /// Something below the node changed.
    pub fn lead(&mut self, key: Key) -> &mut Entry {
        let entry = self.entry(key);
        if matches!(entry.fate, Fate::Deleted | Fate::Gone) {
            entry.fate = Fate::Created;
        }
        entry
    }

    /// The node came into being. What was below it before is not there any more.
    pub fn create(&mut self, key: Key, value: Option<Value>, anchor: Option<Anchor>) -> &mut Entry {
        if let Some(anchor) = anchor {
            self.turn(key.clone(), Turn::Inserted(anchor));
        }
        let entry = self.entry(key);
        entry.fate = Fate::Created;
        entry.value = value;
        entry.below = Level::default();
        entry
    }

    /// The node has gone; `is_new` says that what it was in is new itself, so that nobody knew of it.
    pub fn delete(&mut self, key: Key, is_new: bool) {
        if is_ordered(key.0) {
            self.turn(key.clone(), Turn::Deleted);
        }
        let entry = self.entry(key);
        entry.fate = if is_new { Fate::Gone } else { Fate::Deleted };
        entry.value = None;
        entry.below = Level::default();
    }

    /// The node has another value.
    pub fn replace(&mut self, key: Key, value: Value) {
        let entry = self.entry(key);
        entry.value = Some(value);
        if entry.fate != Fate::Created {
            entry.fate = Fate::Replaced;
        }
    }

    /// The node stands elsewhere among those that the user orders.
    pub fn relocate(&mut self, key: Key, value: Option<Value>, anchor: Anchor) -> &mut Entry {
        self.turn(key.clone(), Turn::Moved(anchor));
        let entry = self.lead(key);
        entry.value = value;
        entry
    }

    /// The last turn of a node gives way to one that follows at once.
    fn turn(&mut self, key: Key, turn: Turn) {
        let last = self.turns.last_mut().filter(|(last, _)| *last == key);
        match (last, turn) {
            (Some((_, Turn::Inserted(own) | Turn::Moved(own))), Turn::Moved(anchor)) => {
                *own = anchor;
            }
            (_, turn) => self.turns.push((key, turn)),
        }
    }

    fn entry(&mut self, key: Key) -> &mut Entry {
        let at = *self.places.entry(key.clone()).or_insert_with(|| {
            self.entries.push(Entry {
                key,
                fate: Fate::Leads,
                value: None,
                below: Level::default(),
                is_way: false,
            });
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }
}
