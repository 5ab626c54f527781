use super::*;
use crate::model::xml::{self, Scope};

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

const CM: &str = "urn:tether:yang:cloud-management";
const NC: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0""#;

fn edit_with(tree: &mut Tree, default: Operation, config: &str) -> Result<(), Errors> {
    let elements = xml::parse(config, &Scope::default()).unwrap();
    let options = EditOptions {
        default,
        continue_on_error: false,
    };
    let stored = Tree::new(tree.schema());
    apply(
        tree,
        &elements,
        options,
        Secrets {
            sealer: &mut NoSecrets,
            stored: &stored,
            given: &mut Vec::new(),
        },
    )
}

fn cloud(inner: &str) -> String {
    format!(
        r#"<cloud-management xmlns="{CM}" {NC} xmlns:yang="urn:ietf:params:xml:ns:yang:1">{inner}</cloud-management>"#
    )
}

/// A tree with `base` in it, then `edit` merged; the XML inside the container, or the first error.
fn edited(base: &str, edit: &str) -> Result<String, RpcError> {
    let mut tree = Tree::new(Schema::load(&[]).unwrap());
    edit_with(&mut tree, Operation::Merge, &cloud(base)).unwrap();
    edit_with(&mut tree, Operation::Merge, &cloud(edit))
        .map_err(|mut errors| errors.swap_remove(0))?;
    let xml = tree.to_xml();
    let start = format!(r#"<cloud-management xmlns="{CM}">"#);
    Ok(xml
        .strip_prefix(&start)
        .and_then(|x| x.strip_suffix("</cloud-management>"))
        .unwrap_or(&xml)
        .to_owned())
}

fn refused(base: &str, edit: &str) -> (ErrorTag, String) {
    let error = edited(base, edit).unwrap_err();
    (error.tag, error.path.unwrap_or_default())
}

const SERVER: &str = "<server><domain>a.example</domain><port>8443</port></server>";

#[test]
fn merge_adds_and_overwrites_and_keeps_the_rest() {
    let done = edited(SERVER, "<server><domain>b.example</domain></server>").unwrap();
    assert_eq!(
        done,
        "<server><domain>b.example</domain><port>8443</port></server>"
    );
}

#[test]
fn replace_takes_the_place_of_all_that_was_there() {
    let done = edited(
        SERVER,
        r#"<server nc:operation="replace"><domain>b.example</domain></server>"#,
    )
    .unwrap();
    assert_eq!(done, "<server><domain>b.example</domain></server>");
}

#[test]
fn create_of_what_exists_and_delete_of_what_does_not_are_errors_with_their_path() {
    let path = "/cloud-management:cloud-management/server/port";
    let create = r#"<server><port nc:operation="create">1</port></server>"#;
    assert_eq!(
        refused(SERVER, create),
        (ErrorTag::DataExists, path.to_owned())
    );
    let delete = r#"<server><port nc:operation="delete"/></server>"#;
    assert_eq!(
        refused("", delete),
        (ErrorTag::DataMissing, path.to_owned())
    );
    assert_eq!(
        edited(SERVER, delete).unwrap(),
        "<server><domain>a.example</domain></server>"
    );
    assert!(edited("", r#"<server><port nc:operation="remove"/></server>"#).is_ok());
}

#[test]
fn the_default_operation_none_only_leads_to_others() {
    let mut tree = Tree::new(Schema::load(&[]).unwrap());
    edit_with(
        &mut tree,
        Operation::None,
        &cloud(r#"<server><port nc:operation="create">1</port></server>"#),
    )
    .unwrap();
    assert!(tree.to_xml().contains("<port>1</port>"));
    let service = cloud("<service><name>netconf</name></service>");
    let errors = edit_with(&mut tree, Operation::None, &service).unwrap_err();
    assert_eq!(errors[0].tag, ErrorTag::DataMissing);
    assert_eq!(
        errors[0].path.as_deref(),
        Some("/cloud-management:cloud-management/service[name='netconf']")
    );
}

#[test]
fn the_default_operation_replace_replaces_the_datastore() {
    let mut tree = Tree::new(Schema::load(&[]).unwrap());
    edit_with(&mut tree, Operation::Merge, &cloud(SERVER)).unwrap();
    edit_with(
        &mut tree,
        Operation::Replace,
        &cloud("<keepalive-interval>60</keepalive-interval>"),
    )
    .unwrap();
    assert!(!tree.to_xml().contains("server"));
}

#[test]
fn entries_that_the_user_orders_go_where_the_edit_says() {
    let entry = |domain: &str, attributes: &str| {
        format!(
            "<backup-server {attributes}><address-family>ipv4</address-family><domain>{domain}</domain></backup-server>"
        )
    };
    let base = format!("{}{}", entry("a.example", ""), entry("b.example", ""));
    let order = |xml: String| -> String {
        xml.matches("<domain>")
            .zip(xml.split("<domain>").skip(1))
            .map(|(_, d)| &d[..1])
            .collect()
    };
    let first = edited(&base, &entry("c.example", r#"yang:insert="first""#)).unwrap();
    assert_eq!(order(first), "cab");
    let key = r#"yang:insert="before" yang:key="[address-family='ipv4'][domain='b.example']""#;
    assert_eq!(
        order(edited(&base, &entry("c.example", key)).unwrap()),
        "acb"
    );
    let after = key.replace("before", "after").replace("b.ex", "a.ex");
    assert_eq!(
        order(edited(&base, &entry("c.example", &after)).unwrap()),
        "acb"
    );
    let missing = key.replace("b.ex", "z.ex");
    assert_eq!(
        refused(&base, &entry("c.example", &missing)).0,
        ErrorTag::BadAttribute
    );
}

#[test]
fn wrong_elements_values_and_attributes_each_have_their_tag() {
    let keepalive = "/cloud-management:cloud-management/keepalive-interval".to_owned();
    for bad in ["9", "601", "abc", ""] {
        let edit = format!("<keepalive-interval>{bad}</keepalive-interval>");
        assert_eq!(
            refused("", &edit),
            (ErrorTag::InvalidValue, keepalive.clone()),
            "{bad}"
        );
    }
    assert_eq!(refused("", "<bogus/>").0, ErrorTag::UnknownElement);
    assert_eq!(
        refused("", r#"<bogus xmlns="urn:x"/>"#).0,
        ErrorTag::UnknownNamespace
    );
    assert_eq!(refused("", "<state/>").0, ErrorTag::UnknownElement);
    assert_eq!(
        refused("", r#"<server foo="1"/>"#).0,
        ErrorTag::UnknownAttribute
    );
    assert_eq!(
        refused("", r#"<server nc:operation="bogus"/>"#).0,
        ErrorTag::BadAttribute
    );
    assert_eq!(refused("", "<service/>").0, ErrorTag::MissingElement);
    assert_eq!(refused("", "<server>text</server>").0, ErrorTag::BadElement);
    assert_eq!(refused("", "<server/><server/>").0, ErrorTag::BadElement);
    let key = r#"<service><name nc:operation="delete">netconf</name></service>"#;
    assert_eq!(refused("", key).0, ErrorTag::BadElement);
}

#[test]
fn a_value_may_have_white_space_around_it_and_prefixes_in_it() {
    assert_eq!(
        edited("", "<keepalive-interval>\n 60 </keepalive-interval>").unwrap(),
        "<keepalive-interval>60</keepalive-interval>"
    );
    let schema = Schema::load(&[]).unwrap();
    let scope = Scope::new(
        [
            ("x".to_owned(), CM.to_owned()),
            (String::new(), CM.to_owned()),
        ]
        .into(),
    );
    assert_eq!(
        value::qualify(schema, "/x:cloud-management/x:server[x:a='x:b']", &scope),
        "/cloud-management:cloud-management/cloud-management:server[cloud-management:a='x:b']"
    );
    assert_eq!(
        value::qualify(schema, "some", &scope),
        "cloud-management:some"
    );
    assert_eq!(
        value::qualify(schema, "x:some", &scope),
        "cloud-management:some"
    );
}

#[test]
fn the_steps_of_a_path_inherit_their_module() {
    let rule = |path: &str| {
        let mut tree = Tree::new(Schema::load(&[]).unwrap());
        let config = format!(
            r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm" xmlns:s="urn:ietf:params:xml:ns:yang:ietf-system" xmlns:h="urn:tether:yang:device-hosts"><rule-list><name>l</name><rule><name>r</name><path>{path}</path><action>deny</action></rule></rule-list></nacm>"#
        );
        let stored = tree.duplicate();
        let elements = xml::parse(&config, &Scope::default()).unwrap();
        let options = EditOptions {
            default: Operation::Merge,
            continue_on_error: false,
        };
        let secrets = Secrets {
            sealer: &mut NoSecrets,
            stored: &stored,
            given: &mut Vec::new(),
        };
        apply(&mut tree, &elements, options, secrets).unwrap();
        let rule = "/ietf-netconf-acm:nacm/rule-list[name='l']/rule[name='r']/path";
        tree.value(rule).unwrap()
    };
    assert_eq!(
        rule("/s:system/s:authentication/s:user[s:name='s:a']/s:password"),
        "/ietf-system:system/authentication/user[name='s:a']/password"
    );
    assert_eq!(
        rule("/s:system/s:dns-resolver/h:host[h:name=&quot;h.a&quot;]/h:address"),
        "/ietf-system:system/dns-resolver/device-hosts:host[name='h.a']/address"
    );
    assert_eq!(rule("/"), "/");
}

#[test]
fn continue_on_error_does_what_can_be_done_and_reports_the_rest() {
    let mut tree = Tree::new(Schema::load(&[]).unwrap());
    let config =
        cloud("<keepalive-interval>9</keepalive-interval><bogus/><server><port>1</port></server>");
    let stored = tree.duplicate();
    let elements = xml::parse(&config, &Scope::default()).unwrap();
    let options = EditOptions {
        default: Operation::Merge,
        continue_on_error: true,
    };
    assert_eq!(
        apply(
            &mut tree,
            &elements,
            options,
            Secrets {
                sealer: &mut NoSecrets,
                stored: &stored,
                given: &mut Vec::new()
            }
        )
        .unwrap_err()
        .len(),
        2
    );
    assert!(tree.to_xml().contains("<port>1</port>"));
}

#[test]
fn an_edit_hashes_a_bounded_number_of_passwords() {
    let users = |count: usize| -> String {
        let users: String = (0..count)
            .map(|n| format!("<user><name>u{n}</name><password>$0$x</password></user>"))
            .collect();
        format!(
            r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication>{users}</authentication></system>"#
        )
    };
    let mut tree = Tree::new(Schema::load(&[]).unwrap());
    edit_with(&mut tree, Operation::Merge, &users(MOST_HASHED)).unwrap();
    let refused = edit_with(&mut tree, Operation::Merge, &users(MOST_HASHED + 1)).unwrap_err();
    assert_eq!(refused[0].tag, ErrorTag::TooBig);
}
