//! `<edit-config>`, `<copy-config>`, `<delete-config>` and `<validate>` (RFC 6241, sections 7.2 to 7.4 and 8.6.4.1).

use super::{target, unknown_datastore};
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
    // RFC 6241, section 8.7: startup is no target of edit-config.
    let target = match request.target {
        Name::Startup => return Err(unknown_datastore("edit-config does not edit startup").into()),
        other => target(datastore.schema(), other)?,
    };
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
        (_, Target::Startup) => datastore.replace_startup(tree, caller),
    }
}

pub(super) fn copy_config(
    datastore: &mut Datastore,
    caller: &Author,
    to: Name,
    source: &Source,
) -> Result<Step, Errors> {
    let to = target(datastore.schema(), to)?;
    let tree = match source {
        Source::Datastore(name) => match (target(datastore.schema(), *name)?, to) {
            (from, to) if from == to => {
                let words = "source and target are the same datastore";
                return Err(RpcError::protocol(ErrorTag::InvalidValue, words).into());
            }
            // RFC 8341, section 3.2.5: for this copy the permission to execute it is all that is needed.
            (Target::Running, Target::Startup) => {
                let running = datastore.config(Target::Running).duplicate();
                return datastore.replace_startup(running, caller);
            }
            // What the caller may not read it cannot copy, either (the same section).
            (from, _) => super::retrieve::visible(datastore, caller, datastore.config(from)),
        },
        Source::Config(config) => datastore.read(caller, &elements(config)?)?,
    };
    datastore.lock_of(to).writable_by(caller.session)?;
    match to {
        Target::Running => datastore.replace_running(tree, caller),
        Target::Candidate => {
            datastore.check_access(caller, datastore.config(to), &tree)?;
            datastore.set_candidate(tree, caller)?;
            Ok(Step::Done)
        }
        Target::Startup => {
            datastore.check_access(caller, datastore.config(to), &tree)?;
            datastore.replace_startup(tree, caller)
        }
    }
}

/// Neither running nor the candidate can be deleted; startup can.
pub(super) fn delete_config(
    datastore: &mut Datastore,
    caller: &Author,
    named: Name,
) -> Result<Step, Errors> {
    match target(datastore.schema(), named)? {
        Target::Startup => datastore.delete_startup(caller),
        _ => {
            let words = format!("the {} datastore cannot be deleted", named.as_str());
            Err(RpcError::protocol(ErrorTag::OperationNotSupported, words).into())
        }
    }
}

pub(super) fn validate(
    datastore: &mut Datastore,
    caller: &Author,
    source: &Source,
) -> Result<Step, Errors> {
    let tree: Tree = match source {
        Source::Datastore(name) => {
            let target = target(datastore.schema(), *name)?;
            datastore.config(target).duplicate()
        }
        Source::Config(config) => datastore.read(caller, &elements(config)?)?,
    };
    datastore.validate(tree)?;
    Ok(Step::Done)
}

/// The content of a `<config>`; it declares every prefix itself.
fn elements(config: &str) -> Result<Vec<Element>, RpcError> {
    xml::parse(config, &Scope::default())
}
