use super::*;
use crate::datastore::retrieval::{Options, Retrieval, Selection, Source};
use crate::model::schema::Schema;
use crate::model::tree::{Snapshot, Tree};

const DATA: &str = r#"
<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system">
  <contact>ops@example.net</contact>
  <hostname>edge-1</hostname>
  <dns-resolver>
    <search>b.example</search><search>a.example</search>
    <server><name>one</name><udp-and-tcp><address>192.0.2.1</address><port>5353</port></udp-and-tcp></server>
    <server><name>two</name><udp-and-tcp><address>2001:db8::2</address></udp-and-tcp></server>
    <options><timeout>3</timeout></options>
  </dns-resolver>
  <authentication>
    <user><name>admin</name><password>$6$abc$YVTcqUx1q9DQvpfW2ZFd3sZ8tV4kTfQkq4kN3VeqmJ3lD4Zz8WlZ0pqC3m7B5cVb0Bq3sP2vYwQ8u1n6Xk9Rt/</password></user>
    <user><name>bob</name></user>
    <user><name>it's "x"</name></user>
  </authentication>
</system>
<cloud-management xmlns="urn:tether:yang:cloud-management">
  <server><domain>cloud.example</domain><port>8443</port></server>
  <keepalive-interval>60</keepalive-interval>
</cloud-management>"#;

const SYS: &str = r#"xmlns="urn:ietf:params:xml:ns:yang:ietf-system""#;
const CLOUD: &str = r#"xmlns="urn:tether:yang:cloud-management""#;

fn data() -> Tree {
    Tree::parse_config(Schema::load(&[]).unwrap(), DATA).unwrap()
}

fn filter(xml: &str) -> Filter {
    Filter::parse(xml, &Scope::default()).unwrap()
}

/// What a filter selects of a tree, as a tree again.
pub(super) fn apply(filter: &Filter, tree: &Tree, view: View<'_>) -> Tree {
    let selection = Selection::Filter(filter.clone());
    let source = Source::new(Snapshot::new(tree.duplicate()), selection);
    let retrieval = Retrieval::new(vec![source], Options::default(), None);
    let mut pieces = retrieval.begin().unwrap();
    let mut xml = String::new();
    while let Some(piece) = pieces.next_piece_in(view) {
        xml.push_str(&piece);
    }
    Tree::parse_config(tree.schema(), &xml).unwrap()
}

/// What a filter selects of [`DATA`], without the declarations of namespaces.
fn selected(xml: &str) -> String {
    let tree = apply(&filter(xml), &data(), &mut |_| true);
    tree.to_xml()
        .replace(&format!(" {SYS}"), "")
        .replace(&format!(" {CLOUD}"), "")
}

/// The same inside `<system>`.
fn in_system(xml: &str) -> String {
    let selected = selected(&format!("<system {SYS}>{xml}</system>"));
    let inner = selected
        .strip_prefix("<system>")
        .and_then(|rest| rest.strip_suffix("</system>"));
    inner.unwrap_or(&selected).to_owned()
}

#[test]
fn an_empty_filter_selects_nothing() {
    assert_eq!(selected(""), "");
    assert_eq!(selected("  <!-- nothing -->  "), "");
}

#[test]
fn a_selection_is_the_whole_subtree() {
    assert_eq!(selected(&format!("<system {SYS}/>")), {
        let all = data();
        let system = all.roots().find(|root| root.name() == "system").unwrap();
        system
            .to_tree(&all)
            .to_xml()
            .replace(&format!(" {SYS}"), "")
    });
    assert_eq!(in_system("<hostname/>"), "<hostname>edge-1</hostname>");
    assert_eq!(
        in_system("<hostname> \n </hostname>"),
        "<hostname>edge-1</hostname>"
    );
}

#[test]
fn several_roots_and_several_siblings_are_selected_together() {
    let both = selected(&format!(
        "<cloud-management {CLOUD}><server><port/></server></cloud-management><system {SYS}><contact/><hostname/></system>"
    ));
    assert_eq!(
        both,
        "<cloud-management><server><port>8443</port></server></cloud-management>\
         <system><contact>ops@example.net</contact><hostname>edge-1</hostname></system>"
    );
    let twice = selected(&format!(
        "<system {SYS}><hostname/></system><system {SYS}><contact/><hostname/></system>"
    ));
    assert_eq!(
        twice,
        "<system><contact>ops@example.net</contact><hostname>edge-1</hostname></system>"
    );
}

#[test]
fn the_namespace_has_to_be_the_one_of_the_data_or_none() {
    let hostname = "<system><hostname>edge-1</hostname></system>";
    assert_eq!(selected("<system><hostname/></system>"), hostname);
    assert_eq!(
        selected(r#"<system xmlns="urn:other"><hostname/></system>"#),
        ""
    );
    assert_eq!(
        selected(&format!(
            "<system {SYS}><hostname xmlns=\"urn:other\"/></system>"
        )),
        ""
    );
    let outer = Scope::new([(String::new(), NETCONF_NAMESPACE.to_owned())].into());
    let inherited = Filter::parse("<system><hostname/></system>", &outer).unwrap();
    assert!(
        apply(&inherited, &data(), &mut |_| true)
            .to_xml()
            .contains("edge-1")
    );
    let prefixed = format!(
        r#"<s:system xmlns:s={}><s:hostname/></s:system>"#,
        &SYS[6..]
    );
    assert_eq!(selected(&prefixed), hostname);
}

#[test]
fn an_attribute_is_never_met() {
    assert_eq!(
        in_system(r#"<hostname a="1"/><contact/>"#),
        "<contact>ops@example.net</contact>"
    );
    assert_eq!(
        in_system(r#"<hostname a="1">edge-1</hostname><contact/>"#),
        ""
    );
    assert_eq!(
        in_system(r#"<dns-resolver a="1"><search/></dns-resolver>"#),
        ""
    );
}

#[test]
fn content_alone_selects_all_its_siblings() {
    assert_eq!(
        in_system("<authentication><user><name>admin</name></user></authentication>"),
        data()
            .find("/ietf-system:system/authentication/user[name='admin']")
            .map(|user| {
                let all = user
                    .to_tree(&data())
                    .to_xml()
                    .replace(&format!(" {SYS}"), "");
                all["<system>".len()..all.len() - "</system>".len()].to_owned()
            })
            .unwrap()
    );
    assert_eq!(
        in_system("<dns-resolver><options><timeout>3</timeout></options></dns-resolver>"),
        "<dns-resolver><options><timeout>3</timeout></options></dns-resolver>"
    );
}

#[test]
fn content_that_does_not_match_selects_none_of_its_siblings() {
    assert_eq!(
        in_system("<hostname>edge-2</hostname><contact/><dns-resolver><search/></dns-resolver>"),
        ""
    );
    assert_eq!(
        in_system("<hostname>edge-1</hostname><hostname>edge-2</hostname>"),
        ""
    );
    assert_eq!(in_system("<location>here</location><contact/>"), "");
    assert_eq!(in_system("<dns-resolver>text</dns-resolver><contact/>"), "");
}

#[test]
fn content_beside_selections_selects_both() {
    assert_eq!(
        in_system("<hostname> edge-1\n</hostname><contact/>"),
        "<contact>ops@example.net</contact><hostname>edge-1</hostname>"
    );
    assert_eq!(
        in_system(
            "<dns-resolver><server><name>one</name><udp-and-tcp><port/></udp-and-tcp></server></dns-resolver>"
        ),
        "<dns-resolver><server><name>one</name><udp-and-tcp><port>5353</port></udp-and-tcp></server></dns-resolver>"
    );
}

#[test]
fn an_entry_comes_with_its_keys() {
    assert_eq!(
        in_system(
            "<dns-resolver><server><udp-and-tcp><port/></udp-and-tcp></server></dns-resolver>"
        ),
        "<dns-resolver><server><name>one</name><udp-and-tcp><port>5353</port></udp-and-tcp></server></dns-resolver>"
    );
    assert_eq!(
        in_system("<authentication><user><name/></user></authentication>"),
        "<authentication><user><name>admin</name></user><user><name>bob</name></user>\
         <user><name>it's \"x\"</name></user></authentication>"
    );
}

#[test]
fn several_entries_of_a_list_come_once_and_in_the_order_of_the_data() {
    let one = "<server><name>one</name><udp-and-tcp><port/></udp-and-tcp></server>";
    let two = "<server><name>two</name><udp-and-tcp><address/></udp-and-tcp></server>";
    let expected = "<dns-resolver><server><name>one</name><udp-and-tcp><port>5353</port></udp-and-tcp></server>\
         <server><name>two</name><udp-and-tcp><address>2001:db8::2</address></udp-and-tcp></server></dns-resolver>";
    for order in [[one, two, one], [two, one, two]] {
        assert_eq!(
            in_system(&format!("<dns-resolver>{}</dns-resolver>", order.concat())),
            expected
        );
    }
    let users = "<user><name>bob</name></user><user><name>admin</name><name/></user><user><name>nobody</name></user>";
    assert_eq!(
        in_system(&format!("<authentication>{users}</authentication>")),
        "<authentication><user><name>admin</name></user><user><name>bob</name></user></authentication>"
    );
}

#[test]
fn any_key_finds_its_entry() {
    assert_eq!(
        in_system("<authentication><user><name>it's \"x\"</name></user></authentication>"),
        "<authentication><user><name>it's \"x\"</name></user></authentication>"
    );
    assert_eq!(
        in_system("<authentication><user><name>x'] | //*[''='</name></user></authentication>"),
        ""
    );
}

#[test]
fn entries_of_a_leaf_list_are_matched_one_by_one() {
    assert_eq!(
        in_system("<dns-resolver><search>a.example</search><options/></dns-resolver>"),
        "<dns-resolver><search>a.example</search><options><timeout>3</timeout></options></dns-resolver>"
    );
    assert_eq!(
        in_system("<dns-resolver><search/></dns-resolver>"),
        "<dns-resolver><search>b.example</search><search>a.example</search></dns-resolver>"
    );
}

#[test]
fn values_are_compared_in_their_canonical_form() {
    for port in ["5353", " 5353 ", "+5353", "05353"] {
        let found = in_system(&format!(
            "<dns-resolver><server><name/><udp-and-tcp><port>{port}</port></udp-and-tcp></server></dns-resolver>"
        ));
        assert!(found.contains("<name>one</name>"), "{port}: {found}");
        assert!(found.contains("192.0.2.1"), "{port}: {found}");
    }
    let address = "<dns-resolver><server><udp-and-tcp><address>2001:DB8:0::2</address></udp-and-tcp></server></dns-resolver>";
    assert!(in_system(address).contains("<name>two</name>"));
}

#[test]
fn identities_are_compared_by_module_whatever_the_prefix() {
    let xml = r#"<hardware xmlns="urn:ietf:params:xml:ns:yang:ietf-hardware"><component><name>c</name>
        <class xmlns:i="urn:ietf:params:xml:ns:yang:iana-hardware">i:chassis</class></component></hardware>"#;
    let tree = Tree::parse_config(Schema::load(&[]).unwrap(), xml).unwrap();
    let class = |class: &str, scope: &str| {
        let xml =
            format!("<hardware><component><class {scope}>{class}</class></component></hardware>");
        !apply(&filter(&xml), &tree, &mut |_| true).is_empty()
    };
    let iana = "urn:ietf:params:xml:ns:yang:iana-hardware";
    assert!(class("x:chassis", &format!("xmlns:x=\"{iana}\"")));
    assert!(class("iana-hardware:chassis", ""));
    assert!(!class("x:module", &format!("xmlns:x=\"{iana}\"")));
    assert!(!class("x:chassis", "xmlns:x=\"urn:other\""));
}

#[test]
fn a_containment_without_a_hit_leaves_nothing_behind() {
    assert_eq!(in_system("<clock><timezone-name/></clock>"), "");
    assert_eq!(
        in_system("<authentication><user><authorized-key/></user></authentication>"),
        ""
    );
    assert_eq!(in_system("<hostname><x/></hostname>"), "");
    assert_eq!(in_system("<bogus><x/></bogus><bogus/>"), "");
}

#[test]
fn what_a_reader_may_not_see_can_neither_be_read_nor_guessed() {
    let tree = data();
    let mut view =
        |node: crate::model::tree::Node<'_>| node.name() != "port" && node.name() != "contact";
    let seen = |xml: &str, view: View<'_>| apply(&filter(xml), &tree, view).to_xml();
    let all = seen(
        &format!("<system {SYS}/><cloud-management {CLOUD}/>"),
        &mut view,
    );
    assert!(
        all.contains("edge-1") && all.contains("cloud.example") && all.contains("<name>one</name>")
    );
    assert!(!all.contains("ops@") && !all.contains("8443") && !all.contains("5353"));
    let guess = format!("<system {SYS}><contact>ops@example.net</contact><hostname/></system>");
    assert_eq!(seen(&guess, &mut view), "");
    let is_bob = |key: crate::model::tree::Node<'_>| key.value().as_deref() == Some("bob");
    let mut no_keys =
        |node: crate::model::tree::Node<'_>| !is_bob(node) && !node.children().any(is_bob);
    let users = seen(
        &format!("<system {SYS}><authentication/></system>"),
        &mut no_keys,
    );
    assert!(users.contains("admin") && !users.contains("bob"), "{users}");
    let by_key = format!(
        "<system {SYS}><authentication><user><name>bob</name></user></authentication></system>"
    );
    assert_eq!(seen(&by_key, &mut no_keys), "");
}

#[test]
fn a_filter_names_the_roots_that_it_can_select_of() {
    let schema = Schema::load(&[]).unwrap();
    for (xml, expected) in [
        ("", &[][..]),
        ("<system/>", &["system"]),
        (
            "<cloud-management><server/></cloud-management><system/><cloud-management/>",
            &["cloud-management", "system"],
        ),
        ("<cloud-management xmlns='urn:other'/>", &[]),
        (
            "<cloud-management xmlns='urn:tether:yang:cloud-management'/>",
            &["cloud-management"],
        ),
        ("<nothing/>", &[]),
    ] {
        let roots: Vec<_> = filter(xml)
            .roots(schema)
            .iter()
            .map(|root| root.name())
            .collect();
        assert_eq!(roots, expected, "{xml}");
    }
}

#[test]
fn only_what_can_be_selected_is_reached() {
    let ns = "urn:tether:yang:cloud-management";
    let state = [(ns, "cloud-management"), (ns, "state")];
    for (xml, reached) in [
        ("", false),
        ("<system/>", false),
        ("<cloud-management/>", true),
        ("<cloud-management xmlns='urn:other'/>", false),
        ("<cloud-management><server/></cloud-management>", false),
        (
            "<cloud-management><state><attempts/></state></cloud-management>",
            true,
        ),
        (
            "<cloud-management><keepalive-interval>60</keepalive-interval></cloud-management>",
            true,
        ),
        (
            "<cloud-management><keepalive-interval>60</keepalive-interval><server/></cloud-management>",
            false,
        ),
    ] {
        assert_eq!(filter(xml).reaches(&state), reached, "{xml}");
    }
    assert!(
        filter("<cloud-management><state><attempts/></state></cloud-management>")
            .reaches(&state[..1])
    );
}

#[test]
fn a_filter_of_endless_elements_is_too_big() {
    let many = "<user/>".repeat(MOST_ELEMENTS + 1);
    let refused = Filter::parse(&many, &Scope::default()).unwrap_err();
    assert_eq!(refused.tag, ErrorTag::TooBig);
    assert_eq!(
        Filter::parse("<a><b></a>", &Scope::default())
            .unwrap_err()
            .tag,
        ErrorTag::MalformedMessage
    );
}

#[test]
fn the_order_that_sorts_entries_is_kept_in_a_long_list() {
    let users: String = (0..5000)
        .map(|n| format!("<user><name>u{n:04}</name></user>"))
        .collect();
    let xml = format!("<system {SYS}><authentication>{users}</authentication></system>");
    let tree = Tree::parse_config(Schema::load(&[]).unwrap(), &xml).unwrap();
    let same = filter("<system><authentication><user><name/></user></authentication></system>");
    assert_eq!(apply(&same, &tree, &mut |_| true).to_xml(), xml);
    let one =
        filter("<system><authentication><user><name>u4321</name></user></authentication></system>");
    assert_eq!(
        apply(&one, &tree, &mut |_| true).to_xml(),
        format!(
            "<system {SYS}><authentication><user><name>u4321</name></user></authentication></system>"
        )
    );
}
