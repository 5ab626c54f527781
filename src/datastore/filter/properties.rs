//! What holds for any filter.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::Filter;
use super::tests::apply;
use crate::model::schema::Schema;
use crate::model::tree::Tree;
use crate::model::xml::Scope;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(&[]).unwrap());

fn data() -> Tree {
    let servers: String = (0..6)
        .map(|n| {
            let port = if n % 2 == 0 { "53" } else { "5353" };
            format!(
                "<server><name>s{n}</name><udp-and-tcp><address>192.0.2.{n}</address>\
                 <port>{port}</port></udp-and-tcp></server>"
            )
        })
        .collect();
    let xml = format!(
        r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><hostname>h</hostname><dns-resolver>
        <search>b</search><search>a</search>{servers}</dns-resolver></system>
        <cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval>60</keepalive-interval>
        <server><domain>h</domain></server></cloud-management>"#
    );
    Tree::parse_config(*SCHEMA, &xml).unwrap()
}

/// Filters out of the names and values that the data have, put together at random.
fn filters() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "system",
        "dns-resolver",
        "server",
        "name",
        "udp-and-tcp",
        "port",
        "address",
        "search",
        "hostname",
        "cloud-management",
        "domain",
        "bogus",
    ]);
    let text = prop::sample::select(vec![
        "",
        "",
        "",
        "s1",
        "s4",
        "53",
        "a",
        "h",
        "192.0.2.3",
        "<",
    ]);
    let leaf = (name.clone(), text).prop_map(|(name, text)| match text {
        "<" => format!("<{name} x='1'/>"),
        _ => format!("<{name}>{text}</{name}>"),
    });
    let inner = leaf.prop_recursive(4, 24, 4, move |inner| {
        (name.clone(), prop::collection::vec(inner, 1..4))
            .prop_map(|(name, inside)| format!("<{name}>{}</{name}>", inside.concat()))
    });
    let hit = prop::collection::vec(inner.clone(), 0..4).prop_map(|inside| {
        let inside = inside.concat();
        format!("<system><dns-resolver>{inside}</dns-resolver></system>")
    });
    prop::collection::vec(prop_oneof![inner, hit.clone(), hit], 0..4).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn the_output_is_part_of_the_data_and_its_own_output(xml in filters()) {
        let data = data();
        let filter = Filter::parse(&xml, &Scope::default()).unwrap();
        let selected = apply(&filter, &data, &mut |_| true);
        let nodes = selected.roots().flat_map(|root| root.descendants());
        for node in nodes {
            let original = data.find(&node.path()).unwrap();
            prop_assert_eq!(original.value(), node.value());
        }
        prop_assert_eq!(apply(&filter, &selected, &mut |_| true).to_xml(), selected.to_xml());
        let seen = apply(&filter, &data, &mut |_| true);
        prop_assert_eq!(seen.to_xml(), selected.to_xml());
        let unseen = apply(&filter, &data, &mut |_| false);
        prop_assert!(unseen.is_empty());
        for root in selected.roots() {
            prop_assert!(filter.roots(data.schema()).contains(&root.schema()));
        }
    }

    #[test]
    fn two_filters_together_select_no_more_than_each_does(one in filters(), other in filters()) {
        let data = data();
        let selected = |xml: &str| apply(&Filter::parse(xml, &Scope::default()).unwrap(), &data, &mut |_| true);
        let mut union = selected(&one);
        union.merge(selected(&other));
        let both = selected(&format!("{one}{other}"));
        for node in both.roots().flat_map(|root| root.descendants()) {
            prop_assert!(union.find(&node.path()).is_some(), "{}", node.path());
        }
    }
}
