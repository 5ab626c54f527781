//! The date from which a certificate is valid (RFC 5280, section 4.1.2.5), read from its DER form.
//!
//! rustls verifies against a time but does not say which times a certificate allows.

use std::time::Duration;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notBefore` since the epoch; `None` when the certificate is not well-formed or the date is before the epoch.
pub(super) fn not_before(certificate: &[u8]) -> Option<Duration> {
    let (_, certificate, _) = element(certificate, Some(SEQUENCE))?;
    let (_, tbs, _) = element(certificate, Some(SEQUENCE))?;
    let rest = match element(tbs, Some(VERSION)) {
        Some((_, _, rest)) => rest,
        None => tbs,
    };
    let (_, _, rest) = element(rest, Some(INTEGER))?;
    let (_, _, rest) = element(rest, Some(SEQUENCE))?; // signature algorithm
    let (_, _, rest) = element(rest, Some(SEQUENCE))?; // issuer
    let (_, validity, _) = element(rest, Some(SEQUENCE))?;
    let (tag, date, _) = element(validity, None)?;
    seconds(tag, date).map(Duration::from_secs)
}

/// Tag, content and what follows the first element.
fn element(der: &[u8], expected: Option<u8>) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if expected.is_some_and(|expected| expected != tag) {
        return None;
    }
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // A TLS certificate is shorter than 2^24 octets.
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 3 {
            return None;
        }
        let (length, rest) = rest.split_at_checked(octets)?;
        let length = length
            .iter()
            .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, sections 4.1.2.5.1 and 4.1.2.5.2).
fn seconds(tag: u8, date: &[u8]) -> Option<u64> {
    let digits = date.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || year < 1970 {
        return None;
    }
    let mut fields = rest.chunks(2).map(number);
    let mut field = |range: std::ops::RangeInclusive<u64>| {
        fields
            .next()
            .flatten()
            .filter(|value| range.contains(value))
    };
    let (month, day) = (field(1..=12)?, field(1..=31)?);
    let (hour, minute, second) = (field(0..=23)?, field(0..=59)?, field(0..=59)?);
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

/// Days since 1970-01-01 in the Gregorian calendar; the year counts from March, so that a leap day is its last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    let before_month = (153 * month + 2) / 5;
    // 719_468 days lie between 0000-03-01 and 1970-01-01.
    before_year + before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_of_both_forms_are_read() {
        assert_eq!(seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, b"261101000000Z"), Some(1_793_491_200));
        assert_eq!(
            seconds(GENERALIZED_TIME, b"20240229235959Z"),
            Some(1_709_251_199)
        );
        assert_eq!(
            seconds(GENERALIZED_TIME, b"20500101000000Z"),
            Some(2_524_608_000)
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for date in [
            &b"261301000000Z"[..],
            b"260001000000Z",
            b"260101240000Z",
            b"260101000000",
            b"2601010000Z",
            b"26010100000xZ",
            b"500101000000Z",
            b"",
        ] {
            assert_eq!(seconds(UTC_TIME, date), None);
        }
    }

    #[test]
    fn a_certificate_tells_its_date() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["cloud.example".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2031, 2, 3);
        let certificate = params.self_signed(&key).unwrap();
        let date = not_before(certificate.der()).unwrap();
        assert_eq!(date, Duration::from_secs(1_927_843_200));
    }

    proptest! {
        #[test]
        fn no_octets_make_the_reader_panic(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = not_before(&octets);
        }

        #[test]
        fn no_date_makes_the_reader_panic(date in "[0-9]{10,16}Z", long in any::<bool>()) {
            let _ = seconds(if long { GENERALIZED_TIME } else { UTC_TIME }, date.as_bytes());
        }
    }
}
