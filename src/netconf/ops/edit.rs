//! `<edit-config>`, `<copy-config>`, `<delete-config>` and `<validate>` (RFC 6241, sections 7.2 to 7.4 and 8.6.4.1).

use super::target;
use crate::datastore::edit::{EditOptions, Operation};
use crate::datastore::{Author, Datastore, Step, Target};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::tree::Tree;
use crate::model::xml::{self, Element, Scope};
use crate::netconf::rpc::{
    Datastore as Name, DefaultOperation, Edit, ErrorOption, Source, TestOption,
};

pub(super) fn edit_config(
    datastore: &mut Datastore,
    caller: &Author,
    request: &Edit,
) -> Result<Step, Errors> {
    let target = target(request.target)?;
    let config = elements(&request.config)?;
    let default = match request.default_operation {
        DefaultOperation::Merge => Operation::Merge,
        DefaultOperation::Replace => Operation::Replace,
        DefaultOperation::None => Operation::None,
    };
    // Whatever the error-option, an edit with an error changes nothing: stop-on-error and continue-on-error allow
    // a server to keep what came before, and a half-done edit is nobody's wish. Continuing reports every error.
    let continue_on_error = request.error_option == ErrorOption::ContinueOnError;
    let options = EditOptions {
        default,
        continue_on_error,
    };
    let tree = datastore.edited(target, caller, &config, options)?;
    match (request.test_option, target) {
        (TestOption::TestOnly, _) => {
            datastore.validate(tree)?;
            Ok(Step::Done)
        }
        // Running is always valid (RFC 7950, section 8.1), so `set` has no say there.
        (_, Target::Running) => datastore.replace_running(tree, caller),
        // The candidate need not be valid before it is committed; test-then-set is the default of a server with
        // :validate, but a manager that builds a candidate in several edits would be refused by it, so it holds
        // for what YANG checks at the edit (RFC 7950, section 8.3.1 and 8.3.2).
        (_, Target::Candidate) => {
            datastore.set_candidate(tree, caller)?;
            Ok(Step::Done)
        }
    }
}

pub(super) fn copy_config(
    datastore: &mut Datastore,
    caller: &Author,
    to: Name,
    source: &Source,
) -> Result<Step, Errors> {
    let to = target(to)?;
    let tree = match source {
        Source::Datastore(name) => {
            let from = target(*name)?;
            if from == to {
                let words = "source and target are the same datastore";
                return Err(RpcError::protocol(ErrorTag::InvalidValue, words).into());
            }
            // What the caller may not read it cannot copy, either (RFC 8341, section 3.2.5).
            super::retrieve::visible(datastore, caller, datastore.config(from))
        }
        Source::Config(config) => datastore.read(caller, &elements(config)?)?,
    };
    match to {
        Target::Running => datastore.replace_running(tree, caller),
        Target::Candidate => {
            datastore
                .lock_of(Target::Candidate)
                .writable_by(caller.session)?;
            datastore.check_access(caller, datastore.config(Target::Candidate), &tree)?;
            datastore.set_candidate(tree, caller)?;
            Ok(Step::Done)
        }
    }
}

/// Neither running nor the candidate can be deleted; there is no other datastore.
pub(super) fn delete_config(named: Name) -> RpcError {
    match target(named) {
        Err(error) => error,
        Ok(_) => RpcError::protocol(
            ErrorTag::OperationNotSupported,
            format!("the {} datastore cannot be deleted", named.as_str()),
        ),
    }
}

pub(super) fn validate(
    datastore: &mut Datastore,
    caller: &Author,
    source: &Source,
) -> Result<Step, Errors> {
    let tree: Tree = match source {
        Source::Datastore(name) => datastore.config(target(*name)?).duplicate(),
        Source::Config(config) => datastore.read(caller, &elements(config)?)?,
    };
    datastore.validate(tree)?;
    Ok(Step::Done)
}

/// The content of a `<config>`; it declares every prefix itself.
fn elements(config: &str) -> Result<Vec<Element>, RpcError> {
    xml::parse(config, &Scope::default())
}
