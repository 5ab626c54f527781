//! An rpc or action of a module, with its input.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::{Node, NodeKind, Tree, c_string, failure, raw_context};
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

/// What libyang made of a text; all of it is the caller's.
pub(super) struct Parsed {
    pub code: ffi::LY_ERR::Type,
    /// What is around the operation or notification, or all there is.
    pub envelope: *mut ffi::lyd_node,
    /// The operation or notification itself.
    pub node: *mut ffi::lyd_node,
}

/// Reads an rpc, action or notification.
///
/// # Errors
/// A NUL byte.
pub(super) fn parse(
    schema: Schema,
    text: &str,
    kind: ffi::lyd_type::Type,
) -> Result<Parsed, RpcError> {
    let text = c_string(text)?;
    let mut input = std::ptr::null_mut();
    let mut envelope = std::ptr::null_mut();
    let mut node = std::ptr::null_mut();
    failure::clear(schema);
    // SAFETY: the text outlives both calls.
    let code = unsafe {
        ffi::ly_in_new_memory(text.as_ptr(), &mut input);
        let code = ffi::lyd_parse_op(
            raw_context(schema),
            std::ptr::null_mut(),
            input,
            ffi::LYD_FORMAT::LYD_XML,
            kind,
            ffi::LYD_PARSE_STRICT,
            &mut envelope,
            &mut node,
        );
        ffi::ly_in_free(input, 0);
        code
    };
    Ok(Parsed {
        code,
        envelope,
        node,
    })
}

impl Operation {
    /// Reads a whole `<rpc>` message whose operation is an rpc of a module or an `<action>`.
    ///
    /// # Errors
    /// Unknown elements, wrong or missing input.
    pub fn parse(schema: Schema, message: &str) -> Result<Self, Errors> {
        let Parsed {
            code,
            envelope,
            node,
        } = parse(schema, message, ffi::lyd_type::LYD_TYPE_RPC_NETCONF)?;
        // SAFETY: the envelope is ours, or null; the operation is not in it.
        unsafe { ffi::lyd_free_all(envelope) };
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

    /// Checks the input against its constraints, with `data` for what they refer to.
    ///
    /// # Errors
    /// Every violation found.
    pub fn validate(&mut self, data: &Tree) -> Result<(), Errors> {
        let schema = self.tree.schema;
        let kind = ffi::lyd_type::LYD_TYPE_RPC_YANG;
        // SAFETY: the node is one of our own tree.
        let checked = unsafe { check(schema, self.node, data, kind) };
        checked.map_err(|errors| errors.into_iter().map(missing_input).collect())
    }

    /// The node that has to exist for an action to be there (RFC 7950, section 7.15): the innermost list entry or
    /// presence container around it.
    pub fn context(&self) -> Option<Node<'_>> {
        let above = std::iter::successors(self.node()?.parent(), Node::parent);
        let mut exists_by_itself =
            above.skip_while(|node| node.kind() != NodeKind::List && !node.schema().is_presence());
        exists_by_itself.next()
    }

    /// The elements of a reply with this output, which is checked first, with `data` for what it refers to.
    ///
    /// # Errors
    /// Every violation found.
    pub fn reply(&self, mut output: Tree, data: &Tree) -> Result<String, Errors> {
        let path = self.instance_path();
        // Even an output without nodes may lack a mandatory one.
        output.set_output(&path, None)?;
        let Some(node) = output.find(&path).map(Node::raw) else {
            return Err(RpcError::application(
                ErrorTag::OperationFailed,
                "the output is not that of the operation",
            )
            .into());
        };
        let kind = ffi::lyd_type::LYD_TYPE_REPLY_YANG;
        // SAFETY: the node is one of the output, which no other handle is on.
        unsafe { check(output.schema, node, data, kind)? };
        Ok(output
            .find(&path)
            .map(|node| node.inner_xml())
            .unwrap_or_default())
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

/// Checks the input or output below the node of an operation.
///
/// # Safety
/// `node` is the operation in a tree of which there is no other handle.
unsafe fn check(
    schema: Schema,
    node: *mut ffi::lyd_node,
    data: &Tree,
    kind: ffi::lyd_type::Type,
) -> Result<(), Errors> {
    failure::clear(schema);
    // SAFETY: both trees are alive; validation adds defaults below the operation alone.
    let code = unsafe { ffi::lyd_validate_op(node, data.root, kind, std::ptr::null_mut()) };
    match code {
        ffi::LY_ERR::LY_SUCCESS => Ok(()),
        _ => Err(failure::take_violations(schema)),
    }
}

/// What configuration lacks is missing data, what an input lacks a missing element (RFC 6241, appendix A).
fn missing_input(error: RpcError) -> RpcError {
    if error.tag != ErrorTag::DataMissing || error.app_tag.is_some() {
        return error;
    }
    let path = error.path.clone().unwrap_or_default();
    let name = path.rsplit(['/', ':']).next().unwrap_or_default();
    RpcError {
        tag: ErrorTag::MissingElement,
        ..error.info("bad-element", name)
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
            ErrorTag::MissingElement
        );
        assert_eq!(
            call("<unbind><bogus/></unbind>").err().unwrap()[0].tag,
            ErrorTag::UnknownElement
        );
        assert!(call("<nothing/>").is_err());
    }
}
