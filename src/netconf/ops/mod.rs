//! The operations on the datastore, one family a file. This is their table of contents.
//!
//! Each operation is a function of the datastore and the caller, run by the datastore's own task: those that only
//! look go to [`read`], those that change go to [`write`]. `server.rs` does what concerns sessions.

mod action;
mod commit;
mod edit;
mod lock;
pub mod monitoring;
mod retrieve;
mod schema;
pub mod subscribe;

pub(super) use retrieve::sources;

use super::reply::{Data, Reply};
use super::rpc::{Datastore as Name, Named, Rpc, Stored, unknown_namespace, unknown_operation};
use crate::datastore::nacm::Nacm;
use crate::datastore::retrieval::Retrieval;
use crate::datastore::{Author, Datastore, Step, Target, View};
use crate::model::error::{ErrorTag, Errors, NETCONF_NAMESPACE, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::{NodeKind, SchemaNode};
use monitoring::Monitoring;

/// Whether an operation is about subscriptions, which are not the datastore's.
pub fn is_about_subscriptions(rpc: &Rpc) -> bool {
    matches!(
        rpc,
        Rpc::CreateSubscription(_)
            | Rpc::EstablishSubscription(_)
            | Rpc::ModifySubscription(_)
            | Rpc::EstablishPush(_)
            | Rpc::ModifyPush(_)
            | Rpc::ResyncSubscription { .. }
            | Rpc::DeleteSubscription { .. }
            | Rpc::KillSubscription { .. }
    )
}

/// Whether an operation only looks: it is then served during a store step, too.
pub fn only_looks(rpc: &Rpc) -> bool {
    matches!(
        rpc,
        Rpc::Get { .. } | Rpc::GetConfig { .. } | Rpc::GetData(_) | Rpc::GetSchema { .. }
    )
}

/// Whether an operation that changes something takes next to no time.
pub fn is_brief(rpc: &Rpc) -> bool {
    matches!(
        rpc,
        Rpc::Lock { .. } | Rpc::Unlock { .. } | Rpc::DiscardChanges
    )
}

/// What an operation that only looks has found.
pub enum Found {
    /// All that is to be said.
    Reply(Reply),
    /// What is still to be read, off the datastore's task, and the namespace of its `<data>`.
    Data(Box<Retrieval>, Option<&'static str>),
}

impl Found {
    /// Whether [`Found::into_reply`] may take long: it is then for a thread that may.
    pub fn takes_long(&self) -> bool {
        matches!(self, Self::Data(retrieval, _) if retrieval.takes_long())
    }

    /// The reply.
    ///
    /// # Errors
    /// What shows only when the filter is evaluated.
    pub fn into_reply(self) -> Result<Reply, RpcError> {
        match self {
            Self::Reply(reply) => Ok(reply),
            Self::Data(retrieval, namespace) => {
                Ok(Reply::Data(Data::new(retrieval.begin()?, namespace)))
            }
        }
    }
}

/// Whether an operation that only looks does so at the candidate.
pub fn looks_at_candidate(rpc: &Rpc) -> bool {
    match rpc {
        Rpc::GetConfig { source, .. } => *source == Name::Candidate,
        Rpc::GetData(request) => request.datastore == Stored::Conventional(Name::Candidate),
        _ => false,
    }
}

/// Does an operation that only looks. `monitoring` tells what the server knows; it is asked only for a reply that
/// can hold it.
///
/// # Errors
/// What the reply says.
pub fn read(
    view: &View,
    caller: &Author,
    rpc: Rpc,
    monitoring: &dyn Fn() -> Monitoring,
) -> Result<Found, Errors> {
    permit(view.schema(), view.nacm(), caller, &rpc)?;
    match rpc {
        Rpc::Get {
            filter,
            with_defaults,
        } => retrieve::get(view, caller, filter.as_ref(), with_defaults, monitoring),
        Rpc::GetConfig {
            source,
            filter,
            with_defaults,
        } => retrieve::get_config(view, caller, source, filter.as_ref(), with_defaults),
        Rpc::GetData(request) => retrieve::get_data(view, caller, request, monitoring),
        Rpc::GetSchema {
            identifier,
            version,
            format,
        } => schema::get_schema(
            view.schema(),
            &identifier,
            version.as_deref(),
            format.as_deref(),
        )
        .map(Found::Reply),
        _ => Err(unsupported("this operation").into()),
    }
}

/// What the reply to an operation says that has done something: errors too, of an edit that went on at them.
pub type Outcome = Result<Reply, Errors>;

/// Does an operation that changes something; the step says what is left to do before the reply is true.
///
/// # Errors
/// What the reply says; nothing has changed then.
pub fn write(
    datastore: &mut Datastore,
    caller: &Author,
    rpc: Rpc,
) -> Result<(Step, Outcome), Errors> {
    permit(datastore.schema(), datastore.nacm(), caller, &rpc)?;
    let caller = &Author {
        comment: rpc.comment().map(str::to_owned),
        ..caller.clone()
    };
    let step = match rpc {
        Rpc::EditConfig(request) => {
            let (step, errors) = edit::edit_config(datastore, caller, &request)?;
            let outcome = if errors.is_empty() {
                Ok(Reply::Ok)
            } else {
                Err(errors)
            };
            return Ok((step, outcome));
        }
        Rpc::EditData(request) => edit::edit_data(datastore, caller, &request)?,
        Rpc::CopyConfig {
            target,
            source,
            with_defaults,
        } => edit::copy_config(datastore, caller, target, &source, with_defaults)?,
        Rpc::DeleteConfig { target } => edit::delete_config(datastore, caller, target)?,
        Rpc::Validate { source } => edit::validate(datastore, caller, &source)?,
        Rpc::Lock { target } => {
            let target = named(datastore.schema(), target)?;
            lock::lock(datastore, caller, target)?
        }
        Rpc::Unlock { target } => {
            let target = named(datastore.schema(), target)?;
            lock::unlock(datastore, caller, target)?
        }
        Rpc::Commit { request, .. } => commit::commit(datastore, caller, &request)?,
        Rpc::CancelCommit { persist_id } => {
            commit::cancel_commit(datastore, caller, persist_id.as_deref())?
        }
        Rpc::DiscardChanges => commit::discard_changes(datastore, caller)?,
        Rpc::Action { message, .. } | Rpc::Other { message, .. } => {
            let (step, reply) = action::act(datastore, caller, &message)?;
            return Ok((step, Ok(reply)));
        }
        _ => return Err(unsupported("this operation").into()),
    };
    Ok((step, Ok(Reply::Ok)))
}

/// Whether the caller may execute the operation (RFC 8341, section 3.4.4, step 1 on). `close-session` never comes
/// here and is always permitted; that of an action is decided when it is parsed.
pub(super) fn permit(
    schema: Schema,
    nacm: &Nacm,
    caller: &Author,
    rpc: &Rpc,
) -> Result<(), RpcError> {
    let (module, name) = match rpc {
        Rpc::Action { .. } => return Ok(()),
        Rpc::GetSchema { .. } => ("ietf-netconf-monitoring", "get-schema"),
        Rpc::CreateSubscription(_) => ("notifications", rpc.name()),
        Rpc::ResyncSubscription { .. } => ("ietf-yang-push", rpc.name()),
        Rpc::EstablishSubscription(_)
        | Rpc::ModifySubscription(_)
        | Rpc::EstablishPush(_)
        | Rpc::ModifyPush(_)
        | Rpc::DeleteSubscription { .. }
        | Rpc::KillSubscription { .. } => ("ietf-subscribed-notifications", rpc.name()),
        Rpc::GetData(_) | Rpc::EditData(_) => ("ietf-netconf-nmda", rpc.name()),
        Rpc::Other {
            namespace, name, ..
        } => return permit_other(schema, nacm, caller, namespace, name),
        other => ("ietf-netconf", other.name()),
    };
    permit_named(nacm, caller, module, name)
}

/// The same for an rpc of a module, which must exist.
fn permit_other(
    schema: Schema,
    nacm: &Nacm,
    caller: &Author,
    namespace: &str,
    name: &str,
) -> Result<(), RpcError> {
    let module = schema
        .module_of(namespace)
        .ok_or_else(|| unknown_namespace(name, namespace))?;
    match schema.top(module, name).map(SchemaNode::kind) {
        Some(NodeKind::Rpc) => permit_named(nacm, caller, module, name),
        _ => Err(unknown_operation(name)),
    }
}

/// Whether the caller may execute an rpc of a module.
pub(super) fn permit_named(
    nacm: &Nacm,
    caller: &Author,
    module: &str,
    name: &str,
) -> Result<(), RpcError> {
    match caller.recovery {
        true => Ok(()),
        false => nacm.may_exec(caller, module, name),
    }
}

/// The datastore that a parameter names.
fn target(schema: Schema, name: Name) -> Result<Target, RpcError> {
    match name {
        Name::Running => Ok(Target::Running),
        Name::Candidate => Ok(Target::Candidate),
        Name::Startup if schema.has_startup() => Ok(Target::Startup),
        // RFC 6241, section 8.7: only with the capability :startup.
        Name::Startup => Err(unknown_datastore(
            "this device has no startup datastore: running is kept by itself",
        )),
    }
}

fn named(schema: Schema, name: Named) -> Result<Target, RpcError> {
    match name {
        Named::Element(name) => target(schema, name),
        Named::Identity(stored) => writable(schema, stored),
    }
}

/// The datastore with an identity, if it is one that the device has and managers can write: else `invalid-value`, as
/// ietf-netconf-nmda has it for edit-data, lock, unlock and validate.
fn writable(schema: Schema, stored: Stored) -> Result<Target, RpcError> {
    match stored {
        Stored::Conventional(name) => {
            target(schema, name).map_err(|error| invalid_datastore(&error.message))
        }
        Stored::Operational => Err(invalid_datastore(
            "the operational datastore is what the device does; it can only be read",
        )),
    }
}

fn invalid_datastore(words: &str) -> RpcError {
    RpcError::protocol(ErrorTag::InvalidValue, words)
}

/// The refusal of a startup that is not a datastore here, or not of this operation.
fn unknown_datastore(words: &str) -> RpcError {
    RpcError::protocol(ErrorTag::UnknownElement, words).info("bad-element", "startup")
}

fn unsupported(what: &str) -> RpcError {
    RpcError::protocol(
        ErrorTag::OperationNotSupported,
        format!("{what} is not supported"),
    )
}

/// What the hello announces (RFC 6241, section 8; RFC 7950, section 5.6.4; RFC 8525, section 3).
pub fn capabilities(schema: Schema) -> Vec<String> {
    let mut list: Vec<String> = [
        "urn:ietf:params:netconf:base:1.0",
        "urn:ietf:params:netconf:base:1.1",
        "urn:ietf:params:netconf:capability:writable-running:1.0",
        "urn:ietf:params:netconf:capability:candidate:1.0",
        "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
        "urn:ietf:params:netconf:capability:rollback-on-error:1.0",
        "urn:ietf:params:netconf:capability:validate:1.1",
        "urn:ietf:params:netconf:capability:xpath:1.0",
        "urn:ietf:params:netconf:capability:notification:1.0",
        "urn:ietf:params:netconf:capability:interleave:1.0",
        "urn:ietf:params:netconf:capability:with-defaults:1.0?basic-mode=explicit&also-supported=report-all,report-all-tagged,trim",
        "urn:ietf:params:netconf:capability:with-operational-defaults:1.0?basic-mode=report-all&also-supported=explicit,report-all-tagged,trim",
    ]
    .map(str::to_owned)
    .into();
    if schema.has_startup() {
        list.push("urn:ietf:params:netconf:capability:startup:1.0".to_owned());
    }
    list.push(format!(
        "urn:ietf:params:netconf:capability:yang-library:1.1?revision=2019-01-04&content-id={}",
        schema.content_id()
    ));
    let told = |module: &crate::model::schema::Module| {
        module.implemented && !module.yang_1_1 && module.namespace != NETCONF_NAMESPACE
    };
    for module in schema.modules().filter(told) {
        let mut uri = format!("{}?module={}", module.namespace, module.name);
        if let Some(revision) = &module.revision {
            uri.push_str(&format!("&revision={revision}"));
        }
        if !module.features.is_empty() {
            uri.push_str(&format!("&features={}", module.features.join(",")));
        }
        if !module.deviations.is_empty() {
            uri.push_str(&format!("&deviations={}", module.deviations.join(",")));
        }
        list.push(uri);
    }
    list
}
