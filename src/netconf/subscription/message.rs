//! `<notification>` messages (RFC 5277, section 4).

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

/// The message of an event.
pub fn write(at: SystemTime, content: &str) -> String {
    let at = DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true);
    format!(
        "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>{at}</eventTime>{content}</notification>"
    )
}

pub(super) fn replay_complete() -> String {
    own("replayComplete")
}

pub(super) fn notification_complete() -> String {
    own("notificationComplete")
}

/// Those of the subscription itself, which no access control holds back (RFC 8341, section 3.4.6).
fn own(name: &str) -> String {
    let content = format!("<{name} xmlns=\"urn:ietf:params:xml:ns:netmod:notification\"/>");
    write(SystemTime::now(), &content)
}
