//! Subtree filters (RFC 6241, section 6.2).

use std::fmt::Write as _;

use super::{Node, Schema, find};

/// One element of a filter.
#[derive(Clone, Debug)]
pub struct Criterion {
    pub name: &'static str,
    pub wants: Wants,
}

#[derive(Clone, Debug)]
pub enum Wants {
    /// Section 6.2.4.
    Selection,
    /// Section 6.2.5.
    Content(String),
    /// Section 6.2.3; not empty.
    Containment(Vec<Criterion>),
}

impl Criterion {
    fn is_content(&self) -> bool {
        matches!(self.wants, Wants::Content(_))
    }
}

/// The filter as XML.
pub fn xml(criteria: &[Criterion]) -> String {
    let mut out = String::new();
    for one in criteria {
        let inside = match &one.wants {
            Wants::Selection => String::new(),
            Wants::Content(value) => value.clone(),
            Wants::Containment(inside) => xml(inside),
        };
        write!(
            out,
            "<{0} xmlns=\"urn:example:all\">{inside}</{0}>",
            one.name
        )
        .unwrap();
    }
    out
}

/// What sets of sibling criteria select of some siblings; the keys of an entry come with anything of it.
pub fn select(data: &[Node], schema: &[Schema], sets: &[&[Criterion]]) -> Vec<Node> {
    let is_met = |one: &Criterion| match &one.wants {
        Wants::Content(value) => data
            .iter()
            .any(|node| node.name == one.name && node.value.as_ref() == Some(value)),
        _ => true,
    };
    let active: Vec<_> = sets.iter().filter(|set| set.iter().all(is_met)).collect();
    let all = active
        .iter()
        .any(|set| !set.is_empty() && set.iter().all(Criterion::is_content));
    let mut selected = Vec::new();
    for node in data {
        let about: Vec<_> = active
            .iter()
            .flat_map(|set| set.iter())
            .filter(|one| one.name == node.name)
            .collect();
        let is_chosen = |one: &&Criterion| match &one.wants {
            Wants::Selection => true,
            Wants::Content(value) => node.value.as_ref() == Some(value),
            Wants::Containment(_) => false,
        };
        if all || about.iter().any(is_chosen) {
            selected.push(node.clone());
            continue;
        }
        let inside: Vec<&[Criterion]> = about
            .iter()
            .filter_map(|one| match &one.wants {
                Wants::Containment(inside) => Some(inside.as_slice()),
                _ => None,
            })
            .collect();
        let own = find(schema, node.name);
        let mut children = select(&node.children, &own.children, &inside);
        if inside.is_empty() || children.is_empty() {
            continue;
        }
        for (at, key) in own.keys().iter().enumerate() {
            children.retain(|child| child.name != key.name);
            children.insert(
                at,
                node.children
                    .iter()
                    .find(|child| child.name == key.name)
                    .unwrap()
                    .clone(),
            );
        }
        selected.push(Node {
            children,
            ..node.clone()
        });
    }
    selected
}
