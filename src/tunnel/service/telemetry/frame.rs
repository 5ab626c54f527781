//! The frames of the service: notifications in the JSON form of RFC 8040, section 6.4.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::model::date_and_time;

/// What stands inside a notification: one member, named `module:node` (RFC 7951, section 4).
pub(super) type Content = Map<String, Value>;

/// Reads what a data tree prints.
pub(super) fn content(json: &str) -> Option<Content> {
    match serde_json::from_str(json) {
        Ok(Value::Object(content)) if !content.is_empty() => Some(content),
        _ => None,
    }
}

/// `{"ietf-restconf:notification":{"eventTime":…, …}}`
pub(super) fn notification(at: SystemTime, mut content: Content) -> String {
    content.insert("eventTime".into(), date_and_time::milliseconds(at).into());
    json!({ "ietf-restconf:notification": content }).to_string()
}

/// A push-update (RFC 8641, section 3.7) without an `id`: no subscription drives it.
pub(super) fn push_update(at: SystemTime, contents: Content) -> String {
    let update = json!({ "datastore-contents": contents });
    let update = Content::from_iter([("ietf-yang-push:push-update".to_owned(), update)]);
    notification(at, update)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_notification_has_the_form_of_rfc_8040() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_798_761_600_250);
        let changed =
            r#"{"cloud-management:connection-state-changed":{"connection-state":"established"}}"#;
        let frame: Value =
            serde_json::from_str(&notification(at, content(changed).unwrap())).unwrap();
        let expected = json!({ "ietf-restconf:notification": {
            "eventTime": "2027-01-01T00:00:00.250Z",
            "cloud-management:connection-state-changed": { "connection-state": "established" },
        }});
        assert_eq!(frame, expected);
    }

    #[test]
    fn the_state_is_pushed_inside_a_push_update() {
        let state = content(r#"{"cloud-management:cloud-management":{"state":{}}}"#).unwrap();
        let frame: Value =
            serde_json::from_str(&push_update(SystemTime::UNIX_EPOCH, state)).unwrap();
        let expected = json!({ "ietf-restconf:notification": {
            "eventTime": "1970-01-01T00:00:00.000Z",
            "ietf-yang-push:push-update": { "datastore-contents": {
                "cloud-management:cloud-management": { "state": {} },
            }},
        }});
        assert_eq!(frame, expected);
    }

    #[test]
    fn what_is_no_object_is_no_content() {
        for json in ["", "[]", "{}", "1", "{\"a\":"] {
            assert_eq!(content(json), None, "{json}");
        }
    }
}
