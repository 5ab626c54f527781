//! What has changed since somebody was told last: differences put together, one change a node (RFC 8641, section 3.3).
//!
//! Of a node that changed several times the last change counts, even where it cancels out with those before: the receiver
//! learns that something went on. What went and came again is another one in its place: the receiver has it already, so
//! it cannot be created (RFC 8072, section 2.5). Only of entries that the user orders all turns are kept, each of which may stand
//! where another one had put it.

use std::collections::HashMap;

use crate::model::tree::SchemaNode;

/// A node among its siblings: its schema node, and the keys of a list entry or the value of a leaf-list entry.
pub(super) type Key = (SchemaNode, Vec<String>);

/// Changes that were put together.
#[derive(Debug, Default)]
pub struct Record {
    pub(super) top: Level,
    pub(super) nodes: usize,
    pub(super) octets: usize,
    /// An entry came to stand behind one that the subscriber may not see.
    pub(super) is_misplaced: bool,
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
    /// It came and went again, which is told (RFC 8641, section 3.3).
    Passed,
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
    Inserted(Spot),
    Moved(Spot),
    Deleted,
}

/// Where an entry comes to stand among those that the user orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Before all others.
    First,
    /// Behind the entry with these keys, or this value.
    After(Vec<String>),
    /// Behind one that the subscriber may not see.
    Unseen,
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

    /// The octets of all values that were put in; those that gave way to others count too.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Whether an entry stands where the subscriber cannot be told, so that only all there is shows him the order.
    pub fn is_misplaced(&self) -> bool {
        self.is_misplaced
    }
}

impl Value {
    /// The octets of it.
    pub fn len(&self) -> usize {
        let (Self::Text(text) | Self::Element(text)) = self;
        text.len()
    }
}

impl Level {
    /// Whether nothing is left of it.
    pub fn is_void(&self) -> bool {
        let is_void = |entry: &Entry| match entry.fate {
            Fate::Gone => true,
            Fate::Leads => entry.below.is_void(),
            Fate::Created => entry.is_way && entry.below.is_void(),
            Fate::Deleted | Fate::Passed | Fate::Replaced => false,
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
        if matches!(entry.fate, Fate::Deleted | Fate::Passed | Fate::Gone) {
            entry.fate = entry.again();
        }
        entry
    }

    /// The node came into being. What was below it before is not there any more.
    pub fn create(&mut self, key: Key, value: Option<Value>, spot: Option<Spot>) -> &mut Entry {
        if let Some(spot) = spot {
            self.turn(key.clone(), Turn::Inserted(spot));
        }
        let entry = self.entry(key);
        entry.fate = entry.again();
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
        entry.fate = match entry.fate {
            _ if is_new => Fate::Gone,
            Fate::Created | Fate::Passed => Fate::Passed,
            _ => Fate::Deleted,
        };
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
    pub fn relocate(&mut self, key: Key, value: Option<Value>, spot: Spot) -> &mut Entry {
        self.turn(key.clone(), Turn::Moved(spot));
        let entry = self.lead(key);
        entry.value = value;
        entry
    }

    /// The last turn of a node gives way to one that follows at once.
    fn turn(&mut self, key: Key, turn: Turn) {
        let last = self.turns.last_mut().filter(|(last, _)| *last == key);
        match (last, turn) {
            (Some((_, Turn::Inserted(own) | Turn::Moved(own))), Turn::Moved(spot)) => {
                *own = spot;
            }
            (_, turn) => self.turns.push((key, turn)),
        }
    }

    fn entry(&mut self, key: Key) -> &mut Entry {
        let at = *self.places.entry(key.clone()).or_insert_with(|| {
            self.entries.push(Entry::new(key));
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }
}

impl Entry {
    /// A node of which nothing is known yet.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            fate: Fate::Leads,
            value: None,
            below: Level::default(),
            is_way: false,
        }
    }

    /// Whether all that is in it now came after what was told last.
    pub fn is_new(&self) -> bool {
        matches!(self.fate, Fate::Created | Fate::Replaced)
    }

    /// Its fate when it comes into being: whoever was told of it has it still, unless its turns say that it went.
    fn again(&self) -> Fate {
        match self.fate {
            Fate::Deleted | Fate::Replaced if !is_ordered(self.key.0) => Fate::Replaced,
            _ => Fate::Created,
        }
    }
}
