//! What a certificate says of itself (RFC 5280, section 4.1.2). rustls verifies against a time, but does not say which
//! times a certificate allows.

use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::model::status::ServerCertificate;
use crate::model::xml::presentable;

/// A certificate that ends within this long is warned of.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);
/// Longest name that is kept (`server-certificate/subject` and `issuer` of the YANG module).
const LONGEST_NAME: usize = 1024;

/// `notBefore` since the epoch; `None` when it is no certificate or the date is before the epoch.
pub(super) fn not_before(der: &[u8]) -> Option<Duration> {
    let seconds = parse(der)?.validity().not_before.timestamp();
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// `notAfter`; `None` when it is no certificate.
pub fn not_after(der: &[u8]) -> Option<SystemTime> {
    date(parse(der)?.validity().not_after)
}

/// What is shown of a server's certificate; `None` when it is no certificate.
pub(super) fn server_certificate(der: &[u8]) -> Option<ServerCertificate> {
    let certificate = parse(der)?;
    Some(ServerCertificate {
        subject: presentable(&certificate.subject().to_string(), LONGEST_NAME),
        issuer: presentable(&certificate.issuer().to_string(), LONGEST_NAME),
        not_after: date(certificate.validity().not_after)?,
    })
}

/// Whether what is valid until then ends within [`ENDS_SOON`], or has ended.
pub fn ends_soon(not_after: SystemTime, now: SystemTime) -> bool {
    not_after
        .duration_since(now)
        .map_or(true, |left| left < ENDS_SOON)
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

fn date(time: ASN1Time) -> Option<SystemTime> {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    match time.timestamp() {
        0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
        _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(years: std::ops::Range<i32>, name: &str) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["cloud.example".into()]).unwrap();
        params.not_before = date_time_ymd(years.start, 2, 3);
        params.not_after = date_time_ymd(years.end, 1, 1);
        params.distinguished_name.push(DnType::CommonName, name);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn dates_of_both_forms_are_read() {
        let der = certificate(2031..2050, "cloud");
        assert_eq!(not_before(&der), Some(Duration::from_secs(1_927_843_200)));
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(2_524_608_000);
        assert_eq!(not_after(&der), Some(end));
        let der = certificate(1960..1969, "cloud");
        assert_eq!(not_before(&der), None);
        assert!(not_after(&der).unwrap() < SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_server_certificate_is_named_as_it_may_be_shown() {
        let long = format!("cloud\u{7}{}", "x".repeat(2 * LONGEST_NAME));
        let shown = server_certificate(&certificate(2026..2030, &long)).unwrap();
        assert!(shown.subject.contains("cloudxxx"), "{}", shown.subject);
        assert_eq!(shown.subject.chars().count(), LONGEST_NAME);
        assert_eq!(shown.issuer, shown.subject);
    }

    #[test]
    fn two_weeks_before_its_end_a_certificate_ends_soon() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        assert!(!ends_soon(end, end - ENDS_SOON));
        assert!(ends_soon(end, end - ENDS_SOON + Duration::from_secs(1)));
        assert!(ends_soon(end, end + ENDS_SOON));
    }

    proptest! {
        #[test]
        fn no_octets_make_the_reader_panic(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(server_certificate(&octets).is_none());
        }

        #[test]
        fn no_damage_makes_the_reader_panic(at in 0_usize..400, octet: u8, cut in 0_usize..400) {
            let mut der = certificate(2026..2030, "cloud");
            let cut = der.len().saturating_sub(cut);
            if let Some(one) = der.get_mut(at) {
                *one = octet;
            }
            der.truncate(cut);
            let read = server_certificate(&der);
            prop_assert!(read.is_none_or(|shown| shown.subject.chars().count() <= LONGEST_NAME));
        }
    }
}
