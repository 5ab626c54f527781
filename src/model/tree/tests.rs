use super::*;
use crate::model::error::ErrorTag;

fn schema() -> Schema {
    Schema::load(&[]).unwrap()
}

const CLOUD: &str = r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><server><domain>cloud.example</domain></server></cloud-management>"#;

#[test]
fn a_configuration_is_read_validated_and_printed_as_it_was() {
    let mut tree = Tree::parse_config(schema(), CLOUD).unwrap();
    tree.validate().unwrap();
    assert_eq!(tree.to_xml(), CLOUD);
    assert_eq!(
        tree.value("/cloud-management:cloud-management/server/port")
            .as_deref(),
        Some("443")
    );
    assert!(
        tree.find("/cloud-management:cloud-management/server/port")
            .unwrap()
            .is_default()
    );
}

#[test]
fn a_value_out_of_range_is_an_invalid_value_with_its_path() {
    let xml = r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval>9</keepalive-interval></cloud-management>"#;
    let errors = Tree::parse_config(schema(), xml).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].tag, ErrorTag::InvalidValue);
    assert_eq!(
        errors[0].path.as_deref(),
        Some("/cloud-management:cloud-management/keepalive-interval")
    );
}

#[test]
fn an_unknown_element_and_a_nul_byte_are_refused() {
    let unknown =
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><bogus/></cloud-management>"#;
    assert_eq!(
        Tree::parse_config(schema(), unknown).unwrap_err()[0].tag,
        ErrorTag::UnknownElement
    );
    assert!(Tree::parse_config(schema(), "<a>\0</a>").is_err());
}

#[test]
fn a_diff_applies_to_its_base_and_survives_as_text() {
    let schema = schema();
    let mut old = Tree::parse_config(schema, CLOUD).unwrap();
    old.validate().unwrap();
    let mut new = old.duplicate();
    new.set(
        "/cloud-management:cloud-management/server/port",
        Some("8443"),
    )
    .unwrap();
    new.set(
        "/device-management:device-management/limits/hello-timeout",
        Some("12"),
    )
    .unwrap();
    new.validate().unwrap();
    let diff = old.diff(&new).unwrap();
    assert!(diff.touches("/cloud-management:cloud-management/server/port"));
    assert!(!diff.touches("/cloud-management:cloud-management/server/domain"));
    let again = Diff::parse(schema, &diff.to_text()).unwrap();
    old.apply(&again).unwrap();
    assert_eq!(old.to_xml(), new.to_xml());
}

#[test]
fn a_cursor_finds_creates_changes_and_removes() {
    let schema = schema();
    let mut tree = Tree::new(schema);
    let host = schema.top("ietf-system", "system").unwrap();
    let dns = host.child("ietf-system", "dns-resolver").unwrap();
    let search = dns.child("ietf-system", "search").unwrap();
    let place = |schema, keys: &[&str]| Place {
        schema,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    let mut top = Cursor::top(&mut tree);
    let mut system = top.create(&place(host, &[]), None).unwrap();
    let mut resolver = system.create(&place(dns, &[]), None).unwrap();
    resolver
        .create(&place(search, &["b.example"]), None)
        .unwrap();
    let mut first = resolver
        .create(&place(search, &["a.example"]), None)
        .unwrap();
    assert!(first.move_to(true, None).unwrap());
    assert!(
        resolver
            .find(&place(search, &["c.example"]))
            .unwrap()
            .is_none()
    );
    assert!(
        tree.to_xml()
            .contains("<search>a.example</search><search>b.example</search>")
    );
    let mut top = Cursor::top(&mut tree);
    top.find(&place(host, &[])).unwrap().unwrap().remove();
    assert!(tree.is_empty());
}

#[test]
fn the_refusal_of_a_union_is_one_line() {
    let xml = "<cloud-management xmlns='urn:tether:yang:cloud-management'><server><domain>two..dots</domain></server></cloud-management>";
    let errors = Tree::parse_config(Schema::load(&[]).unwrap(), xml)
        .err()
        .unwrap();
    assert_eq!(
        errors[0].message,
        "domain takes a text of type ipv4-address-no-zone, or a text of type ipv6-address-no-zone, or a text of type domain-name of 1..253 characters"
    );
}

#[test]
fn diffs_apply_one_after_the_other_with_containers_that_come_and_go() {
    let schema = schema();
    let states = [
        CLOUD,
        "",
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><server><port>1</port></server></cloud-management>"#,
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval>60</keepalive-interval></cloud-management>"#,
        CLOUD,
    ];
    let states = states.map(|xml| {
        let mut tree = Tree::parse_config(schema, xml).unwrap();
        tree.validate().unwrap();
        tree
    });
    let diffs = states.windows(2).map(|pair| {
        let text = pair[0].diff(&pair[1])?.to_text();
        Diff::parse(schema, &text)
    });
    let mut tree = states[0].duplicate();
    tree.apply_all(diffs).unwrap();
    tree.validate().unwrap();
    assert_eq!(tree.to_xml(), CLOUD);
}
