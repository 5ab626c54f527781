//! What a client is told, and what can go wrong on the way.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::model::error::{ErrorTag, NETCONF_NAMESPACE};
use crate::protocol::framing::FramingError;
use crate::protocol::hello::HelloError;
use crate::protocol::xml::{Element, XmlError};

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's `<rpc-error>`s, at least one.
    #[error("{}", sentences(.0))]
    Refused(Vec<ReportedError>),
    /// No hello or reply in time.
    #[error("the server has not answered within {0:?}")]
    Deadline(Duration),
    /// The stream failed or ended.
    #[error("the connection to the server failed: {0}")]
    Stream(#[from] io::Error),
    /// The server breaks the framing.
    #[error("the server breaks the framing: {0}")]
    Framing(#[from] FramingError),
    /// The server's hello is not acceptable.
    #[error("the server's hello: {0}")]
    Hello(#[from] HelloError),
    /// A reply that is no XML.
    #[error("the server's reply is malformed: {0}")]
    Malformed(#[from] XmlError),
    /// Something else where a reply or its content must be.
    #[error("the server sent \"{name}\" where a reply must be")]
    NotAReply {
        /// The element.
        name: String,
    },
    /// The reply to another request.
    #[error("the server answered request {found:?}, not {expected}")]
    WrongReply {
        /// The request that was sent.
        expected: u64,
        /// The one that was answered.
        found: Option<String>,
    },
    /// A reply whose namespace declarations cannot be told apart within reason.
    #[error("the server's reply is too big")]
    TooBig,
}

/// One `<rpc-error>` (RFC 6241, section 4.3), as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedError {
    /// `error-type`.
    pub error_type: String,
    /// `error-tag`.
    pub tag: String,
    /// `error-severity`.
    pub severity: String,
    /// `error-app-tag`.
    pub app_tag: Option<String>,
    /// `error-path`.
    pub path: Option<String>,
    /// `error-message`.
    pub message: Option<String>,
    /// Name and text of each element of `error-info` that holds text.
    pub info: Vec<(String, String)>,
}

impl ReportedError {
    /// Reads an element of a reply; `None` if it is no `<rpc-error>`.
    pub(super) fn read(element: &Element<'_>) -> Option<Self> {
        if !element.is(NETCONF_NAMESPACE, "rpc-error") {
            return None;
        }
        let mut error = Self::default();
        for child in element
            .children()
            .filter(|child| child.namespace() == NETCONF_NAMESPACE)
        {
            let text = child.leaf_text().map(|text| text.trim().to_owned());
            match child.name() {
                "error-type" => error.error_type = text.unwrap_or_default(),
                "error-tag" => error.tag = text.unwrap_or_default(),
                "error-severity" => error.severity = text.unwrap_or_default(),
                "error-app-tag" => error.app_tag = text,
                "error-path" => error.path = text,
                "error-message" => error.message = text,
                "error-info" => error.info = read_info(&child),
                _ => {}
            }
        }
        Some(error)
    }

    /// The tag, if it is one of RFC 6241.
    pub fn known_tag(&self) -> Option<ErrorTag> {
        ErrorTag::parse(&self.tag)
    }
}

fn read_info(info: &Element<'_>) -> Vec<(String, String)> {
    info.children()
        .filter_map(|child| Some((child.name().to_owned(), child.leaf_text()?)))
        .collect()
}

impl fmt::Display for ReportedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message.as_deref().unwrap_or(&self.tag))?;
        match &self.path {
            Some(path) => write!(f, " (at {path})"),
            None => Ok(()),
        }
    }
}

fn sentences(errors: &[ReportedError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
