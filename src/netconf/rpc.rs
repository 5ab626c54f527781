//! The operations of RFC 6241 and of the modules, with their parameters parsed into types.

mod action;
mod edit_data;
mod get_data;
mod parameters;
mod parse;
mod push;
mod subscribe;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use super::operations::SessionId;
use crate::datastore::confirm::Request;
use crate::datastore::retrieval::Options;
use crate::netconf::subscription::push::Trigger;

pub use crate::datastore::retrieval::WithDefaults;
pub use crate::model::error::NMDA_NAMESPACE;
pub use parse::{Incoming, read, unknown_namespace, unknown_operation};

/// A configuration datastore, as the parameters name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datastore {
    /// `<running/>`.
    Running,
    /// `<candidate/>`.
    Candidate,
    /// `<startup/>`.
    Startup,
}

impl Datastore {
    /// The name of its element.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Candidate => "candidate",
            Self::Startup => "startup",
        }
    }
}

/// Where a configuration comes from (`<source>` of copy-config and validate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A datastore.
    Datastore(Named),
    /// The content of an inline `<config>`: elements, each with the namespace declarations it needs.
    Config(String),
}

/// A filter of get and get-config (RFC 6241, section 6). Absent means everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The content of a subtree filter: elements, each with the namespace declarations it needs; empty selects
    /// nothing.
    Subtree(String),
    /// An XPath filter (section 8.9).
    XPath {
        /// The expression, as written.
        expression: String,
        /// The prefixes in scope, each with its namespace.
        declared: Vec<(String, String)>,
    },
}

/// `<default-operation>` of edit-config (RFC 6241, section 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultOperation {
    /// Merge, the default.
    #[default]
    Merge,
    /// Replace.
    Replace,
    /// Nothing without an operation attribute.
    None,
}

/// `<test-option>` of edit-config (RFC 6241, section 8.6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOption {
    /// Validate, then set.
    TestThenSet,
    /// Set without a validation first.
    Set,
    /// Validate and change nothing.
    TestOnly,
}

/// `<error-option>` of edit-config (RFC 6241, section 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorOption {
    /// Stop at the first error, the default.
    #[default]
    StopOnError,
    /// Go on, report all.
    ContinueOnError,
    /// Leave everything as it was.
    RollbackOnError,
}

/// A datastore of NMDA (RFC 8342), named by its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// One that holds configuration alone.
    Conventional(Datastore),
    /// `ds:operational`.
    Operational,
}

/// How an operation names a datastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By an element of RFC 6241.
    Element(Datastore),
    /// By its identity, as lock, unlock and validate may (RFC 8526, section 3.2).
    Identity(Stored),
}

/// The parameters of edit-data (RFC 8526, section 3.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditData {
    /// The datastore to change.
    pub datastore: Stored,
    /// What is done where no operation attribute says it.
    pub default_operation: DefaultOperation,
    /// What the author says about a change of running (device-management).
    pub comment: Option<String>,
    /// The content of `<config>`: elements, each with the namespace declarations it needs.
    pub config: String,
}

/// The parameters of get-data (RFC 8526, section 3.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetData {
    /// From where.
    pub datastore: Stored,
    /// What to retrieve.
    pub filter: Option<Filter>,
    /// How defaults are reported; what is usual for the datastore when absent.
    pub with_defaults: Option<WithDefaults>,
    /// Everything else that narrows down what is retrieved.
    pub options: Options,
}

/// The parameters of create-subscription (RFC 5277, section 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSubscription {
    /// The stream.
    pub stream: String,
    /// Which events are wanted.
    pub filter: Option<Filter>,
    /// From when on events of the past are wanted.
    pub start: Option<SystemTime>,
    /// When the subscription ends.
    pub stop: Option<SystemTime>,
}

/// The filter of a subscription to a stream (RFC 8639, section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// None: all events.
    None,
    /// One of its own.
    Own(Filter),
    /// The configured one of this name.
    Named(String),
}

/// The parameters of establish-subscription (RFC 8639, section 2.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EstablishSubscription {
    /// The stream.
    pub stream: String,
    /// Which events are wanted.
    pub filter: EventFilter,
    /// From when on events of the past are wanted.
    pub start: Option<SystemTime>,
    /// When the subscription ends.
    pub stop: Option<SystemTime>,
    /// The name of an identity.
    pub encoding: Option<String>,
}

/// The parameters of modify-subscription (RFC 8639, section 2.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModifySubscription {
    /// The subscription.
    pub id: u32,
    /// Its filter from now on.
    pub filter: EventFilter,
    /// When it ends.
    pub stop: Option<SystemTime>,
}

/// The parameters of establish-subscription for a datastore (RFC 8641, section 4.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EstablishPush {
    /// The datastore; none for one that is not one of the device.
    pub datastore: Option<Stored>,
    /// Which data are wanted.
    pub filter: EventFilter,
    /// When there is an update.
    pub trigger: Trigger,
    /// When the subscription ends.
    pub stop: Option<SystemTime>,
    /// The name of an identity.
    pub encoding: Option<String>,
}

/// The parameters of modify-subscription for a datastore (RFC 8641, section 4.4.2); what is not given stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModifyPush {
    /// The subscription.
    pub id: u32,
    /// The datastore, which must be that of the subscription; see [`EstablishPush::datastore`].
    pub datastore: Option<Option<Stored>>,
    /// Which data are wanted from now on.
    pub filter: Option<EventFilter>,
    /// When there is an update from now on.
    pub trigger: Option<Trigger>,
    /// When the subscription ends.
    pub stop: Option<SystemTime>,
}

/// The parameters of edit-config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The datastore to change.
    pub target: Datastore,
    /// What is done where no operation attribute says it.
    pub default_operation: DefaultOperation,
    /// Whether it is validated and set.
    pub test_option: Option<TestOption>,
    /// What happens at an error.
    pub error_option: ErrorOption,
    /// What the author says about a change of running (device-management).
    pub comment: Option<String>,
    /// The content of `<config>`: elements, each with the namespace declarations it needs.
    pub config: String,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// RFC 6241, section 7.7.
    Get {
        /// What to retrieve.
        filter: Option<Filter>,
        /// How defaults are reported.
        with_defaults: Option<WithDefaults>,
    },
    /// RFC 6241, section 7.1.
    GetConfig {
        /// From where.
        source: Datastore,
        /// What to retrieve.
        filter: Option<Filter>,
        /// How defaults are reported.
        with_defaults: Option<WithDefaults>,
    },
    /// RFC 8526, section 3.1.1.
    GetData(GetData),
    /// RFC 6241, section 7.2.
    EditConfig(Edit),
    /// RFC 8526, section 3.1.2.
    EditData(EditData),
    /// RFC 6241, section 7.3.
    CopyConfig {
        /// The datastore to replace.
        target: Datastore,
        /// With what.
        source: Source,
        /// How defaults are treated.
        with_defaults: Option<WithDefaults>,
    },
    /// RFC 6241, section 7.4.
    DeleteConfig {
        /// The datastore to delete.
        target: Datastore,
    },
    /// RFC 6241, section 7.5.
    Lock {
        /// The datastore to lock.
        target: Named,
    },
    /// RFC 6241, section 7.6.
    Unlock {
        /// The datastore to unlock.
        target: Named,
    },
    /// RFC 6241, section 7.8.
    CloseSession,
    /// RFC 6241, section 7.9.
    KillSession {
        /// The session to end.
        session: SessionId,
    },
    /// RFC 6241, section 8.3.4.1 and 8.4.
    Commit {
        /// Whether and how it is to be confirmed, or confirms.
        request: Request,
        /// What the author says about it (device-management).
        comment: Option<String>,
    },
    /// RFC 6241, section 8.4.4.1.
    CancelCommit {
        /// The token of the commit that is taken back.
        persist_id: Option<String>,
    },
    /// RFC 6241, section 8.3.4.2.
    DiscardChanges,
    /// RFC 6241, section 8.6.4.1.
    Validate {
        /// What to validate.
        source: Source,
    },
    /// RFC 6022, section 3.1.
    GetSchema {
        /// Name of the module or submodule.
        identifier: String,
        /// Its revision.
        version: Option<String>,
        /// `yang` when absent; the name of the identity without its prefix.
        format: Option<String>,
    },
    /// RFC 5277, section 2.1.1.
    CreateSubscription(CreateSubscription),
    /// RFC 8639, section 2.4.2.
    EstablishSubscription(EstablishSubscription),
    /// RFC 8639, section 2.4.3.
    ModifySubscription(ModifySubscription),
    /// RFC 8641, section 4.4.1.
    EstablishPush(EstablishPush),
    /// RFC 8641, section 4.4.2.
    ModifyPush(ModifyPush),
    /// RFC 8641, section 4.4.4.
    ResyncSubscription {
        /// The subscription, one of the session's own.
        id: u32,
    },
    /// RFC 8639, section 2.4.4.
    DeleteSubscription {
        /// The subscription, one of the session's own.
        id: u32,
    },
    /// RFC 8639, section 2.4.5.
    KillSubscription {
        /// The subscription, of any session.
        id: u32,
    },
    /// An action of a module (RFC 7950, section 7.15.2).
    Action {
        /// Its path in its module; none if there is no such action.
        path: Option<String>,
        /// The whole `<rpc>` message.
        message: String,
    },
    /// An rpc of a module.
    Other {
        /// The module's namespace.
        namespace: String,
        /// The operation.
        name: String,
        /// The whole `<rpc>` message.
        message: String,
    },
}

impl Rpc {
    /// What the author says about the change that it makes.
    pub fn comment(&self) -> Option<&str> {
        match self {
            Self::Commit { comment, .. } => comment.as_deref(),
            Self::EditConfig(edit) => edit.comment.as_deref(),
            Self::EditData(edit) => edit.comment.as_deref(),
            _ => None,
        }
    }

    /// The name of the operation, as in its module.
    pub fn name(&self) -> &str {
        match self {
            Self::Get { .. } => "get",
            Self::GetConfig { .. } => "get-config",
            Self::GetData(_) => "get-data",
            Self::EditConfig(_) => "edit-config",
            Self::EditData(_) => "edit-data",
            Self::CopyConfig { .. } => "copy-config",
            Self::DeleteConfig { .. } => "delete-config",
            Self::Lock { .. } => "lock",
            Self::Unlock { .. } => "unlock",
            Self::CloseSession => "close-session",
            Self::KillSession { .. } => "kill-session",
            Self::Commit { .. } => "commit",
            Self::CancelCommit { .. } => "cancel-commit",
            Self::DiscardChanges => "discard-changes",
            Self::Validate { .. } => "validate",
            Self::GetSchema { .. } => "get-schema",
            Self::CreateSubscription(_) => "create-subscription",
            Self::EstablishSubscription(_) | Self::EstablishPush(_) => "establish-subscription",
            Self::ModifySubscription(_) | Self::ModifyPush(_) => "modify-subscription",
            Self::ResyncSubscription { .. } => "resync-subscription",
            Self::DeleteSubscription { .. } => "delete-subscription",
            Self::KillSubscription { .. } => "kill-subscription",
            Self::Action { .. } => "action",
            Self::Other { name, .. } => name,
        }
    }
}
