//! What the commands ask of the server: edits and operations, as XML.

use quick_xml::escape::escape;

use super::filters::{CLOUD, HOSTS, MANAGEMENT, SYSTEM};
use super::grammar::Given;
use crate::model::error::YANG_NAMESPACE;

/// The attribute of what is to go.
const REMOVE: &str = r#" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove""#;
/// The attribute of what is to be as it stands there.
const REPLACE: &str =
    r#" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="replace""#;

fn cloud(inside: &str) -> String {
    format!("<cloud-management xmlns=\"{CLOUD}\">{inside}</cloud-management>")
}

fn server(inside: &str) -> String {
    cloud(&format!("<server>{inside}</server>"))
}

fn leaf(name: &str, value: &str) -> String {
    format!("<{name}>{}</{name}>", escape(value))
}

/// A leaf that has a value, or that is not there.
fn leaf_or_none(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => leaf(name, value),
        None => none(name),
    }
}

fn none(name: &str) -> String {
    format!("<{name}{REMOVE}/>")
}

/// `cloud-management server domain`: an option that is not given is taken back.
pub(super) fn domain(given: &Given) -> String {
    server(&source(given, "source-ip"))
}

fn source(given: &Given, address: &str) -> String {
    [
        leaf("domain", given.of("domain-name")),
        leaf_or_none("vpn-instance", given.get("vpn-instance-name")),
        leaf_or_none("source-ip", given.get(address)),
    ]
    .concat()
}

pub(super) fn undo_domain(_: &Given) -> String {
    server(&["domain", "vpn-instance", "source-ip"].map(none).concat())
}

pub(super) fn ipv6_domain(given: &Given) -> String {
    server(&format!("<ipv6>{}</ipv6>", source(given, "source-ipv6")))
}

pub(super) fn undo_ipv6_domain(_: &Given) -> String {
    server(&none("ipv6"))
}

pub(super) fn port(given: &Given) -> String {
    server(&leaf("port", given.of("port-number")))
}

pub(super) fn undo_port(_: &Given) -> String {
    server(&none("port"))
}

/// The clear text bears the mark that the server asks for; the ciphertext has its own.
pub(super) fn password(given: &Given) -> String {
    let password = match given.get("simple") {
        Some(clear) => format!("$0${clear}"),
        None => given.of("cipher").to_owned(),
    };
    server(&leaf("password", &password))
}

pub(super) fn undo_password(_: &Given) -> String {
    server(&none("password"))
}

pub(super) fn keepalive(given: &Given) -> String {
    cloud(&leaf("keepalive-interval", given.of("interval")))
}

pub(super) fn undo_keepalive(_: &Given) -> String {
    cloud(&none("keepalive-interval"))
}

pub(super) fn unbinding_code(given: &Given) -> String {
    cloud(&leaf("unbinding-code", given.of("code")))
}

pub(super) fn undo_unbinding_code(_: &Given) -> String {
    cloud(&none("unbinding-code"))
}

/// The action that sends a code.
pub(super) fn unbind(given: &Given) -> String {
    action(&cloud(&format!(
        "<unbind>{}</unbind>",
        leaf("code", given.of("code"))
    )))
}

pub(super) fn backup_server(given: &Given) -> String {
    backup(given, "ipv4", "source-ip")
}

pub(super) fn ipv6_backup_server(given: &Given) -> String {
    backup(given, "ipv6", "source-ipv6")
}

/// An entry stays at its place.
fn backup(given: &Given, family: &str, address: &str) -> String {
    let leaves = [
        leaf("address-family", family),
        leaf("domain", given.of("backup-domain")),
        leaf_or_none("port", given.get("port-number")),
        leaf_or_none("vpn-instance", given.get("vpn-instance-name")),
        leaf_or_none("source-ip", given.get(address)),
    ];
    cloud(&format!(
        "<backup-server>{}</backup-server>",
        leaves.concat()
    ))
}

pub(super) fn undo_backup_server(given: &Given) -> String {
    undo_backup(given, "ipv4")
}

pub(super) fn undo_ipv6_backup_server(given: &Given) -> String {
    undo_backup(given, "ipv6")
}

fn undo_backup(given: &Given, family: &str) -> String {
    let keys = leaf("address-family", family) + &leaf("domain", given.of("backup-domain"));
    cloud(&format!("<backup-server{REMOVE}>{keys}</backup-server>"))
}

fn system(inside: &str) -> String {
    format!("<system xmlns=\"{SYSTEM}\">{inside}</system>")
}

pub(super) fn sysname(given: &Given) -> String {
    system(&leaf("hostname", given.of("sysname")))
}

pub(super) fn undo_sysname(_: &Given) -> String {
    system(&none("hostname"))
}

fn host(attribute: &str, inside: &str) -> String {
    system(&format!(
        "<dns-resolver><host xmlns=\"{HOSTS}\"{attribute}>{inside}</host></dns-resolver>"
    ))
}

/// A host name has one address here: the last that was typed.
pub(super) fn ip_host(given: &Given) -> String {
    let leaves = leaf("name", given.of("host-name")) + &leaf("address", given.of("ip-address"));
    host(REPLACE, &leaves)
}

/// What the addresses of a host are asked by.
pub(super) fn host_filter(given: &Given) -> String {
    host("", &leaf("name", given.of("host-name")))
}

/// The host goes with all it has.
pub(super) fn undo_ip_host(given: &Given) -> String {
    host(REMOVE, &leaf("name", given.of("host-name")))
}

/// One of its addresses goes.
pub(super) fn undo_ip_host_address(given: &Given) -> String {
    let name = leaf("name", given.of("host-name"));
    let address = escape(given.of("ip-address"));
    host("", &format!("{name}<address{REMOVE}>{address}</address>"))
}

fn action(inside: &str) -> String {
    format!("<action xmlns=\"{YANG_NAMESPACE}\">{inside}</action>")
}

pub(super) fn reset_tunnel(_: &Given) -> String {
    action(&cloud("<reset-tunnel/>"))
}

pub(super) fn test_connection() -> String {
    action(&cloud("<test-connection/>"))
}

/// `read-log` with these leaves as its input.
pub(super) fn read_log(input: &[(&str, &str)]) -> String {
    let leaves: String = input
        .iter()
        .map(|(name, value)| leaf(name, value))
        .collect();
    action(&format!(
        "<device-management xmlns=\"{MANAGEMENT}\"><logging><read-log>{leaves}</read-log></logging></device-management>"
    ))
}

pub(super) fn roll_back_to(given: &Given) -> String {
    action(&format!(
        "<device-management xmlns=\"{MANAGEMENT}\"><rollback-to>{}</rollback-to></device-management>",
        leaf("commit-id", given.of("commit-id"))
    ))
}

pub(super) fn free_session(given: &Given) -> String {
    let session = leaf("session-id", given.of("session-id"));
    format!("<kill-session>{session}</kill-session>")
}

pub(super) fn discard(_: &Given) -> String {
    "<discard-changes/>".to_owned()
}

pub(super) fn commit(given: &Given) -> String {
    let confirmed = given.get("seconds").map_or(String::new(), |seconds| {
        format!("<confirmed/>{}", leaf("confirm-timeout", seconds))
    });
    let comment = given.get("text").map_or(String::new(), |text| {
        format!("<comment xmlns=\"{MANAGEMENT}\">{}</comment>", escape(text))
    });
    format!("<commit>{confirmed}{comment}</commit>")
}
