//! Random edits of a module whose lists are coupled with other data in every way.

use std::fmt::Write as _;

use proptest::prelude::*;

use crate::datastore::edit::{self, EditOptions, Operation, Sealer, Secrets};
use crate::model::error::{Errors, RpcError};
use crate::model::schema::{ExtraModule, Schema};
use crate::model::tree::Tree;
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

/// `top` with this in it.
pub(in crate::datastore) fn top(inside: &str) -> Vec<Element> {
    elements(&format!(
        r#"<top xmlns="urn:example:coupled" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">{inside}</top>"#
    ))
}
