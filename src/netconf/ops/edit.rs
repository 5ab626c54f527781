//! `<edit-config>`, `<copy-config>`, `<delete-config>` and `<validate>` (RFC 6241, sections 7.2 to 7.4 and 8.6.4.1).

use super::{named, target, unknown_datastore, writable};
use crate::datastore::edit::{EditOptions, Operation};
use crate::datastore::{Author, Datastore, Draft, Step, Target};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::tree::Tree;
use crate::model::xml::{self, Element, Scope};
use crate::netconf::rpc::{
    Datastore as Name, DefaultOperation, Edit, EditData, ErrorOption, Source, TestOption,
    WithDefaults,
};

/// What is left to do of an edit, and what of it could not be done: the reply.
pub(super) type Edited = (Step, Errors);

/// Edits running or the candidate.
///
/// `continue-on-error` keeps what could be done and reports every error. Both other error-options leave no trace of an
/// edit with an error: `stop-on-error` leaves open what becomes of the part before it, and half of it is nobody's wish.
pub(super) fn edit_config(
    datastore: &mut Datastore,
    caller: &Author,
    request: &Edit,
) -> Result<Edited, Errors> {
    // RFC 6241, section 8.7: startup is no target of edit-config.
    let target = match request.target {
        Name::Startup => return Err(unknown_datastore("edit-config does not edit startup").into()),
        other => target(datastore.schema(), other)?,
    };
    let options = EditOptions {
        default: operation(request.default_operation),
        continue_on_error: request.error_option == ErrorOption::ContinueOnError,
    };
    let config = elements(&request.config)?;
    let (draft, mut errors) = datastore.edited_in_part(target, caller, &config, options)?;
    match test_and_put(datastore, caller, target, request.test_option, draft) {
        Ok(step) => Ok((step, errors)),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

/// `<edit-data>` (RFC 8526, section 3.1.2): of an edit with an error no trace is left.
pub(super) fn edit_data(
    datastore: &mut Datastore,
    caller: &Author,
    request: &EditData,
) -> Result<Step, Errors> {
    let target = writable(datastore.schema(), request.datastore)?;
    let options = EditOptions {
        default: operation(request.default_operation),
        continue_on_error: false,
    };
    let config = elements(&request.config)?;
    let tree = datastore.edited(target, caller, &config, options)?;
    put(datastore, caller, target, tree)
}

/// Without a test-option the rule of RFC 7950, section 8.3.3, holds: running is always valid, and what is in the
/// candidate is validated by its commit. A manager may so build a candidate in several edits.
fn test_and_put(
    datastore: &mut Datastore,
    caller: &Author,
    target: Target,
    option: Option<TestOption>,
    draft: Draft,
) -> Result<Step, Errors> {
    match option {
        Some(TestOption::TestOnly) => {
            datastore.validate(draft)?;
            return Ok(Step::Done);
        }
        Some(TestOption::TestThenSet) if target == Target::Candidate => {
            let copy = datastore.copy(&draft)?;
            datastore.validate(copy)?;
        }
        _ => {}
    }
    put(datastore, caller, target, draft)
}

/// Makes a configuration that the caller may write the content of a datastore.
fn put(
    datastore: &mut Datastore,
    caller: &Author,
    target: Target,
    draft: Draft,
) -> Result<Step, Errors> {
    match target {
        Target::Running => datastore.replace_running(draft, caller),
        Target::Startup => datastore.replace_startup(draft, caller),
        Target::Candidate => {
            datastore.set_candidate(draft, caller)?;
            Ok(Step::Done)
        }
    }
}

fn operation(default: DefaultOperation) -> Operation {
    match default {
        DefaultOperation::Merge => Operation::Merge,
        DefaultOperation::Replace => Operation::Replace,
        DefaultOperation::None => Operation::None,
    }
}

pub(super) fn copy_config(
    datastore: &mut Datastore,
    caller: &Author,
    to: Name,
    source: &Source,
    with_defaults: Option<WithDefaults>,
) -> Result<Step, Errors> {
    let to = target(datastore.schema(), to)?;
    let tree = match source {
        Source::Datastore(name) => match (named(datastore.schema(), *name)?, to) {
            (from, to) if from == to => {
                let words = "source and target are the same datastore";
                return Err(RpcError::protocol(ErrorTag::InvalidValue, words).into());
            }
            // RFC 8341, section 3.2.5: for this copy the permission to execute it is all that is needed.
            (from @ Target::Running, Target::Startup) => {
                let running = datastore.config(from).duplicate();
                let running = with_defaults_as(with_defaults, running);
                return datastore.replace_startup(running, caller);
            }
            // What the caller may not read it cannot copy, either (the same section).
            (from, _) => {
                let visible = super::retrieve::visible(datastore, caller, datastore.config(from));
                with_defaults_as(with_defaults, visible)
            }
        },
        Source::Config(config) => datastore.read(caller, &elements(config)?)?,
    };
    datastore.lock_of(to).writable_by(caller.session)?;
    if to != Target::Running {
        // The way to running checks it itself.
        datastore.check_access(caller, datastore.config(to), &tree)?;
    }
    put(datastore, caller, to, tree.into())
}

/// What a copy of a datastore takes along of its defaults (RFC 6243, section 4.5.1). Values that are only tagged as
/// defaults are none that are set, so that mode copies what the basic mode copies.
fn with_defaults_as(mode: Option<WithDefaults>, mut tree: Tree) -> Tree {
    match mode {
        None | Some(WithDefaults::Explicit | WithDefaults::ReportAllTagged) => {}
        Some(WithDefaults::Trim) => tree.trim_defaults(),
        Some(WithDefaults::ReportAll) => tree.set_defaults(),
    }
    tree
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
    let draft = match source {
        Source::Datastore(name) => datastore.draft(named(datastore.schema(), *name)?)?,
        Source::Config(config) => datastore.read(caller, &elements(config)?)?.into(),
    };
    datastore.validate(draft)?;
    Ok(Step::Done)
}

/// The content of a `<config>`; it declares every prefix itself.
fn elements(config: &str) -> Result<Vec<Element>, RpcError> {
    xml::parse(config, &Scope::default())
}
