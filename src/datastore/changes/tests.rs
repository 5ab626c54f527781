//! Differences put together: what a subscriber is told must turn his copy into the tree there is.

use std::sync::LazyLock;

use super::*;
use crate::datastore::filter::Filter;
use crate::model::schema::Schema;
use crate::model::tree::Tree;
use crate::model::xml::Scope;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(&[]).unwrap());

fn system(inside: &str) -> Tree {
    let xml =
        format!(r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system">{inside}</system>"#);
    Tree::parse_config(*SCHEMA, &xml).unwrap()
}

fn search(names: &[&str]) -> Tree {
    let all: String = names
        .iter()
        .map(|name| format!("<search>{name}.example</search>"))
        .collect();
    system(&format!(
        "<hostname>h</hostname><dns-resolver>{all}</dns-resolver>"
    ))
}

/// The edits that go through the trees one after the other, for who has asked for these nodes.
fn edits_of(trees: &[Tree], filter: Option<&str>) -> Vec<Edit> {
    let filter = filter.map(|xml| Filter::parse(xml, &Scope::default()).unwrap());
    let mut record = Record::default();
    for pair in trees.windows(2) {
        let diff = pair[0].diff(&pair[1]).unwrap().share();
        let mut look = Look {
            filter: filter.as_ref(),
            unsettled: &Unsettled::default(),
            view: &mut |_| true,
            sees_all: true,
        };
        record.take(&diff, &mut look);
    }
    record.edits(&[])
}

fn told(edits: &[Edit]) -> Vec<String> {
    let short = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let tell = |edit: &Edit| {
        let place = match &edit.place {
            None => String::new(),
            Some(Where::First) => " first".to_owned(),
            Some(Where::After(path)) => format!(" after {}", short(path)),
        };
        format!("{} {}{place}", edit.operation.as_str(), short(&edit.target))
    };
    edits.iter().map(tell).collect()
}

#[test]
fn changes_of_a_created_entry_are_in_its_value() {
    let entry = |inside: &str| {
        let user = format!("<user><name>a</name>{inside}</user>");
        system(&format!(
            "<hostname>h</hostname><authentication>{user}</authentication>"
        ))
    };
    let key = |name: &str, data: &str| {
        format!(
            "<authorized-key><name>{name}</name><algorithm>x</algorithm><key-data>{data}</key-data></authorized-key>"
        )
    };
    let trees = [
        system("<hostname>h</hostname>"),
        entry(&(key("one", "AAAA") + &key("two", "AAAA"))),
        entry(&(key("one", "AAAB") + &key("three", "AAAA"))),
    ];
    let edits = edits_of(&trees, None);
    assert_eq!(told(&edits), ["create user=a"]);
    let value = edits[0].value.as_deref().unwrap();
    assert!(value.contains("AAAB") && value.contains("three"), "{value}");
    assert!(!value.contains("two"), "{value}");
}

const KEYS: &str = r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication><user><authorized-key/></user></authentication></system>"#;
const KEY: &str = "<authorized-key><name>k</name><algorithm>x</algorithm><key-data>AAAA</key-data></authorized-key>";

/// Users, each of a name and what is in it.
fn users(all: &[(&str, &str)]) -> Tree {
    let user = |(name, inside): &(&str, &str)| format!("<user><name>{name}</name>{inside}</user>");
    let all: String = all.iter().map(user).collect();
    system(&format!(
        "<hostname>h</hostname><authentication>{all}</authentication>"
    ))
}

#[test]
fn an_entry_that_went_and_came_again_is_replaced_by_what_it_is_now() {
    let trees = [users(&[("a", KEY)]), users(&[]), users(&[("a", "")])];
    let edits = edits_of(&trees, None);
    assert_eq!(told(&edits), ["replace user=a"]);
    let value = edits[0].value.as_deref().unwrap();
    assert!(!value.contains("authorized-key"), "{value}");
    let trees = [
        system("<hostname>h</hostname>"),
        system(""),
        system("<hostname>i</hostname>"),
    ];
    assert_eq!(told(&edits_of(&trees, None)), ["replace hostname"]);
}

#[test]
fn what_an_entry_gets_after_it_came_again_is_in_its_value() {
    let trees = [
        users(&[("a", KEY)]),
        users(&[]),
        users(&[("a", "")]),
        users(&[("a", KEY)]),
        users(&[("a", &KEY.replace("AAAA", "AAAB"))]),
    ];
    for filter in [None, Some(KEYS)] {
        let edits = edits_of(&trees, filter);
        assert_eq!(told(&edits), ["replace user=a"]);
        assert!(edits[0].value.as_deref().unwrap().contains("AAAB"));
    }
}

#[test]
fn what_came_and_went_is_told_and_is_created_when_it_comes_again() {
    let trees = [
        users(&[]),
        users(&[("a", "")]),
        users(&[]),
        users(&[("a", KEY)]),
    ];
    assert_eq!(told(&edits_of(&trees[..3], None)), ["delete user=a"]);
    assert_eq!(told(&edits_of(&trees, None)), ["create user=a"]);
}

#[test]
fn an_entry_that_comes_again_without_what_is_selected_is_deleted() {
    let trees = [users(&[("a", KEY)]), users(&[]), users(&[("a", "")])];
    assert_eq!(told(&edits_of(&trees, Some(KEYS))), ["delete user=a"]);
}

#[test]
fn an_entry_on_the_way_goes_only_with_something_that_is_selected() {
    let trees = [users(&[("a", ""), ("b", KEY)]), users(&[])];
    assert_eq!(told(&edits_of(&trees, Some(KEYS))), ["delete user=b"]);
    let names = KEYS.replace("<authorized-key/>", "<name/>");
    let all = ["delete user=a", "delete user=b"];
    assert_eq!(told(&edits_of(&trees, Some(&names))), all);
    let trees = [users(&[]), users(&[("a", "")]), users(&[])];
    assert!(edits_of(&trees, Some(KEYS)).is_empty());
}

#[test]
fn where_an_entry_stands_is_not_told_by_one_that_is_hidden() {
    let trees = [search(&["hidden", "b"]), search(&["hidden", "a", "b", "c"])];
    let diff = trees[0].diff(&trees[1]).unwrap().share();
    let mut record = Record::default();
    let mut look = Look {
        filter: None,
        unsettled: &Unsettled::default(),
        view: &mut |node| node.text() != Some("hidden.example"),
        sees_all: false,
    };
    record.take(&diff, &mut look);
    assert!(record.is_misplaced());
    let edits = record.edits(&[]);
    let expected = [
        "insert search=a.example",
        "insert search=c.example after search=b.example",
    ];
    assert_eq!(told(&edits), expected);
}

#[test]
fn the_octets_of_values_are_counted() {
    let of = |length: usize| system(&format!("<contact>{}</contact>", "x".repeat(length)));
    let diff = of(1000).diff(&of(100)).unwrap().share();
    assert!((1100..1200).contains(&diff.octets()), "{}", diff.octets());
    let mut record = Record::default();
    let mut look = Look {
        filter: None,
        unsettled: &Unsettled::default(),
        view: &mut |_| true,
        sees_all: true,
    };
    record.take(&diff, &mut look);
    assert_eq!(record.octets(), 100);
}

#[test]
fn a_filter_picks_its_part_of_a_difference() {
    let trees = [
        system("<hostname>h</hostname>"),
        system("<hostname>i</hostname><location>attic</location><contact>me</contact>"),
    ];
    let filter = r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><location/></system>"#;
    assert_eq!(told(&edits_of(&trees, Some(filter))), ["create location"]);
    let by_key = r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication><user><name>b</name></user></authentication></system>"#;
    let users = system(
        "<hostname>h</hostname><authentication><user><name>a</name></user><user><name>b</name></user></authentication>",
    );
    let trees = [system("<hostname>h</hostname>"), users];
    assert_eq!(told(&edits_of(&trees, Some(by_key))), ["create user=b"]);
}

#[test]
fn an_entry_on_the_way_to_what_is_selected_comes_only_with_something_in_it() {
    let trees = [
        system("<hostname>h</hostname>"),
        users(&[("a", ""), ("b", KEY)]),
    ];
    assert_eq!(told(&edits_of(&trees, Some(KEYS))), ["create user=b"]);
}

#[test]
fn turns_of_entries_that_the_user_orders_can_be_done_one_after_the_other() {
    let orders: [&[&str]; 5] = [
        &["a", "b", "c"],
        &["b", "a", "c", "d"],
        &["d", "b", "c"],
        &["c", "e", "d"],
        &["e", "c", "b", "d"],
    ];
    for begin in 0..orders.len() {
        for end in begin + 1..=orders.len() {
            let trees: Vec<_> = orders[begin..end]
                .iter()
                .map(|names| search(names))
                .collect();
            let mut copy: Vec<String> = orders[begin]
                .iter()
                .map(|name| format!("search={name}.example"))
                .collect();
            for step in told(&edits_of(&trees, None)) {
                apply(&mut copy, &step);
            }
            let expected: Vec<_> = orders[end - 1]
                .iter()
                .map(|name| format!("search={name}.example"))
                .collect();
            assert_eq!(copy, expected, "{begin} {end}");
        }
    }
}

/// Does an edit to a list of names.
fn apply(copy: &mut Vec<String>, step: &str) {
    let words: Vec<_> = step.split(' ').collect();
    let name = words[1].to_owned();
    copy.retain(|other| *other != name);
    match words[..] {
        ["delete", _] => {}
        [_, _, "first"] => copy.insert(0, name),
        [_, _, "after", anchor] => {
            let at = copy.iter().position(|other| other == anchor).unwrap();
            copy.insert(at + 1, name);
        }
        _ => panic!("{step}"),
    }
}

#[test]
fn a_value_that_gives_way_to_its_default_is_deleted() {
    let port = |port: &str| {
        let server = format!(
            "<server><name>a</name><udp-and-tcp><address>192.0.2.1</address>{port}</udp-and-tcp></server>"
        );
        let mut tree = system(&format!("<dns-resolver>{server}</dns-resolver>"));
        tree.validate().unwrap();
        tree
    };
    let trees = [port("<port>5353</port>"), port("")];
    assert_eq!(told(&edits_of(&trees, None)), ["delete port"]);
    let trees = [port(""), port("<port>5353</port>")];
    assert_eq!(told(&edits_of(&trees, None)), ["create port"]);
}
