//! The notifications of ietf-yang-push (RFC 8641, section 4.3.2), and the patch in them (RFC 8072).

use std::time::SystemTime;

use crate::datastore::changes::{Edit, Where};
use crate::netconf::subscription::message::write;
use crate::protocol::xml::write_leaf;

/// The namespace of ietf-yang-push.
pub(in crate::netconf) const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-yang-push";

/// All that is selected; `contents` is XML.
pub(super) fn update(at: SystemTime, id: u32, contents: &str) -> String {
    write(
        at,
        &format!(
            "<push-update xmlns=\"{NAMESPACE}\"><id>{id}</id><datastore-contents>{contents}</datastore-contents></push-update>"
        ),
    )
}

/// What has changed; `patch` counts from 0 since the last push-update.
pub(super) fn change(
    at: SystemTime,
    id: u32,
    patch: u32,
    edits: &[Edit],
    is_incomplete: bool,
) -> String {
    let mut xml = format!(
        "<push-change-update xmlns=\"{NAMESPACE}\"><id>{id}</id><datastore-changes><yang-patch><patch-id>{patch}</patch-id>"
    );
    for (number, edit) in edits.iter().enumerate() {
        write_edit(&mut xml, number, edit);
    }
    xml.push_str("</yang-patch></datastore-changes>");
    if is_incomplete {
        xml.push_str("<incomplete-update/>");
    }
    xml.push_str("</push-change-update>");
    write(at, &xml)
}

fn write_edit(xml: &mut String, number: usize, edit: &Edit) {
    xml.push_str("<edit>");
    write_leaf(xml, "edit-id", &format!("edit{number}"));
    write_leaf(xml, "operation", edit.operation.as_str());
    write_leaf(xml, "target", &edit.target);
    match &edit.place {
        Some(Where::First) => write_leaf(xml, "where", "first"),
        Some(Where::After(point)) => {
            write_leaf(xml, "point", point);
            write_leaf(xml, "where", "after");
        }
        None => {}
    }
    if let Some(value) = &edit.value {
        xml.push_str("<value>");
        xml.push_str(value);
        xml.push_str("</value>");
    }
    xml.push_str("</edit>");
}
