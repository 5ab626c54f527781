//! Differences: what is there on one side alone, and values that are not the same.

use std::collections::{BTreeMap, BTreeSet};

use super::{Node, Schema, find};

/// Every node but containers without presence, by its data path, with its value.
fn paths(
    data: &[Node],
    schema: &[Schema],
    above: &str,
    into: &mut BTreeMap<String, Option<String>>,
) {
    for node in data {
        let own = find(schema, node.name);
        let prefix = if above.is_empty() { "example-all:" } else { "" };
        let keys: String = match own.id(node) {
            id if own.is_value() => id.iter().map(|value| format!("[.='{value}']")).collect(),
            id => {
                let named = own.keys().iter().zip(id);
                named
                    .map(|(key, value)| format!("[{}='{value}']", key.name))
                    .collect()
            }
        };
        let path = format!("{above}/{prefix}{}{keys}", node.name);
        paths(&node.children, &own.children, &path, into);
        if !own.is_plain_container() {
            into.insert(path, node.value.clone());
        }
    }
}

/// What turns one into the other: created, deleted, changed, by data path.
pub fn changes(from: &[Node], to: &[Node], schema: &[Schema]) -> BTreeSet<(&'static str, String)> {
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    paths(from, schema, "", &mut sides[0]);
    paths(to, schema, "", &mut sides[1]);
    let [old, new] = sides;
    let mut changes = BTreeSet::new();
    for (path, value) in &old {
        match new.get(path) {
            None => changes.insert(("delete", path.clone())),
            Some(other) if other != value => changes.insert(("replace", path.clone())),
            Some(_) => true,
        };
    }
    let created = new.keys().filter(|path| !old.contains_key(*path));
    changes.extend(created.map(|path| ("create", path.clone())));
    changes
}
