//! The datastore agrees with the model.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select as one_of;
use tether::datastore::edit::{self, EditOptions, Operation, Sealer, Secrets};
use tether::datastore::filter::Filter;
use tether::datastore::retrieval::{Options, Retrieval, Selection, Source};
use tether::model::error::RpcError;
use tether::model::schema::ExtraModule;
use tether::model::tree::{Diff, NodeKind, Op as Change, Snapshot, Tree};
use tether::model::xml::{self, Scope};

use super::diff::changes;
use super::edit::{Edit, Insert, Op, apply, config, excludes};
use super::filter::{self, Criterion, Wants};
use super::{Node, Schema, VALUES, normal, read, schema};

static PLAIN: LazyLock<Vec<Schema>> = LazyLock::new(schema);

static YANG: LazyLock<tether::model::schema::Schema> = LazyLock::new(|| {
    let module = |text: &str| ExtraModule::parse(text.to_owned()).unwrap();
    let modules = [
        module(include_str!("../../yang/example-all.yang")),
        module(include_str!("../../yang/example-all-sub.yang")),
    ];
    tether::model::schema::Schema::load(&modules).unwrap()
});

struct NoSecrets;

impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

fn value() -> BoxedStrategy<String> {
    one_of(&VALUES[..]).prop_map(str::to_owned).boxed()
}

fn id(own: &'static Schema) -> BoxedStrategy<Vec<String>> {
    prop::collection::vec(value(), own.keys().len().max(1)).boxed()
}

/// Mostly none. Whether a container without presence exists has no answer, so it is neither created nor deleted.
fn op(own: &'static Schema) -> BoxedStrategy<Option<Op>> {
    let any = [Op::Merge, Op::Replace, Op::Create, Op::Delete, Op::Remove];
    let plain = [Op::Merge, Op::Replace, Op::Remove];
    let ops = if own.is_plain_container() {
        plain.to_vec()
    } else {
        any.to_vec()
    };
    prop_oneof![3 => Just(None), 1 => one_of(ops).prop_map(Some)].boxed()
}

fn insert(own: &'static Schema) -> BoxedStrategy<Option<Insert>> {
    if !own.is_user_ordered() {
        return Just(None).boxed();
    }
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Insert::First)),
        1 => Just(Some(Insert::Last)),
        1 => id(own).prop_map(|id| Some(Insert::Before(id))),
        1 => id(own).prop_map(|id| Some(Insert::After(id))),
    ]
    .boxed()
}

/// An element, with the operations that may stand on it.
fn element(own: &'static Schema) -> BoxedStrategy<Edit> {
    let keys = own.keys().len();
    let key = |key: &'static Schema| {
        value().prop_map(move |value| Edit {
            name: key.name,
            op: None,
            insert: None,
            value: Some(value),
            children: Vec::new(),
        })
    };
    let key_values: Vec<_> = own.keys().iter().map(key).collect();
    let below = match own.is_value() {
        true => Just(Vec::new()).boxed(),
        false => elements(&own.children[keys..]),
    };
    let value = match own.is_value() {
        true => value().prop_map(Some).boxed(),
        false => Just(None).boxed(),
    };
    (op(own), insert(own), value, key_values, below)
        .prop_map(|(op, insert, value, mut children, below)| {
            children.extend(below);
            Edit {
                name: own.name,
                op,
                insert,
                value,
                children,
            }
        })
        .boxed()
}

/// Sibling elements: each node stands once, and of a choice one case alone (RFC 7950, section 8.3.1).
fn elements(own: &'static [Schema]) -> BoxedStrategy<Vec<Edit>> {
    if own.is_empty() {
        return Just(Vec::new()).boxed();
    }
    let any = proptest::strategy::Union::new(own.iter().map(element));
    prop::collection::vec(any, 0..4)
        .prop_map(|edits| {
            let mut kept: Vec<Edit> = Vec::new();
            for edit in edits {
                let node = super::find(own, edit.name);
                let clashes = |other: &Edit| {
                    let other_node = super::find(own, other.name);
                    excludes(node, other_node)
                        || other.name == edit.name && other.id(node) == edit.id(node)
                };
                if !kept.iter().any(clashes) {
                    kept.push(edit);
                }
            }
            kept
        })
        .boxed()
}

fn criteria(own: &'static [Schema]) -> BoxedStrategy<Vec<Criterion>> {
    let one = |own: &'static Schema| {
        let wants = match own.children.is_empty() {
            true => prop_oneof![Just(Wants::Selection), value().prop_map(Wants::Content),].boxed(),
            false => prop_oneof![
                1 => Just(Wants::Selection),
                5 => criteria(&own.children).prop_map(|inside| match inside.is_empty() {
                    true => Wants::Selection,
                    false => Wants::Containment(inside),
                }),
            ]
            .boxed(),
        };
        wants.prop_map(move |wants| Criterion {
            name: own.name,
            wants,
        })
    };
    prop::collection::vec(proptest::strategy::Union::new(own.iter().map(one)), 0..4).boxed()
}

/// The same edit of the real tree; the tag of the first error.
fn edit_tree(tree: &Tree, edits: &[Edit], default: Operation) -> Result<Tree, String> {
    let config = xml::parse(&config(edits, &PLAIN), &Scope::default()).unwrap();
    let options = EditOptions {
        default,
        continue_on_error: false,
    };
    let mut edited = tree.duplicate();
    let mut given = Vec::new();
    let secrets = Secrets {
        sealer: &mut NoSecrets,
        stored: tree,
        given: &mut given,
    };
    match edit::apply(&mut edited, &config, options, secrets) {
        Ok(()) => Ok(edited),
        Err(errors) => Err(errors[0].tag.as_str().to_owned()),
    }
}

fn edit_plain(data: &[Node], edits: &[Edit], default: Operation) -> Result<Vec<Node>, String> {
    let mut edited = match default {
        Operation::Replace => Vec::new(),
        _ => data.to_vec(),
    };
    let inherited = match default {
        Operation::None => Op::None,
        _ => Op::Merge,
    };
    match apply(&mut edited, &PLAIN, edits, inherited) {
        Ok(()) => Ok(normal(&edited, &PLAIN)),
        Err(tag) => Err(tag.to_owned()),
    }
}

/// Data that several edits have made; those that are refused change nothing.
fn made(edits: &[Vec<Edit>]) -> (Tree, Vec<Node>) {
    let (mut tree, mut plain) = (Tree::new(*YANG), Vec::new());
    for edit in edits {
        if let Ok(edited) = edit_plain(&plain, edit, Operation::Merge) {
            plain = edited;
            tree = edit_tree(&tree, edit, Operation::Merge).unwrap();
        }
    }
    (tree, plain)
}

fn filtered(tree: &Tree, criteria: &[Criterion]) -> Vec<Node> {
    let filter = Filter::parse(&filter::xml(criteria), &Scope::default()).unwrap();
    let source = Source::new(Snapshot::new(tree.duplicate()), Selection::Filter(filter));
    let retrieval = Retrieval::new(vec![source], Options::default(), None);
    read(&retrieval.begin().unwrap().into_xml(), &PLAIN)
}

fn data() -> BoxedStrategy<Vec<Vec<Edit>>> {
    prop::collection::vec(elements(&PLAIN), 0..6).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_does_what_the_text_says(
        before in data(),
        edits in elements(&PLAIN),
        default in one_of(vec![Operation::Merge, Operation::Replace, Operation::None]),
    ) {
        let (tree, plain) = made(&before);
        prop_assert_eq!(read(&tree.to_xml(), &PLAIN), plain.clone());
        let expected = edit_plain(&plain, &edits, default);
        let edited = edit_tree(&tree, &edits, default);
        let edited = edited.map(|tree| read(&tree.to_xml(), &PLAIN));
        prop_assert_eq!(edited, expected, "{}", config(&edits, &PLAIN));
    }

    #[test]
    fn a_difference_names_what_changes_and_makes_one_of_the_other(from in data(), to in data()) {
        let ((from, plain_from), (to, plain_to)) = (made(&from), made(&to));
        let diff = from.diff(&to).unwrap();
        let told: BTreeSet<_> = diff
            .changes()
            .filter_map(|(change, node)| {
                let word = match change {
                    Change::Create => "create",
                    Change::Delete => "delete",
                    Change::Replace if node.kind() == NodeKind::Leaf => "replace",
                    // An entry that only moves.
                    Change::Replace | Change::None => return None,
                };
                let is_plain = node.kind() == NodeKind::Container && !node.schema().is_presence();
                (!is_plain).then(|| (word, node.path()))
            })
            .collect();
        prop_assert_eq!(told, changes(&plain_from, &plain_to, &PLAIN));
        let again = Diff::parse(*YANG, &diff.to_text()).unwrap();
        let mut made = from.duplicate();
        made.apply(&again).unwrap();
        prop_assert_eq!(read(&made.to_xml(), &PLAIN), plain_to);
    }

    #[test]
    fn a_subtree_filter_selects_what_the_text_says(data in data(), criteria in criteria(&PLAIN)) {
        let (tree, plain) = made(&data);
        let expected = normal(&filter::select(&plain, &PLAIN, &[&criteria]), &PLAIN);
        prop_assert_eq!(filtered(&tree, &criteria), expected, "{}", filter::xml(&criteria));
    }
}
