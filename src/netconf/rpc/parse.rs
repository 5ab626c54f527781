//! From the octets of one message to an operation with its parameters.

use std::time::Duration;

use super::edit_data::edit_data;
use super::get_data::get_data;
use super::parameters::{Parameters, any_source, any_target, datastore, filter, source};
use super::{
    Datastore, Edit, ErrorOption, NMDA_NAMESPACE, Rpc, TestOption, action, push, subscribe,
};
use crate::datastore::confirm::{Confirmed, Request};
use crate::model::error::{ErrorTag, Errors, NETCONF_NAMESPACE, RpcError, YANG_NAMESPACE};
use crate::model::schema::Schema;
use crate::netconf::reply::ReplyHead;
use crate::netconf::subscription::push::NAMESPACE as PUSH_NAMESPACE;
use crate::protocol::xml::{Document, Element, XmlError};

/// The namespace of ietf-netconf-monitoring (RFC 6022).
const MONITORING_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring";
/// `confirm-timeout` when it is not given (RFC 6241, section 8.4.5).
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(600);

/// What a message after the hellos turned out to be.
#[derive(Debug)]
pub enum Incoming {
    /// An `<rpc>`; its operation may still be refused.
    Rpc {
        /// What its reply begins with.
        head: ReplyHead,
        /// The operation, or why there is none.
        rpc: Result<Rpc, Errors>,
    },
    /// An `<rpc>` that is not a correct one, or another element.
    NotRpc {
        /// What the reply begins with.
        head: ReplyHead,
        /// The refusal.
        error: RpcError,
    },
    /// A hello, which must not come twice.
    Hello,
    /// No well-formed XML.
    Malformed {
        /// What the reply begins with, as far as it could be read.
        head: ReplyHead,
        /// What is wrong.
        error: XmlError,
    },
}

/// Reads a message; `depth` is the greatest number of elements nested in one another.
pub fn read(schema: Schema, message: &[u8], depth: usize) -> Incoming {
    match Document::parse(message, depth) {
        Ok(document) => classify(schema, document.root(), message),
        Err(error) => Incoming::Malformed {
            head: ReplyHead::recover(message),
            error,
        },
    }
}

fn classify(schema: Schema, root: &Element<'_>, message: &[u8]) -> Incoming {
    if root.is(NETCONF_NAMESPACE, "hello") {
        return Incoming::Hello;
    }
    let head = ReplyHead::of(root);
    if root.name() != "rpc" {
        let error = RpcError::rpc(
            ErrorTag::UnknownElement,
            format!("\"{}\" is no message", root.name()),
        );
        return Incoming::NotRpc {
            head,
            error: error.info("bad-element", root.name()),
        };
    }
    if root.namespace() != NETCONF_NAMESPACE {
        let error = RpcError::rpc(
            ErrorTag::UnknownNamespace,
            "the rpc is not of the NETCONF namespace",
        );
        let error = error
            .info("bad-element", "rpc")
            .info("bad-namespace", root.namespace());
        return Incoming::NotRpc { head, error };
    }
    if head.message_id().is_none() {
        let error = RpcError::rpc(ErrorTag::MissingAttribute, "the rpc has no message-id");
        let error = error
            .info("bad-attribute", "message-id")
            .info("bad-element", "rpc");
        return Incoming::NotRpc { head, error };
    }
    let mut operations = root.children();
    let rpc = match (operations.next(), operations.next()) {
        (Some(operation), None) => parse(schema, &operation, message),
        // The abstract element of the XML schema in RFC 6241, appendix B, that stands for all operations.
        (None, _) => Err(
            RpcError::rpc(ErrorTag::MissingElement, "the rpc has no operation")
                .info("bad-element", "rpcOperation")
                .into(),
        ),
        (Some(_), Some(second)) => Err(RpcError::rpc(
            ErrorTag::UnknownElement,
            "the rpc has a second operation",
        )
        .info("bad-element", second.name())
        .into()),
    };
    Incoming::Rpc { head, rpc }
}

fn parse(schema: Schema, operation: &Element<'_>, message: &[u8]) -> Result<Rpc, Errors> {
    match operation.namespace() {
        NETCONF_NAMESPACE => Ok(base_operation(operation)?),
        MONITORING_NAMESPACE if operation.name() == "get-schema" => Ok(get_schema(operation)?),
        NMDA_NAMESPACE if operation.name() == "get-data" => Ok(get_data(operation)?),
        NMDA_NAMESPACE if operation.name() == "edit-data" => Ok(edit_data(operation)?),
        subscribe::NOTIFICATION_NAMESPACE if operation.name() == "create-subscription" => {
            Ok(subscribe::create_subscription(operation)?)
        }
        subscribe::NAMESPACE => Ok(subscribe::operation(operation)?),
        PUSH_NAMESPACE if operation.name() == "resync-subscription" => Ok(push::resync(operation)?),
        YANG_NAMESPACE if operation.name() == "action" => Ok(Rpc::Action {
            path: action::path(schema, operation),
            message: text(message),
        }),
        "" => Err(unknown_namespace(operation.name(), "").into()),
        namespace => {
            let (namespace, name) = (namespace.to_owned(), operation.name().to_owned());
            Ok(Rpc::Other {
                namespace,
                name,
                message: text(message),
            })
        }
    }
}

/// The message was found to be UTF-8 when it was checked.
fn text(message: &[u8]) -> String {
    String::from_utf8_lossy(message).into_owned()
}

/// The refusal of an operation that its namespace does not have (RFC 6241, appendix A: operation-not-supported).
pub fn unknown_operation(name: &str) -> RpcError {
    let message = format!("there is no operation \"{name}\"");
    RpcError::protocol(ErrorTag::OperationNotSupported, message).info("bad-element", name)
}

/// The refusal of an element whose namespace the server does not know, or not there (RFC 6241, appendix A).
pub fn unknown_namespace(name: &str, namespace: &str) -> RpcError {
    let message = format!("the namespace \"{namespace}\" of \"{name}\" is not known here");
    let error = RpcError::protocol(ErrorTag::UnknownNamespace, message);
    error
        .info("bad-element", name)
        .info("bad-namespace", namespace)
}

fn base_operation(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    match operation.name() {
        "get" => {
            let parameters = Parameters::read(operation, &["filter", "with-defaults"])?;
            Ok(Rpc::Get {
                filter: filter(&parameters)?,
                with_defaults: parameters.with_defaults()?,
            })
        }
        "get-config" => {
            let parameters = Parameters::read(operation, &["source", "filter", "with-defaults"])?;
            let source = datastore(&parameters, "source")?;
            let with_defaults = parameters.with_defaults()?;
            Ok(Rpc::GetConfig {
                source,
                filter: filter(&parameters)?,
                with_defaults,
            })
        }
        "edit-config" => edit_config(operation),
        "copy-config" => {
            let parameters = Parameters::read(operation, &["target", "source", "with-defaults"])?;
            let target = datastore(&parameters, "target")?;
            Ok(Rpc::CopyConfig {
                target,
                source: source(&parameters)?,
                with_defaults: parameters.with_defaults()?,
            })
        }
        "delete-config" => Ok(Rpc::DeleteConfig {
            target: datastore(&Parameters::read(operation, &["target"])?, "target")?,
        }),
        "lock" => Ok(Rpc::Lock {
            target: any_target(&Parameters::read(operation, &["target"])?)?,
        }),
        "unlock" => Ok(Rpc::Unlock {
            target: any_target(&Parameters::read(operation, &["target"])?)?,
        }),
        "close-session" => Parameters::read(operation, &[]).map(|_| Rpc::CloseSession),
        "discard-changes" => Parameters::read(operation, &[]).map(|_| Rpc::DiscardChanges),
        "kill-session" => {
            let parameters = Parameters::read(operation, &["session-id"])?;
            let session = parameters.positive("session-id")?;
            Ok(Rpc::KillSession {
                session: session.ok_or_else(|| parameters.missing("session-id"))?,
            })
        }
        "validate" => Ok(Rpc::Validate {
            source: any_source(&Parameters::read(operation, &["source"])?)?,
        }),
        "commit" => commit(operation),
        "cancel-commit" => {
            let parameters = Parameters::read(operation, &["persist-id"])?;
            Ok(Rpc::CancelCommit {
                persist_id: parameters.text("persist-id")?,
            })
        }
        name => Err(unknown_operation(name)),
    }
}

fn edit_config(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let known = [
        "target",
        "default-operation",
        "test-option",
        "error-option",
        "config",
        "comment",
    ];
    let parameters = Parameters::read(operation, &known)?;
    let target = datastore(&parameters, "target")?;
    let test_option = parameters.word(
        "test-option",
        &[
            ("test-then-set", TestOption::TestThenSet),
            ("set", TestOption::Set),
            ("test-only", TestOption::TestOnly),
        ],
    )?;
    let error_option = parameters.word(
        "error-option",
        &[
            ("stop-on-error", ErrorOption::StopOnError),
            ("continue-on-error", ErrorOption::ContinueOnError),
            ("rollback-on-error", ErrorOption::RollbackOnError),
        ],
    )?;
    Ok(Rpc::EditConfig(Edit {
        target,
        default_operation: parameters.default_operation()?,
        test_option,
        error_option: error_option.unwrap_or_default(),
        comment: parameters.comment(target == Datastore::Running)?,
        config: parameters
            .content("config")?
            .ok_or_else(|| parameters.missing("config"))?,
    }))
}

fn commit(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let parameters = Parameters::read(
        operation,
        &[
            "confirmed",
            "confirm-timeout",
            "persist",
            "persist-id",
            "comment",
        ],
    )?;
    let timeout = parameters.positive("confirm-timeout")?;
    let timeout = timeout.map_or(CONFIRM_TIMEOUT, |seconds| {
        Duration::from_secs(seconds.into())
    });
    let persist = parameters.text("persist")?;
    let confirmed = parameters.has("confirmed");
    // Whoever names a time or a token and forgets this one would commit for good.
    let stray = ["confirm-timeout", "persist"].map(|name| parameters.has(name));
    if !confirmed && stray.contains(&true) {
        return Err(parameters.missing("confirmed"));
    }
    Ok(Rpc::Commit {
        request: Request {
            confirmed: confirmed.then_some(Confirmed { timeout, persist }),
            persist_id: parameters.text("persist-id")?,
        },
        comment: parameters.comment(true)?,
    })
}

fn get_schema(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let parameters = Parameters::read(operation, &["identifier", "version", "format"])?;
    let identifier = parameters
        .text("identifier")?
        .ok_or_else(|| parameters.missing("identifier"))?;
    let format = parameters.text("format")?;
    // An identity: its prefix is that of ietf-netconf-monitoring, whatever the client calls it.
    let format = format.map(|format| match format.split_once(':') {
        Some((_, name)) => name.to_owned(),
        None => format,
    });
    Ok(Rpc::GetSchema {
        identifier,
        version: parameters.text("version")?,
        format,
    })
}
