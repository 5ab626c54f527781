//! Notifications read back from their text.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::{Tree, c_string, failure, raw_context};
use crate::model::error::Errors;
use crate::model::schema::Schema;

impl Tree {
    /// Reads a notification from the XML of its element.
    ///
    /// # Errors
    /// Text that is no notification of these modules.
    pub fn parse_notification(schema: Schema, xml: &str) -> Result<Self, Errors> {
        let text = c_string(xml)?;
        let mut input = std::ptr::null_mut();
        let mut tree = std::ptr::null_mut();
        let mut node = std::ptr::null_mut();
        failure::clear(schema);
        // SAFETY: the text outlives both calls; what was parsed is ours.
        let (code, tree) = unsafe {
            ffi::ly_in_new_memory(text.as_ptr(), &mut input);
            let code = ffi::lyd_parse_op(
                raw_context(schema),
                std::ptr::null_mut(),
                input,
                ffi::LYD_FORMAT::LYD_XML,
                ffi::lyd_type::LYD_TYPE_NOTIF_YANG,
                ffi::LYD_PARSE_STRICT,
                &mut tree,
                &mut node,
            );
            ffi::ly_in_free(input, 0);
            (code, Self::adopt(schema, tree))
        };
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
