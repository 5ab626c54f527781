//! What an edit gives twice and may give once only.

use std::collections::{HashMap, HashSet};

use super::Operation;
use crate::model::error::{ErrorTag, RpcError};
use crate::model::tree::{NodeKind, SchemaNode};

/// What the elements of one parent may give once only.
#[derive(Default)]
pub(super) struct Once {
    nodes: HashSet<SchemaNode>,
    /// Of each choice, the case that is given.
    cases: HashMap<SchemaNode, SchemaNode>,
}

impl Once {
    /// A node of which there is but one.
    pub(super) fn node(&mut self, schema: SchemaNode) -> Result<(), RpcError> {
        let many = matches!(schema.kind(), NodeKind::List | NodeKind::LeafList);
        if many || self.nodes.insert(schema) {
            return Ok(());
        }
        let words = format!("{} is given twice", schema.name());
        Err(RpcError::application(ErrorTag::BadElement, words).info("bad-element", schema.name()))
    }

    /// RFC 7950, section 8.3.1: data of two cases of one choice.
    pub(super) fn case(
        &mut self,
        schema: SchemaNode,
        operation: Operation,
    ) -> Result<(), RpcError> {
        if matches!(
            operation,
            Operation::Delete | Operation::Remove | Operation::None
        ) {
            return Ok(());
        }
        for (choice, case) in schema.cases() {
            let first = *self.cases.entry(choice).or_insert(case);
            if first != case {
                let words = format!(
                    "{} is of another case of the choice {} than what is given before it",
                    schema.name(),
                    choice.name()
                );
                return Err(RpcError::application(ErrorTag::BadElement, words)
                    .info("bad-element", schema.name()));
            }
        }
        Ok(())
    }
}
