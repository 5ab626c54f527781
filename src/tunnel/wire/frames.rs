//! Messages on the main connection: text frames of one JSON object with a `type`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use super::json::Object;
use super::{CloudUrl, MAX_MAIN_MESSAGE, WireError};
use crate::model::settings::Secret;

/// The longest wait that a `disconnect` can ask for.
const MAX_DISCONNECT_WAIT: Duration = Duration::from_secs(3600);

/// What the device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceMessage {
    /// Each keepalive interval.
    Keepalive {
        /// From 1 on each connection, rising by one.
        sequence: u64,
    },
    /// Asks for the list of subconnection URLs (step 7).
    SubconnectionsRequest {
        /// The services that are registered, when one came later than the handshake.
        services: Option<Vec<String>>,
    },
    /// Sends a verification code for unbinding.
    Unbind {
        /// The code.
        code: Secret,
        /// One for each commit or action, rising; the answer echoes it.
        id: u64,
    },
}

impl DeviceMessage {
    /// The text of the frame; wiped on drop, since it may hold the unbinding code.
    pub fn to_json(&self) -> Zeroizing<String> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "kebab-case")]
        enum Frame<'a> {
            Keepalive {
                sequence: u64,
            },
            SubconnectionsRequest {
                #[serde(skip_serializing_if = "Option::is_none")]
                services: Option<&'a [String]>,
            },
            Unbind {
                code: &'a str,
                id: u64,
            },
        }
        let frame = match self {
            Self::Keepalive { sequence } => Frame::Keepalive {
                sequence: *sequence,
            },
            Self::SubconnectionsRequest { services } => Frame::SubconnectionsRequest {
                services: services.as_deref(),
            },
            Self::Unbind { code, id } => Frame::Unbind {
                code: code.reveal(),
                id: *id,
            },
        };
        // Writing strings and numbers into memory cannot fail.
        Zeroizing::new(serde_json::to_string(&frame).unwrap_or_default())
    }
}

/// One entry of the subconnection list (step 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Name of the service, which may be unknown here.
    pub service: String,
    /// Where the service opens its own connection.
    pub url: CloudUrl,
}

/// The cloud's word on an unbinding code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnbindAnswer {
    /// The device is unbound.
    Accepted,
    /// It is not.
    Refused {
        /// The cloud's word, e.g. `code-invalid`.
        reason: String,
    },
}

/// What the cloud says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudMessage {
    /// Answer to a keepalive; a wrong sequence proves life but answers nothing.
    KeepaliveReply {
        /// The sequence of the keepalive.
        sequence: u64,
    },
    /// The list of subconnections, which replaces the one before; no service stands in it twice.
    Subconnections(Vec<Listed>),
    /// Answer to an unbinding code.
    UnbindResult {
        /// The `id` of the request.
        id: u64,
        /// Accepted or not.
        answer: UnbindAnswer,
    },
    /// The cloud drains: close at once, come back no earlier than this.
    Disconnect {
        /// The cloud's word, for the log.
        reason: String,
        /// At most 3600 s.
        retry_after: Duration,
    },
    /// A type that this version does not know: ignored and counted.
    Unknown,
}

impl CloudMessage {
    /// Reads one text frame. An error is answered by close 1002 (1009 for [`WireError::TooLarge`]).
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let message = Object::parse(text.as_bytes(), MAX_MAIN_MESSAGE)?;
        match message.text("type")? {
            "keepalive-reply" => Ok(Self::KeepaliveReply {
                sequence: message.number("sequence")?,
            }),
            "subconnections" => Ok(Self::Subconnections(list(&message)?)),
            "unbind-result" => Ok(Self::UnbindResult {
                id: message.number("id")?,
                answer: unbind_answer(&message)?,
            }),
            "disconnect" => Ok(Self::Disconnect {
                reason: message.text("reason")?.to_owned(),
                retry_after: Duration::from_secs(message.number("retry-after")?)
                    .min(MAX_DISCONNECT_WAIT),
            }),
            _ => Ok(Self::Unknown),
        }
    }
}

fn list(message: &Object) -> Result<Vec<Listed>, WireError> {
    let mut seen = BTreeSet::new();
    let mut listed = Vec::new();
    for entry in message.array("services")? {
        let entry = Object::from_value(entry, "services")?;
        let service = entry.text("service")?.to_owned();
        if !seen.insert(service.clone()) {
            return Err(WireError::ListedTwice(service));
        }
        let url = entry.text("url")?.parse()?;
        listed.push(Listed { service, url });
    }
    Ok(listed)
}

fn unbind_answer(message: &Object) -> Result<UnbindAnswer, WireError> {
    match message.text("result")? {
        "success" => Ok(UnbindAnswer::Accepted),
        "failure" => Ok(UnbindAnswer::Refused {
            reason: message.text("reason")?.to_owned(),
        }),
        _ => Err(WireError::IllTyped("result")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_device_says_is_that_of_the_page() {
        let cases = [
            (
                DeviceMessage::Keepalive { sequence: 7 },
                r#"{"type":"keepalive","sequence":7}"#,
            ),
            (
                DeviceMessage::SubconnectionsRequest { services: None },
                r#"{"type":"subconnections-request"}"#,
            ),
            (
                DeviceMessage::SubconnectionsRequest {
                    services: Some(vec!["netconf".into()]),
                },
                r#"{"type":"subconnections-request","services":["netconf"]}"#,
            ),
            (
                DeviceMessage::Unbind {
                    code: Secret::new("4711"),
                    id: 1,
                },
                r#"{"type":"unbind","code":"4711","id":1}"#,
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(*message.to_json(), expected);
        }
    }

    #[test]
    fn the_list_is_read_with_its_urls() {
        let text = r#"{"type":"subconnections","services":[{"service":"netconf","url":"wss://c/n"},
            {"service":"telemetry","url":"wss://c/t"}]}"#;
        let Ok(CloudMessage::Subconnections(list)) = CloudMessage::parse(text) else {
            panic!("not a list");
        };
        assert_eq!(list.len(), 2);
        assert_eq!(list[1].service, "telemetry");
        assert_eq!(list[1].url.target(), "/t");
    }

    #[test]
    fn a_service_listed_twice_breaks_the_protocol() {
        let text = r#"{"type":"subconnections","services":[{"service":"a","url":"wss://c/1"},
            {"service":"a","url":"wss://c/2"}]}"#;
        assert_eq!(
            CloudMessage::parse(text),
            Err(WireError::ListedTwice("a".into()))
        );
    }

    #[test]
    fn an_unknown_type_is_ignored_and_no_type_is_an_error() {
        assert_eq!(
            CloudMessage::parse(r#"{"type":"weather"}"#),
            Ok(CloudMessage::Unknown)
        );
        assert_eq!(CloudMessage::parse("{}"), Err(WireError::Missing("type")));
        assert_eq!(
            CloudMessage::parse(r#"{"type":1}"#),
            Err(WireError::IllTyped("type"))
        );
    }

    #[test]
    fn a_disconnect_asks_for_an_hour_at_most() {
        let text = r#"{"type":"disconnect","reason":"drain","retry-after":18446744073709551615}"#;
        assert_eq!(
            CloudMessage::parse(text),
            Ok(CloudMessage::Disconnect {
                reason: "drain".into(),
                retry_after: MAX_DISCONNECT_WAIT,
            })
        );
        let fraction = r#"{"type":"disconnect","reason":"drain","retry-after":1.5}"#;
        assert_eq!(
            CloudMessage::parse(fraction),
            Err(WireError::IllTyped("retry-after"))
        );
    }

    #[test]
    fn an_unbinding_answer_says_success_or_why_not() {
        assert_eq!(
            CloudMessage::parse(r#"{"type":"unbind-result","id":1,"result":"success"}"#),
            Ok(CloudMessage::UnbindResult {
                id: 1,
                answer: UnbindAnswer::Accepted
            })
        );
        assert_eq!(
            CloudMessage::parse(r#"{"type":"unbind-result","id":1,"result":"failure"}"#),
            Err(WireError::Missing("reason"))
        );
    }

    #[test]
    fn a_deep_document_is_refused_without_a_crash() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(20_000), "1");
        assert_eq!(CloudMessage::parse(&deep), Err(WireError::NotAnObject));
    }

    #[test]
    fn the_code_is_not_in_the_debug_form() {
        let message = DeviceMessage::Unbind {
            code: Secret::new("4711"),
            id: 1,
        };
        assert!(!format!("{message:?}").contains("4711"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = CloudMessage::parse(&text);
        }

        #[test]
        fn no_value_of_a_known_member_makes_the_reader_panic(
            kind in "keepalive-reply|subconnections|unbind-result|disconnect",
            value in r#"[0-9]{1,30}|-1|"x"|\[\]|\[1\]|\[\{\}\]|null|\{\}|1e999"#,
        ) {
            let _ = CloudMessage::parse(&format!(
                r#"{{"type":"{kind}","sequence":{value},"services":{value},"id":{value},"retry-after":{value}}}"#
            ));
        }
    }
}
