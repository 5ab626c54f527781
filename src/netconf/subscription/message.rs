//! `<notification>` messages (RFC 5277, section 4), and those that tell a subscriber of the subscription itself.

use std::time::SystemTime;

use crate::model::date_and_time;
use crate::protocol::xml::write_leaf;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications";

/// The message of an event.
pub fn write(at: SystemTime, content: &str) -> String {
    let at = date_and_time::milliseconds(at);
    format!(
        "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>{at}</eventTime>{content}</notification>"
    )
}

/// That all events of the past were sent: RFC 5277, section 3.3.1, or for a subscription with a number RFC 8639, section
/// 2.7.5. No access control holds such a message back (RFC 8341, section 3.4.6).
pub(super) fn replay_complete(id: Option<u32>) -> String {
    match id {
        Some(id) => of_subscription("replay-completed", id, ""),
        None => own("replayComplete"),
    }
}

/// That a subscription has ended (RFC 5277, section 3.3.1).
pub(super) fn notification_complete() -> String {
    own("notificationComplete")
}

/// That a subscription was ended by the server (RFC 8639, section 2.7.3); the reason is an identity of that module.
pub(super) fn terminated(id: u32, reason: &str) -> String {
    let mut content = String::new();
    write_leaf(&mut content, "reason", reason);
    of_subscription("subscription-terminated", id, &content)
}

/// The same for a reason that is an identity of another module, here of a namespace.
pub(super) fn terminated_by(id: u32, namespace: &str, reason: &str) -> String {
    of_subscription("subscription-terminated", id, &foreign(namespace, reason))
}

/// That a subscription is suspended (RFC 8639, section 2.7.5), for a reason that is an identity of a namespace.
pub(super) fn suspended(id: u32, namespace: &str, reason: &str) -> String {
    of_subscription("subscription-suspended", id, &foreign(namespace, reason))
}

fn foreign(namespace: &str, reason: &str) -> String {
    format!("<reason xmlns:of=\"{namespace}\">of:{reason}</reason>")
}

/// What a subscription has become (RFC 8639, section 2.7.2); `terms` are the elements of its target and filter.
pub(super) fn modified(id: u32, terms: &str, stop: Option<SystemTime>) -> String {
    let mut content = String::from(terms);
    if let Some(stop) = stop {
        write_leaf(
            &mut content,
            "stop-time",
            &date_and_time::milliseconds(stop),
        );
    }
    of_subscription("subscription-modified", id, &content)
}

fn of_subscription(name: &str, id: u32, content: &str) -> String {
    let content = format!("<{name} xmlns=\"{NAMESPACE}\"><id>{id}</id>{content}</{name}>");
    write(SystemTime::now(), &content)
}

fn own(name: &str) -> String {
    let content = format!("<{name} xmlns=\"urn:ietf:params:xml:ns:netmod:notification\"/>");
    write(SystemTime::now(), &content)
}
