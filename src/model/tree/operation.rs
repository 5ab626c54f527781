//! An rpc or action of a module, with its input.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::{Node, Tree, c_string, failure, raw_context};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;

/// A call as a manager made it; the input is complete and valid.
pub struct Operation {
    tree: Tree,
    /// The rpc or action node in the tree.
    node: *mut ffi::lyd_node,
}

// SAFETY: the pointer leads into the tree that goes with it; see Tree.
unsafe impl Send for Operation {}

impl Operation {
    /// Reads a whole `<rpc>` message whose operation is an rpc of a module or an `<action>`.
    ///
    /// # Errors
    /// Unknown elements, wrong or missing input.
    pub fn parse(schema: Schema, message: &str) -> Result<Self, Errors> {
        let text = c_string(message)?;
        let mut input = std::ptr::null_mut();
        let mut envelope = std::ptr::null_mut();
        let mut node: *mut ffi::lyd_node = std::ptr::null_mut();
        failure::clear(schema);
        // SAFETY: the text outlives both calls; the envelope is freed here, the operation is ours.
        let code = unsafe {
            ffi::ly_in_new_memory(text.as_ptr(), &mut input);
            let code = ffi::lyd_parse_op(
                raw_context(schema),
                std::ptr::null_mut(),
                input,
                ffi::LYD_FORMAT::LYD_XML,
                ffi::lyd_type::LYD_TYPE_RPC_NETCONF,
                ffi::LYD_PARSE_STRICT,
                &mut envelope,
                &mut node,
            );
            ffi::ly_in_free(input, 0);
            ffi::lyd_free_all(envelope);
            code
        };
        if code != ffi::LY_ERR::LY_SUCCESS || node.is_null() {
            return Err(failure::take(schema));
        }
        let mut top = node;
        // SAFETY: fresh nodes, linked up to their root.
        let tree = unsafe {
            while !(*top).parent.is_null() {
                top = (*top).parent;
            }
            Tree::adopt(schema, top)
        };
        Ok(Self { tree, node })
    }

    /// Checks the input against its constraints, with `data` for what they refer to, and that the node an action
    /// belongs to exists there (RFC 7950, section 7.15).
    ///
    /// # Errors
    /// Every violation found.
    pub fn validate(&mut self, data: &Tree) -> Result<(), Errors> {
        let parent = self.node().and_then(|node| node.parent());
        let in_list = parent.filter(|parent| parent.path().contains('['));
        if let Some(missing) = in_list.filter(|parent| data.find(&parent.path()).is_none()) {
            let words = "the node of the action does not exist";
            return Err(RpcError::application(ErrorTag::DataMissing, words)
                .at(missing.path())
                .into());
        }
        failure::clear(self.tree.schema);
        let kind = ffi::lyd_type::LYD_TYPE_RPC_YANG;
        // SAFETY: both trees are alive; validation adds defaults below the operation alone.
        let code =
            unsafe { ffi::lyd_validate_op(self.node, data.root, kind, std::ptr::null_mut()) };
        match code {
            ffi::LY_ERR::LY_SUCCESS => Ok(()),
            _ => Err(failure::take_violations(self.tree.schema)),
        }
    }

    /// The node of the rpc or action.
    pub fn node(&self) -> Option<Node<'_>> {
        Node::from_raw(self.node)
    }

    /// The schema path, such as `/cloud-management:cloud-management/unbind`.
    pub fn path(&self) -> String {
        self.node()
            .map(|node| node.schema().path())
            .unwrap_or_default()
    }

    /// Module and name.
    pub fn name(&self) -> (&'static str, &'static str) {
        self.node()
            .map(|node| (node.module(), node.name()))
            .unwrap_or_default()
    }

    /// The data path of the operation, with the keys of the lists it is in.
    pub fn instance_path(&self) -> String {
        self.node().map(|node| node.path()).unwrap_or_default()
    }

    /// The operation with its parents and its input.
    pub fn input(&self) -> &Tree {
        &self.tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(inside: &str) -> Result<Operation, Errors> {
        let message = format!(
            r#"<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">
            <action xmlns="urn:ietf:params:xml:ns:yang:1">
            <cloud-management xmlns="urn:tether:yang:cloud-management">{inside}</cloud-management></action></rpc>"#
        );
        let schema = Schema::load(&[]).unwrap();
        let mut operation = Operation::parse(schema, &message)?;
        operation.validate(&Tree::new(schema))?;
        Ok(operation)
    }

    #[test]
    fn an_action_is_read_with_its_input() {
        let operation = call("<unbind><code>123</code></unbind>").unwrap();
        assert_eq!(
            operation.path(),
            "/cloud-management:cloud-management/unbind"
        );
        let code = operation
            .input()
            .value("/cloud-management:cloud-management/unbind/code");
        assert_eq!(code.as_deref(), Some("123"));
    }

    #[test]
    fn wrong_and_missing_input_is_refused() {
        assert_eq!(
            call("<unbind/>").err().unwrap()[0].tag,
            ErrorTag::DataMissing
        );
        assert_eq!(
            call("<unbind><bogus/></unbind>").err().unwrap()[0].tag,
            ErrorTag::UnknownElement
        );
        assert!(call("<nothing/>").is_err());
    }
}
