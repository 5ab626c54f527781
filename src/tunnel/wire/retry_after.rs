//! `Retry-After` (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

/// The longest wait that a cloud can ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Reads seconds or an HTTP date, relative to `now`, cut to [`MAX_RETRY_AFTER`]; a date in the past is no wait.
///
/// `now` should be the `Date` of the same answer where it has one, so that a device whose clock is unset waits
/// as long as one whose clock is right. What cannot be read counts as absent.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are still a number, and one above the cap.
        let seconds = value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs);
        return Some(seconds.min(MAX_RETRY_AFTER));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let wait = date.duration_since(now).unwrap_or(Duration::ZERO);
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn seconds_are_taken_up_to_a_day() {
        let now = at(0);
        assert_eq!(retry_after("0", now), Some(Duration::ZERO));
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("86401", now), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after(&"9".repeat(40), now), Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn a_date_is_relative_to_now() {
        // Thu, 01 Jan 1970 00:02:00 GMT is 120 s after the epoch.
        let date = "Thu, 01 Jan 1970 00:02:00 GMT";
        assert_eq!(retry_after(date, at(60)), Some(Duration::from_secs(60)));
        assert_eq!(retry_after(date, at(121)), Some(Duration::ZERO));
        assert_eq!(
            retry_after("Fri, 31 Dec 9999 23:59:59 GMT", at(0)),
            Some(MAX_RETRY_AFTER)
        );
    }

    #[test]
    fn what_cannot_be_read_counts_as_absent() {
        for value in ["", "-1", "+5", "1.5", "soon", "12 34", "0x10"] {
            assert_eq!(retry_after(value, at(0)), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic(value in ".{0,60}", now in 0_u64..1 << 40) {
            let _ = retry_after(&value, at(now));
        }

        #[test]
        fn no_date_makes_the_reader_panic(
            value in "(Mon|Sun), [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        ) {
            let _ = retry_after(&value, at(1 << 31));
        }
    }
}
