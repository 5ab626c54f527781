//! Which parts of a configuration somebody looks at: named entries of lists instead of all.

use std::collections::{HashMap, HashSet};

use super::SchemaNode;

/// A part of a configuration: everything but the entries of lists that nobody named.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// What is named at the top.
    pub top: Level,
    /// Lists of which every entry is in it, wherever they are.
    pub(super) lists: HashSet<SchemaNode>,
}

/// What is named below one node.
#[derive(Clone, Debug, Default)]
pub struct Level {
    all: bool,
    containers: HashMap<SchemaNode, Level>,
    entries: HashMap<SchemaNode, Entries>,
}

/// What is named of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) all: bool,
    /// By their keys, in the canonical form and the order of the schema.
    pub(super) named: HashMap<Vec<String>, Level>,
}

impl Scope {
    /// All of it.
    pub fn everything() -> Self {
        let mut scope = Self::default();
        scope.top.take_all();
        scope
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.top.all
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        let top = &self.top;
        !top.all && top.containers.is_empty() && top.entries.is_empty() && self.lists.is_empty()
    }

    /// Adds what is in another one.
    pub fn add(&mut self, other: &Self) {
        self.top.add(&other.top);
        self.lists.extend(&other.lists);
    }

    /// Adds every entry of a list; false if they were in it.
    pub fn take_list(&mut self, list: SchemaNode) -> bool {
        !self.top.all && self.lists.insert(list)
    }

    /// Adds the entry of a list that is in no other list, by its only key; false if it was in it.
    pub fn take_entry(&mut self, list: SchemaNode, key: &str) -> bool {
        let keys = [key.to_owned()];
        if self.has_entry(list, &keys) {
            return false;
        }
        let above = std::iter::successors(list.parent(), |node| node.parent());
        let above: Vec<_> = above.collect();
        let level = (above.into_iter().rev())
            .fold(&mut self.top, |level, container| level.container(container));
        level.entry(list, &keys).is_some()
    }

    /// Adds everything at and below a container that is in no list.
    pub fn take_container(&mut self, container: SchemaNode) {
        let line = std::iter::successors(Some(container), |node| node.parent());
        let line: Vec<_> = line.collect();
        let level = (line.into_iter().rev())
            .fold(&mut self.top, |level, container| level.container(container));
        level.take_all();
    }

    /// Whether the entry of a list that is in no other list is in it, by its only key.
    fn has_entry(&self, list: SchemaNode, keys: &[String]) -> bool {
        let above = std::iter::successors(list.parent(), |node| node.parent());
        let mut level = Some(&self.top);
        for container in above.collect::<Vec<_>>().into_iter().rev() {
            if level.is_some_and(Level::is_all) {
                return true;
            }
            level = level.and_then(|level| level.container_at(container));
        }
        self.lists.contains(&list)
            || level.is_some_and(|level| {
                let entries = level.entries_of(list);
                level.all || entries.is_some_and(|entries| entries.has(keys))
            })
    }
}

impl Entries {
    fn has(&self, keys: &[String]) -> bool {
        self.all || self.named.contains_key(keys)
    }
}

impl Level {
    /// Everything below.
    pub fn take_all(&mut self) {
        *self = Self {
            all: true,
            ..Self::default()
        };
    }

    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// A container below.
    pub fn container(&mut self, schema: SchemaNode) -> &mut Self {
        self.containers.entry(schema).or_default()
    }

    /// Every entry of a list below, with everything in them.
    pub fn take_list(&mut self, list: SchemaNode) {
        let entries = self.entries.entry(list).or_default();
        entries.all = true;
        entries.named.clear();
    }

    /// The entry of a list below with these values of its keys; `None` for values that no entry has.
    pub fn entry(&mut self, list: SchemaNode, keys: &[String]) -> Option<&mut Self> {
        let canonical = list
            .keys()
            .zip(keys)
            .map(|(key, value)| key.canonical(value));
        let canonical: Vec<_> = canonical.collect::<Option<_>>()?;
        let entries = self.entries.entry(list).or_default();
        Some(entries.named.entry(canonical).or_default())
    }

    pub(super) fn container_at(&self, schema: SchemaNode) -> Option<&Self> {
        self.containers.get(&schema)
    }

    pub(super) fn entries_of(&self, list: SchemaNode) -> Option<&Entries> {
        self.entries.get(&list)
    }

    fn add(&mut self, other: &Self) {
        if self.all || other.all {
            self.take_all();
            return;
        }
        for (schema, level) in &other.containers {
            self.container(*schema).add(level);
        }
        for (list, entries) in &other.entries {
            let own = self.entries.entry(*list).or_default();
            own.all |= entries.all;
            for (keys, level) in &entries.named {
                own.named.entry(keys.clone()).or_default().add(level);
            }
        }
    }
}
