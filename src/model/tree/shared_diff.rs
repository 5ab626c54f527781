//! Differences that several threads read at once.

use super::{Diff, Node, Op, Snapshot};

/// A difference that is shared and not changed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedDiff {
    tree: Snapshot,
    nodes: usize,
    octets: usize,
}

/// Where an entry of a list or leaf-list that the user orders comes to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Before all others.
    First,
    /// Behind the entry with these keys, or this value.
    After(Vec<String>),
}

impl Diff {
    /// Shares it.
    pub fn share(self) -> SharedDiff {
        let nodes = self.0.roots().flat_map(|root| root.descendants());
        // Their annotations are read once, too, so that nothing is left to be cached in them.
        let (nodes, octets) = nodes.fold((0, 0), |(nodes, octets), node| {
            let annotations = node.settle_annotations();
            (nodes + 1, octets + annotations + node.octets())
        });
        SharedDiff {
            tree: Snapshot::new(self.0),
            nodes,
            octets,
        }
    }
}

impl SharedDiff {
    /// The changed nodes and their parents; see [`SharedDiff::op_of`].
    pub fn tree(&self) -> &Snapshot {
        &self.tree
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The octets of the values that it has, those before included.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// What it says of one of its nodes; none where that follows from a node above.
    pub fn op_of(node: Node<'_>) -> Option<Op> {
        Diff::op_of(node)
    }

    /// Where an entry that is created or moved comes to stand.
    pub fn anchor_of(node: Node<'_>) -> Anchor {
        let text = node.meta("key").map(|predicates| keys(&predicates));
        let value = || node.meta("value").map(|value| vec![value]);
        let position = || node.meta("position").map(|position| vec![position]);
        match text.or_else(value).or_else(position) {
            Some(keys) if keys.iter().any(|key| !key.is_empty()) => Anchor::After(keys),
            _ => Anchor::First,
        }
    }
}

/// The values of predicates such as `[name='a'][port='1']`.
fn keys(predicates: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = predicates;
    while let Some(start) = rest.find(['\'', '"']) {
        let quote = &rest[start..=start];
        let inside = &rest[start + 1..];
        let end = inside.find(quote).unwrap_or(inside.len());
        keys.push(inside[..end].to_owned());
        rest = inside.get(end + 1..).unwrap_or_default();
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_read_from_its_predicates() {
        assert_eq!(keys("[name='a']"), ["a"]);
        assert_eq!(keys("[m:name=\"it's\"][port='1']"), ["it's", "1"]);
        assert_eq!(keys("[name='a[b]']"), ["a[b]"]);
        assert!(keys("").is_empty());
    }
}
