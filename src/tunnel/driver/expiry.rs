//! Warns in time of certificates that end: when a connection begins, and each day while it stands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Interval, interval};
use tracing::warn;

use crate::model::date_and_time;
use crate::model::status::ServerCertificate;
use crate::tunnel::net::{ends_soon, not_after};

/// How often is looked at the date.
const EVERY: Duration = Duration::from_secs(86_400);

/// The certificates that one connection lives by.
pub(super) struct Expiry {
    certificate: Option<ServerCertificate>,
    trust: Arc<BTreeSet<Vec<u8>>>,
    clock: fn() -> SystemTime,
    due: Interval,
}

/// What is warned of.
#[derive(Debug, PartialEq, Eq)]
enum Ending<'a> {
    Server(&'a ServerCertificate),
    /// Until when the anchor is valid. TLS does not ask for that (RFC 5280, section 6.1.1), people do.
    Anchor(SystemTime),
}

impl Expiry {
    pub fn new(
        certificate: Option<ServerCertificate>,
        trust: Arc<BTreeSet<Vec<u8>>>,
        clock: fn() -> SystemTime,
    ) -> Self {
        Self {
            certificate,
            trust,
            clock,
            due: interval(EVERY),
        }
    }

    /// Waits until it is time to look, at once the first time, and warns. Safe to cancel.
    pub async fn watch(&mut self) {
        self.due.tick().await;
        for ending in self.ending((self.clock)()) {
            match ending {
                Ending::Server(certificate) => warn!(
                    subject = certificate.subject,
                    issuer = certificate.issuer,
                    not_after = date_and_time::seconds(certificate.not_after),
                    "the certificate of the cloud in use ends soon"
                ),
                Ending::Anchor(not_after) => {
                    warn!(
                        not_after = date_and_time::seconds(not_after),
                        "a configured trust anchor ends soon"
                    );
                }
            }
        }
    }

    fn ending(&self, now: SystemTime) -> Vec<Ending<'_>> {
        let server = self.certificate.iter();
        let server = server
            .filter(|certificate| ends_soon(certificate.not_after, now))
            .map(Ending::Server);
        let anchors = self.trust.iter().filter_map(|anchor| not_after(anchor));
        let anchors = anchors
            .filter(|not_after| ends_soon(*not_after, now))
            .map(Ending::Anchor);
        server.chain(anchors).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// The end of 2029.
    fn end() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000)
    }

    fn expiry(clock: fn() -> SystemTime) -> Expiry {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["ca".into()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let anchor = params.self_signed(&key).unwrap().der().to_vec();
        let certificate = ServerCertificate {
            subject: String::new(),
            issuer: "CN=ca".into(),
            not_after: end(),
        };
        Expiry::new(Some(certificate), Arc::new(BTreeSet::from([anchor])), clock)
    }

    #[tokio::test]
    async fn what_ends_within_14_days_is_warned_of() {
        let expiry = expiry(SystemTime::now);
        let endings = |now| expiry.ending(now).len();
        assert_eq!(endings(end() - 15 * DAY), 0);
        assert_eq!(expiry.ending(end() - 13 * DAY).len(), 1);
        assert!(matches!(
            expiry.ending(end())[..],
            [Ending::Server(certificate)] if certificate.issuer == "CN=ca"
        ));
        assert_eq!(endings(end() + 360 * DAY), 2);
        assert_eq!(
            endings(SystemTime::UNIX_EPOCH),
            0,
            "an unset clock says nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_date_is_looked_at_when_the_connection_begins_and_each_day() {
        let mut expiry = expiry(SystemTime::now);
        let begun = tokio::time::Instant::now();
        expiry.watch().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        expiry.watch().await;
        assert_eq!(begun.elapsed(), DAY);
    }
}
