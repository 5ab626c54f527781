//! The hello of RFC 6241, section 8.1: what both sides can do, and the framing that follows from it.

use quick_xml::escape::escape;

use super::framing::Framing;
use super::xml::{Document, Element, XmlError, write_leaf};
use crate::model::error::NETCONF_NAMESPACE;

/// NETCONF 1.0 (RFC 4741): end-of-message marks for the whole session.
pub const BASE_1_0: &str = "urn:ietf:params:netconf:base:1.0";
/// NETCONF 1.1 (RFC 6241): chunks after the hellos.
pub const BASE_1_1: &str = "urn:ietf:params:netconf:base:1.1";

/// Why a hello is not accepted; the session ends (RFC 6241, section 8.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It cannot be read.
    #[error("the hello is malformed: {0}")]
    Malformed(#[from] XmlError),
    /// Another element, such as an rpc before the hello, or a hello of another namespace.
    #[error("the first message is \"{name}\" of namespace \"{namespace}\", not a NETCONF hello")]
    NotAHello {
        /// Name of the root element.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// `<capabilities>` is missing, stands twice, or holds an element where a URI must be.
    #[error("the hello has no readable list of capabilities")]
    Capabilities,
    /// The two sides have no base version in common.
    #[error("the hello has neither base:1.0 nor base:1.1, or not the one that this side has")]
    NoCommonVersion,
    /// A session-id that is not a positive 32-bit number, or stands twice.
    #[error("the hello has a session-id that is no number from 1 to 4294967295")]
    SessionId,
    /// RFC 6241, section 8.1: a server that receives a session-id from its client ends the session.
    #[error("the hello of the client has a session-id")]
    SessionIdFromClient,
    /// RFC 6241, section 8.1: a server's hello has a session-id.
    #[error("the hello of the server has no session-id")]
    NoSessionId,
}

/// One side's hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Capability URIs, without the white space around them.
    pub capabilities: Vec<String>,
    /// The number of the session; servers send it, clients do not.
    pub session_id: Option<u32>,
}

impl Hello {
    /// Reads a hello. Elements beside those of RFC 6241 are ignored.
    ///
    /// # Errors
    /// It is no well-formed hello.
    pub fn parse(message: &[u8], depth: usize) -> Result<Self, HelloError> {
        let document = Document::parse(message, depth)?;
        let root = document.root();
        if !root.is(NETCONF_NAMESPACE, "hello") {
            let (name, namespace) = (root.name().to_owned(), root.namespace().to_owned());
            return Err(HelloError::NotAHello { name, namespace });
        }
        let mut capabilities = None;
        let mut session_id = None;
        for child in root.children() {
            if child.is(NETCONF_NAMESPACE, "capabilities") {
                if capabilities.replace(read_capabilities(&child)?).is_some() {
                    return Err(HelloError::Capabilities);
                }
            } else if child.is(NETCONF_NAMESPACE, "session-id")
                && session_id.replace(read_session_id(&child)?).is_some()
            {
                return Err(HelloError::SessionId);
            }
        }
        Ok(Self {
            capabilities: capabilities.ok_or(HelloError::Capabilities)?,
            session_id,
        })
    }

    /// The hello of a client, as a server reads it.
    ///
    /// # Errors
    /// It is no well-formed hello, or has a session-id.
    pub fn from_client(message: &[u8], depth: usize) -> Result<Self, HelloError> {
        let hello = Self::parse(message, depth)?;
        match hello.session_id {
            None => Ok(hello),
            Some(_) => Err(HelloError::SessionIdFromClient),
        }
    }

    /// The hello of a server, as a client reads it, and the number of the session.
    ///
    /// # Errors
    /// It is no well-formed hello, or has no session-id.
    pub fn from_server(message: &[u8], depth: usize) -> Result<(Self, u32), HelloError> {
        let hello = Self::parse(message, depth)?;
        let session = hello.session_id.ok_or(HelloError::NoSessionId)?;
        Ok((hello, session))
    }

    /// Whether a capability is announced, whatever its parameters (`?…`).
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities
            .iter()
            .any(|uri| uri.split('?').next() == Some(capability))
    }

    /// The framing after both hellos: chunks when both sides have base:1.1 (RFC 6242, section 4.1).
    ///
    /// # Errors
    /// The two have no base version in common.
    pub fn agree(&self, other: &Hello) -> Result<Framing, HelloError> {
        let both = |capability: &str| self.has(capability) && other.has(capability);
        if both(BASE_1_1) {
            Ok(Framing::Chunked)
        } else if both(BASE_1_0) {
            Ok(Framing::EndOfMessage)
        } else {
            Err(HelloError::NoCommonVersion)
        }
    }

    /// The message, without framing.
    pub fn write(&self) -> String {
        let mut xml = String::from(r#"<?xml version="1.0" encoding="UTF-8"?><hello xmlns=""#);
        xml.push_str(&escape(NETCONF_NAMESPACE));
        xml.push_str("\"><capabilities>");
        for capability in &self.capabilities {
            write_leaf(&mut xml, "capability", capability);
        }
        xml.push_str("</capabilities>");
        if let Some(session) = self.session_id {
            write_leaf(&mut xml, "session-id", &session.to_string());
        }
        xml.push_str("</hello>");
        xml
    }
}

fn read_capabilities(list: &Element<'_>) -> Result<Vec<String>, HelloError> {
    list.children()
        .filter(|child| child.is(NETCONF_NAMESPACE, "capability"))
        .map(|child| {
            child
                .leaf_text()
                .map(|uri| uri.trim().to_owned())
                .ok_or(HelloError::Capabilities)
        })
        .collect()
}

fn read_session_id(leaf: &Element<'_>) -> Result<u32, HelloError> {
    let number = leaf.leaf_text().and_then(|text| text.trim().parse().ok());
    number
        .filter(|number| *number > 0)
        .ok_or(HelloError::SessionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPTH: usize = 256;

    fn hello(capabilities: &[&str]) -> Hello {
        Hello {
            capabilities: capabilities.iter().map(|uri| (*uri).to_owned()).collect(),
            session_id: None,
        }
    }

    fn read(xml: &str) -> Result<Hello, HelloError> {
        Hello::from_client(xml.as_bytes(), DEPTH)
    }

    #[test]
    fn what_is_written_can_be_read() {
        let hello = Hello {
            capabilities: vec![BASE_1_1.into(), "urn:x?module=x&revision=1".into()],
            session_id: Some(4),
        };
        assert_eq!(
            Hello::from_server(hello.write().as_bytes(), DEPTH),
            Ok((hello.clone(), 4))
        );
        assert!(hello.has("urn:x"));
    }

    #[test]
    fn a_hello_may_come_with_any_prefix_and_without_a_declaration() {
        let xml = format!(
            "<nc:hello xmlns:nc='{NETCONF_NAMESPACE}'>\n <nc:capabilities><nc:capability>\n {BASE_1_0}\n </nc:capability></nc:capabilities></nc:hello>\n"
        );
        assert_eq!(read(&xml), Ok(hello(&[BASE_1_0])));
        let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}");
        assert_eq!(read(&declared), Ok(hello(&[BASE_1_0])));
    }

    #[test]
    fn unknown_elements_in_a_hello_are_ignored() {
        let xml = format!(
            "<hello xmlns='{NETCONF_NAMESPACE}'><extra xmlns='urn:x'/><capabilities><capability>{BASE_1_0}</capability><x/></capabilities><y>1</y></hello>"
        );
        assert_eq!(read(&xml), Ok(hello(&[BASE_1_0])));
    }

    #[test]
    fn a_client_with_a_session_id_is_refused() {
        let xml = Hello {
            session_id: Some(7),
            ..hello(&[BASE_1_0])
        }
        .write();
        assert_eq!(read(&xml), Err(HelloError::SessionIdFromClient));
        assert_eq!(
            Hello::from_server(hello(&[]).write().as_bytes(), DEPTH),
            Err(HelloError::NoSessionId)
        );
    }

    #[test]
    fn what_is_not_a_hello_is_refused() {
        let other = |xml: &str| matches!(read(xml), Err(HelloError::NotAHello { .. }));
        assert!(other("<hello><capabilities/></hello>"));
        assert!(other(
            "<hello xmlns='urn:ietf:params:xml:ns:netconf:base:1.1'><capabilities/></hello>"
        ));
        assert!(other(&format!(
            "<rpc xmlns='{NETCONF_NAMESPACE}' message-id='1'><get/></rpc>"
        )));
        assert!(matches!(read("<hello"), Err(HelloError::Malformed(_))));
        assert_eq!(
            read(&format!("<hello xmlns='{NETCONF_NAMESPACE}'/>")),
            Err(HelloError::Capabilities)
        );
        let nested = format!(
            "<hello xmlns='{NETCONF_NAMESPACE}'><capabilities><capability><a/></capability></capabilities></hello>"
        );
        assert_eq!(read(&nested), Err(HelloError::Capabilities));
    }

    #[test]
    fn the_framing_is_that_of_the_highest_common_version() {
        let ours = hello(&[BASE_1_0, BASE_1_1]);
        assert_eq!(
            ours.agree(&hello(&[BASE_1_0, BASE_1_1])),
            Ok(Framing::Chunked)
        );
        assert_eq!(ours.agree(&hello(&[BASE_1_1])), Ok(Framing::Chunked));
        assert_eq!(ours.agree(&hello(&[BASE_1_0])), Ok(Framing::EndOfMessage));
        assert_eq!(
            ours.agree(&hello(&["urn:x"])),
            Err(HelloError::NoCommonVersion)
        );
        assert_eq!(
            ours.agree(&hello(&["urn:ietf:params:netconf:base:1.2"])),
            Err(HelloError::NoCommonVersion)
        );
        assert_eq!(
            hello(&[BASE_1_0]).agree(&hello(&[BASE_1_1])),
            Err(HelloError::NoCommonVersion)
        );
    }
}
