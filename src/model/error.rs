//! The rpc-error of RFC 6241, section 4.3 and appendix A: what every refusal becomes before it reaches a manager.

use std::fmt;

/// A list of errors; never empty where it stands in an `Err`.
pub type Errors = Vec<RpcError>;

/// The layer an error belongs to (RFC 6241, section 4.3, `error-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// Secure transport.
    Transport,
    /// Messages: the `<rpc>` element itself.
    Rpc,
    /// Operations.
    Protocol,
    /// Content: the data model.
    Application,
}

impl ErrorType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Rpc => "rpc",
            Self::Protocol => "protocol",
            Self::Application => "application",
        }
    }
}

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// The condition (RFC 6241, appendix A, `error-tag`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorTag { $($(#[$doc])* $name),+ }
        impl ErrorTag {
            /// The word on the wire.
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $word),+ } }
            /// The tag of a word on the wire.
            pub fn parse(word: &str) -> Option<Self> { match word { $($word => Some(Self::$name),)+ _ => None } }
        }
    };
}

tags! {
    /// The request requires a resource that already is in use.
    InUse = "in-use",
    /// The request specifies an unacceptable value.
    InvalidValue = "invalid-value",
    /// The request or response is too large.
    TooBig = "too-big",
    /// An expected attribute is missing.
    MissingAttribute = "missing-attribute",
    /// An attribute value is not correct.
    BadAttribute = "bad-attribute",
    /// An unexpected attribute is present.
    UnknownAttribute = "unknown-attribute",
    /// An expected element is missing.
    MissingElement = "missing-element",
    /// An element value is not correct.
    BadElement = "bad-element",
    /// An unexpected element is present.
    UnknownElement = "unknown-element",
    /// An unexpected namespace is present.
    UnknownNamespace = "unknown-namespace",
    /// Access is denied because authorization failed.
    AccessDenied = "access-denied",
    /// The lock is held by another.
    LockDenied = "lock-denied",
    /// The request could not be completed for want of resources.
    ResourceDenied = "resource-denied",
    /// A rollback was not completed.
    RollbackFailed = "rollback-failed",
    /// The data exists already.
    DataExists = "data-exists",
    /// The data does not exist.
    DataMissing = "data-missing",
    /// The operation is not supported here.
    OperationNotSupported = "operation-not-supported",
    /// Some other reason.
    OperationFailed = "operation-failed",
    /// The message is not well-formed or violates the framing (base:1.1).
    MalformedMessage = "malformed-message",
}

/// One element of `error-info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorInfo {
    /// Element name, e.g. `bad-element`.
    pub name: &'static str,
    /// Namespace of the element.
    pub namespace: &'static str,
    /// Its text.
    pub value: String,
    /// The elements inside it, of its namespace, if it has some: name and text. A text that begins with the name of a module
    /// and a colon is an identity.
    pub inside: Vec<(&'static str, String)>,
}

/// The namespace of RFC 6241.
pub const NETCONF_NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
/// The namespace of ietf-netconf-nmda (RFC 8526).
pub const NMDA_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda";
/// The namespace of YANG 1's own error-info elements (RFC 7950, section 15).
pub const YANG_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:1";

/// One `<rpc-error>`; the severity is always `error`, since no server sends warnings that managers can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// The layer.
    pub error_type: ErrorType,
    /// The condition.
    pub tag: ErrorTag,
    /// `error-app-tag`, such as `must-violation` (RFC 7950, section 15) or one of a module's own.
    pub app_tag: Option<String>,
    /// `error-path`: a data path whose prefixes are module names, each declared by whoever writes the element.
    pub path: Option<String>,
    /// A sentence for a person.
    pub message: String,
    /// `error-info`, in schema order.
    pub info: Vec<ErrorInfo>,
}

impl RpcError {
    /// An error with tag and message alone.
    pub fn new(error_type: ErrorType, tag: ErrorTag, message: impl Into<String>) -> Self {
        Self {
            error_type,
            tag,
            app_tag: None,
            path: None,
            message: message.into(),
            info: Vec::new(),
        }
    }
    /// An error of the content layer.
    pub fn application(tag: ErrorTag, message: impl Into<String>) -> Self {
        Self::new(ErrorType::Application, tag, message)
    }
    /// An error of the operations layer.
    pub fn protocol(tag: ErrorTag, message: impl Into<String>) -> Self {
        Self::new(ErrorType::Protocol, tag, message)
    }
    /// An error of the message layer.
    pub fn rpc(tag: ErrorTag, message: impl Into<String>) -> Self {
        Self::new(ErrorType::Rpc, tag, message)
    }
    /// The same with `error-path`.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }
    /// The same with `error-app-tag`.
    #[must_use]
    pub fn app_tag(mut self, tag: impl Into<String>) -> Self {
        self.app_tag = Some(tag.into());
        self
    }
    /// The same with one more `error-info` element of the NETCONF namespace.
    #[must_use]
    pub fn info(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.info.push(ErrorInfo {
            name,
            namespace: NETCONF_NAMESPACE,
            value: value.into(),
            inside: Vec::new(),
        });
        self
    }
    /// The same with one more `error-info` element of YANG's own namespace (RFC 7950, section 15).
    #[must_use]
    pub fn yang_info(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.info.push(ErrorInfo {
            name,
            namespace: YANG_NAMESPACE,
            value: value.into(),
            inside: Vec::new(),
        });
        self
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tag.as_str(), self.message)?;
        match &self.path {
            Some(path) => write!(f, " (at {path})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RpcError {}

impl From<RpcError> for Errors {
    fn from(error: RpcError) -> Self {
        vec![error]
    }
}
