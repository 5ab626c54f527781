//! Actions and rpcs of modules (RFC 7950, sections 7.14 and 7.15).

use super::permit_named;
use crate::datastore::{Author, Datastore, Step, Target};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::paths;
use crate::model::tree::{Operation, Tree};
use crate::netconf::reply::Reply;
use crate::protocol::xml::{Document, Element};

pub(super) fn act(
    datastore: &mut Datastore,
    caller: &Author,
    message: &str,
) -> Result<(Step, Reply), Errors> {
    let mut operation = Operation::parse(datastore.schema(), message).map_err(|errors| {
        errors
            .into_iter()
            .map(|e| named(e, message))
            .collect::<Errors>()
    })?;
    let path = operation.path();
    if path.matches('/').count() == 1 {
        let (module, name) = operation.name();
        permit_named(datastore.nacm(), caller, module, name)?;
    } else if !caller.recovery {
        // RFC 8341, section 3.2.3: execute the action, and read the nodes it is in.
        datastore.nacm().may_act(caller, &operation)?;
    }
    check_context(datastore, &operation)?;
    operation.validate(datastore.config(Target::Running))?;
    if path == paths::ROLLBACK_TO {
        return Ok((
            roll_back_to(datastore, caller, operation.input())?,
            Reply::Ok,
        ));
    }
    if path == paths::ACCEPT_GUARDED_COMMIT {
        return Ok((datastore.accept_guarded_commit(caller)?, Reply::Ok));
    }
    let output = datastore.act(&path, operation.input())?;
    let running = datastore.config(Target::Running);
    let elements = operation.reply(output, running).map_err(|errors| {
        // What a part of the agent says against its module is no answer to a manager.
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        tracing::error!(path, ?errors, "the output of an operation is not valid");
        RpcError::application(
            ErrorTag::OperationFailed,
            "the operation was done, but its output is not that of its module",
        )
    })?;
    let reply = if elements.is_empty() {
        Reply::Ok
    } else {
        Reply::Output(elements)
    };
    Ok((Step::Done, reply))
}

/// The action `rollback-to` of device-management.
fn roll_back_to(datastore: &mut Datastore, caller: &Author, input: &Tree) -> Result<Step, Errors> {
    let leaf = |name: &str| input.value(&format!("{}/{name}", paths::ROLLBACK_TO));
    // Its type is a number, and it is mandatory.
    let id = leaf("commit-id").and_then(|id| id.parse().ok());
    let by = Author {
        comment: leaf("comment"),
        ..caller.clone()
    };
    datastore.roll_back_to(id.unwrap_or_default(), &by)
}

/// The element of an unknown namespace, which the schema does not tell (RFC 6241, appendix A, unknown-namespace).
fn named(mut error: RpcError, message: &str) -> RpcError {
    let of = |error: &RpcError, name: &str| {
        let info = error.info.iter().find(|info| info.name == name);
        info.map(|info| info.value.clone()).unwrap_or_default()
    };
    let namespace = of(&error, "bad-namespace");
    if error.tag == ErrorTag::UnknownNamespace
        && of(&error, "bad-element").is_empty()
        && let Ok(document) = Document::parse(message.as_bytes(), usize::MAX)
        && let Some(name) = first_of(document.root(), &namespace)
        && let Some(info) = error
            .info
            .iter_mut()
            .find(|info| info.name == "bad-element")
    {
        info.value = name;
    }
    error
}

/// The name of the first element of a namespace; the depth of the message was checked when it was read.
fn first_of(element: &Element<'_>, namespace: &str) -> Option<String> {
    if element.namespace() == namespace {
        return Some(element.name().to_owned());
    }
    element
        .children()
        .find_map(|child| first_of(&child, namespace))
}

/// An action is there with the data node it belongs to, be it configuration or state.
fn check_context(datastore: &Datastore, operation: &Operation) -> Result<(), RpcError> {
    let Some(context) = operation.context() else {
        return Ok(());
    };
    let path = context.path();
    if datastore.config(Target::Running).find(&path).is_some() {
        return Ok(());
    }
    let top = std::iter::successors(Some(context), |node| node.parent()).last();
    let module = top.map_or("", |top| top.module());
    let state = datastore.view().state(&|wanted| wanted == module);
    match state.find(&path) {
        Some(_) => Ok(()),
        None => {
            let words = "the node of the action does not exist";
            Err(RpcError::application(ErrorTag::DataMissing, words).at(path))
        }
    }
}
