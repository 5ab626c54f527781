use proptest::prelude::*;

use super::*;
use crate::datastore::edit;
use crate::datastore::tests::coupled::{MERGE, an_edit, apply, dump, elements, schema, top};

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

#[test]
fn a_container_whose_entries_are_left_out_is_no_default_in_a_copy_either() {
    let (whole, constraints) = configuration(&many("free", 10));
    let part = Part::of(&whole, Scope::default(), &constraints).unwrap();
    assert!(part.copy().diff(part.after()).unwrap().is_empty());
    assert!(part.before().diff(&part.copy()).unwrap().is_empty());
}

#[test]
fn a_case_stays_whose_entries_are_left_out_in_an_entry_that_is_named() {
    let special = "<free><name>a</name><special><part><name>x</name></part></special></free>";
    let done = follows(&[special, "<free><name>a</name><value>8</value></free>"]);
    assert_eq!(done, [true, true]);
}
