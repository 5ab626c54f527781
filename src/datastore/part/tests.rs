use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::datastore::edit::{self, EditOptions, Operation, Sealer, Secrets};
use crate::model::schema::{ExtraModule, Schema};
use crate::model::xml::{self, Element, Scope as Prefixes};

pub(in crate::datastore) struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

pub(in crate::datastore) fn schema() -> Schema {
    let texts = [
        include_str!("coupled.yang"),
        include_str!("../../../tests/yang/example-all.yang"),
        include_str!("../../../tests/yang/example-all-sub.yang"),
    ];
    let extra = texts.map(|text| ExtraModule::parse(text.to_owned()).unwrap());
    Schema::load(&extra).unwrap()
}

pub(in crate::datastore) const MERGE: EditOptions = EditOptions {
    default: Operation::Merge,
    continue_on_error: false,
};

pub(in crate::datastore) fn elements(xml: &str) -> Vec<Element> {
    xml::parse(xml, &Prefixes::default()).unwrap()
}

pub(in crate::datastore) fn apply(tree: &mut Tree, config: &[Element]) -> Result<(), Errors> {
    let stored = Tree::new(tree.schema());
    let secrets = Secrets {
        sealer: &mut NoSecrets,
        stored: &stored,
        given: &mut Vec::new(),
    };
    edit::apply(tree, config, MERGE, secrets)
}

/// Every node with its value and whether it is a default.
pub(in crate::datastore) fn dump(tree: &Tree) -> String {
    let mut text = String::new();
    for node in tree.roots().flat_map(|root| root.descendants()) {
        let (path, value) = (node.path(), node.value());
        writeln!(text, "{path} {value:?} {}", node.is_default()).unwrap();
    }
    text
}

fn operation() -> impl Strategy<Value = &'static str> {
    let word = |word| match word {
        "merge" => "",
        "replace" => r#" nc:operation="replace""#,
        "remove" => r#" nc:operation="remove""#,
        "create" => r#" nc:operation="create""#,
        _ => r#" nc:operation="delete""#,
    };
    prop_oneof![
        6 => Just("merge"),
        1 => Just("replace"),
        3 => Just("remove"),
        1 => Just("create"),
        1 => Just("delete"),
    ]
    .prop_map(word)
}

fn leaf(name: &'static str, values: &'static [&'static str]) -> BoxedStrategy<String> {
    let value = prop::sample::select(values);
    (operation(), value)
        .prop_map(move |(operation, value)| format!("<{name}{operation}>{value}</{name}>"))
        .boxed()
}

const NAMES: &[&str] = &["a", "b", "c", "d", "e"];
const NUMBERS: &[&str] = &["0", "1", "2", "4", "5", "8", "9", "20"];

/// An entry of a list, with what else is in it.
fn entry(list: &'static str, inside: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let value = prop::option::weighted(0.7, leaf("value", NUMBERS));
    let inside = prop::option::of(inside);
    (operation(), prop::sample::select(NAMES), value, inside)
        .prop_map(move |(operation, name, value, inside)| {
            let inside = value.unwrap_or_default() + &inside.unwrap_or_default();
            format!("<{list}{operation}><name>{name}</name>{inside}</{list}>")
        })
        .boxed()
}

fn simple(list: &'static str) -> BoxedStrategy<String> {
    entry(list, Just(String::new()).boxed())
}

fn container(name: &'static str, inside: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (operation(), inside)
        .prop_map(move |(operation, inside)| format!("<{name}{operation}>{inside}</{name}>"))
        .boxed()
}

fn free() -> BoxedStrategy<String> {
    let inside = prop_oneof![
        simple("inner"),
        leaf("reserve", NUMBERS),
        container("box", leaf("given", NUMBERS)),
        container("box", leaf("taken", NUMBERS)),
        container("box", simple("item")),
        container("marked", leaf("deep", NUMBERS)),
        leaf("usual", NAMES),
        container("special", simple("part")),
    ];
    entry("free", inside.boxed())
}

fn referring() -> BoxedStrategy<String> {
    let inside = prop_oneof![
        leaf("to", NAMES),
        leaf("its-value", NUMBERS),
        leaf("either", NAMES),
        leaf("either", NUMBERS),
    ];
    entry("referring", inside.boxed())
}

fn ordered() -> BoxedStrategy<String> {
    let place = prop::sample::select(&["first", "last", "before", "after"]);
    let fields = (
        prop::sample::select(NAMES),
        place,
        prop::sample::select(NAMES),
    );
    let inserted = fields.prop_map(|(name, place, anchor)| {
        format!(
            r#"<ordered yang:insert="{place}" yang:key="[c:name='{anchor}']"><name>{name}</name></ordered>"#
        )
    });
    prop_oneof![entry("ordered", simple("inner")), inserted].boxed()
}

/// Something below `top`.
fn inside_top() -> BoxedStrategy<String> {
    const PLACES: &[&str] = &[
        "/c:top/c:free[c:name='a']",
        "/c:top/c:plain[c:name='b']/c:value",
        "/c:at-top[c:name='c']",
    ];
    let lists = prop_oneof![
        4 => free(),
        2 => simple("plain"),
        2 => referring(),
        2 => simple("added"),
        1 => simple("rare"),
        1 => entry("chained", leaf("next", NAMES)),
        1 => simple("unique"),
        1 => simple("few"),
        1 => simple("on-automatic"),
        1 => simple("conditional"),
        2 => container("conditional-box", simple("in-box")),
        1 => simple("hop"),
        1 => container("way-box", simple("stop")),
        2 => ordered(),
        1 => container("strict", simple("least")),
    ];
    let leaves = prop_oneof![
        3 => leaf("mode", &["on", "off"]),
        1 => leaf("limit", NUMBERS),
        1 => leaf("chosen", NAMES),
        1 => leaf("somewhere", PLACES),
        3 => leaf("sum", &["5", "9", "20", "200"]),
        1 => leaf("automatic", NUMBERS),
        1 => container("conditional-box", leaf("flag", NUMBERS)),
        1 => leaf("no-way", NUMBERS),
        1 => leaf("words", NAMES),
        1 => leaf("steps", NAMES),
    ];
    prop_oneof![3 => lists, 1 => leaves].boxed()
}

/// The content of one edit-config.
pub(in crate::datastore) fn an_edit() -> BoxedStrategy<String> {
    let attributes = r#"xmlns="urn:example:coupled" xmlns:c="urn:example:coupled" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" xmlns:yang="urn:ietf:params:xml:ns:yang:1""#;
    let top = inside_top().prop_map(move |inside| format!("<top {attributes}>{inside}</top>"));
    let at_top = entry("at-top", leaf("above", NAMES))
        .prop_map(move |entry| entry.replacen("<at-top", &format!("<at-top {attributes}"), 1));
    prop_oneof![9 => top, 1 => at_top].boxed()
}

/// The edits of one commit, one after the other, in the whole and in a part; then both validate. True: it was done.
fn commit(
    whole: &mut Tree,
    parted: &mut Tree,
    constraints: &Constraints,
    edits: &[String],
) -> bool {
    let mut full = whole.duplicate();
    let mut part = Part::of(parted, Scope::default(), constraints).unwrap();
    for edit in edits {
        let edit = elements(edit);
        let mut next = full.duplicate();
        let done = apply(&mut next, &edit);
        let scope = edit::scope(full.schema(), &edit, MERGE);
        let mut wider = part.widened(parted, &scope, constraints).unwrap();
        assert_eq!(wider.change(|tree| apply(tree, &edit)), done);
        if done.is_ok() {
            let between = full.diff(&next).unwrap().to_text();
            let before = part.widened(parted, &scope, constraints).unwrap();
            assert_eq!(
                before.after().diff(wider.after()).unwrap().to_text(),
                between
            );
            (full, part) = (next, wider);
        }
    }
    let valid = full.validate();
    let validated = part.validated(parted, constraints);
    match (valid, validated) {
        (Ok(()), Ok(validated)) => {
            let diff = whole.diff(&full).unwrap().to_text();
            assert_eq!(validated.diff().unwrap().to_text(), diff);
            validated.carry(parted).unwrap();
            *whole = full;
            assert_eq!(dump(parted), dump(whole));
            true
        }
        (Err(whole), Err(part)) => {
            assert_eq!(whole, part);
            false
        }
        (whole, part) => panic!("the whole: {whole:?}, the part: {:?}", part.map(|_| ())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_part_is_edited_validated_and_compared_as_the_whole_is(
        commits in prop::collection::vec(prop::collection::vec(an_edit(), 1..4), 1..24),
    ) {
        let schema = schema();
        let constraints = Constraints::of(schema);
        let mut whole = Tree::new(schema);
        whole.validate().unwrap();
        let mut parted = whole.duplicate();
        for edits in &commits {
            commit(&mut whole, &mut parted, &constraints, edits);
        }
    }
}

/// `top` with this in it.
pub(in crate::datastore) fn top(inside: &str) -> Vec<Element> {
    elements(&format!(
        r#"<top xmlns="urn:example:coupled" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">{inside}</top>"#
    ))
}

/// A list of so many entries, named 0, 1, 2 …
fn many(list: &str, count: usize) -> String {
    let entries = (0..count).map(|n| format!("<{list}><name>{n}</name><value>7</value></{list}>"));
    entries.collect()
}

/// A valid configuration.
fn configuration(inside: &str) -> (Tree, Constraints) {
    let schema = schema();
    let mut tree = Tree::new(schema);
    apply(&mut tree, &top(inside)).unwrap();
    tree.validate().unwrap();
    (tree, Constraints::of(schema))
}

/// How many nodes of a list the validation of an edit looks at.
fn looked_at(whole: &Tree, constraints: &Constraints, edit: &str, list: &str) -> usize {
    let edit = top(edit);
    let scope = edit::scope(whole.schema(), &edit, MERGE);
    let mut part = Part::of(whole, scope, constraints).unwrap();
    part.change(|tree| apply(tree, &edit)).unwrap();
    let part = part.validated(whole, constraints).unwrap();
    let nodes = part.after().roots().flat_map(|root| root.descendants());
    nodes.filter(|node| node.name() == list).count()
}

#[test]
fn of_a_list_without_constraints_the_changed_entry_alone_is_looked_at() {
    let (whole, constraints) = configuration(&many("free", 300));
    let edit = "<free><name>17</name><value>8</value></free>";
    assert_eq!(looked_at(&whole, &constraints, edit, "free"), 1);
    let other = "<added><name>a</name><value>1</value></added><sum>9</sum>";
    assert_eq!(looked_at(&whole, &constraints, other, "free"), 0);
}

#[test]
fn an_entry_that_a_leafref_names_is_looked_at_and_no_other() {
    let (whole, constraints) = configuration(&many("plain", 300));
    let edit = "<chosen>17</chosen>";
    assert_eq!(looked_at(&whole, &constraints, edit, "plain"), 1);
    let missing = top("<chosen>nobody</chosen>");
    let scope = edit::scope(whole.schema(), &missing, MERGE);
    let mut part = Part::of(&whole, scope, &constraints).unwrap();
    part.change(|tree| apply(tree, &missing)).unwrap();
    assert!(part.validated(&whole, &constraints).is_err());
}

#[test]
fn every_entry_is_looked_at_that_a_change_elsewhere_can_make_invalid() {
    let (whole, constraints) = configuration(&many("plain", 30));
    assert_eq!(
        looked_at(&whole, &constraints, "<limit>8</limit>", "plain"),
        30
    );
    let (whole, constraints) = configuration(&many("conditional", 0));
    assert_eq!(
        looked_at(&whole, &constraints, "<mode>on</mode>", "conditional"),
        0
    );
}

#[test]
fn every_entry_is_looked_at_where_the_entries_constrain_one_another() {
    let (whole, constraints) =
        configuration("<unique><name>a</name></unique><unique><name>b</name></unique>");
    let named = "<unique><name>c</name><value>1</value></unique>";
    assert_eq!(looked_at(&whole, &constraints, named, "unique"), 3);
    let (whole, constraints) = configuration(&many("ordered", 20));
    let named = "<ordered><name>5</name><value>1</value></ordered>";
    assert_eq!(looked_at(&whole, &constraints, named, "ordered"), 20);
}

/// Commits edits one after the other, in the whole and in parts of it; both end the same.
fn follows(edits: &[&str]) -> Vec<bool> {
    let schema = schema();
    let constraints = Constraints::of(schema);
    let mut whole = Tree::new(schema);
    whole.validate().unwrap();
    let mut parted = whole.duplicate();
    let edits = edits.iter().map(|inside| {
        format!(
            r#"<top xmlns="urn:example:coupled" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">{inside}</top>"#
        )
    });
    edits
        .map(|edit| commit(&mut whole, &mut parted, &constraints, &[edit]))
        .collect()
}

#[test]
fn a_container_is_a_default_as_long_as_nothing_in_it_is_set() {
    let given = "<free><name>a</name><box><given>1</given></box></free>";
    let removed = r#"<free><name>a</name><box><given nc:operation="remove"/></box></free>"#;
    let done = follows(&["<free><name>a</name></free>", given, removed, given]);
    assert!(done.iter().all(|done| *done));
}

#[test]
fn what_a_when_takes_away_goes_with_every_entry_in_it() {
    let entries = |count| {
        format!(
            "<conditional-box>{}</conditional-box>",
            many("in-box", count)
        )
    };
    let done = follows(&[
        "<mode>on</mode>",
        &entries(20),
        "<mode>off</mode>",
        "<mode>on</mode>",
    ]);
    assert!(done.iter().all(|done| *done));
    let done = follows(&[
        "<mode>on</mode>",
        &many("conditional", 20),
        "<mode>off</mode>",
    ]);
    assert!(done.iter().all(|done| *done));
}

#[test]
fn a_must_elsewhere_that_looks_at_all_entries_finds_them() {
    let added = |name, value| format!("<added><name>{name}</name><value>{value}</value></added>");
    let edits = [
        "<sum>9</sum>",
        &added("a", 5),
        &added("b", 5),
        &added("c", 4),
    ];
    assert_eq!(follows(&edits), [true, true, false, true]);
}
