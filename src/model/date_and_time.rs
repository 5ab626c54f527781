//! `yang:date-and-time` (RFC 6991, section 3), always in UTC.

use chrono::{DateTime, SecondsFormat, Utc};

/// To the second.
pub fn seconds(at: impl Into<DateTime<Utc>>) -> String {
    at.into().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// To the millisecond: the time of an event.
pub fn milliseconds(at: impl Into<DateTime<Utc>>) -> String {
    at.into().to_rfc3339_opts(SecondsFormat::Millis, true)
}
