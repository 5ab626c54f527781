//! Notifications read back from their text.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::operation::{Parsed, parse};
use super::{Tree, failure};
use crate::model::error::Errors;
use crate::model::schema::Schema;

impl Tree {
    /// Reads a notification from the XML of its element.
    ///
    /// # Errors
    /// Text that is no notification of these modules.
    pub fn parse_notification(schema: Schema, xml: &str) -> Result<Self, Errors> {
        let Parsed { code, envelope, .. } = parse(schema, xml, ffi::lyd_type::LYD_TYPE_NOTIF_YANG)?;
        // SAFETY: a fresh tree, or null; for a notification at the top it is all there is.
        let tree = unsafe { Self::adopt(schema, envelope) };
        match code {
            ffi::LY_ERR::LY_SUCCESS => Ok(tree),
            _ => Err(failure::take(schema)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_read_back_as_it_was_written() {
        let schema = Schema::load(&[]).unwrap();
        let xml = r#"<netconf-session-end xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"><username>a</username><session-id>4</session-id><termination-reason>closed</termination-reason></netconf-session-end>"#;
        let tree = Tree::parse_notification(schema, xml).unwrap();
        assert_eq!(tree.to_xml(), xml);
        assert!(Tree::parse_notification(schema, "<x xmlns=\"urn:x\"/>").is_err());
    }
}
