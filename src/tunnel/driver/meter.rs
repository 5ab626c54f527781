//! What the tunnel adds to the metrics: read off the state before and after an event.

use std::time::Instant;

use metrics::{counter, histogram};

use crate::model::status::{CloudStatus, ConnectionState};
use crate::tunnel::machine::{Failure, Line};

/// Measures how long states last.
pub(super) struct Meter {
    since: Instant,
}

impl Meter {
    pub fn new(now: Instant) -> Self {
        Self { since: now }
    }

    /// What has become of the tunnel.
    pub fn observe(&mut self, before: &CloudStatus, after: &CloudStatus, now: Instant) {
        if before.device != after.device {
            let took = now.saturating_duration_since(self.since);
            histogram!("tether_tunnel_step_duration_seconds", "state" => before.device.as_yang())
                .record(took);
            self.since = now;
        }
        let stands = |status: &CloudStatus| status.connection == ConnectionState::Established;
        if stands(after) && after.connected_at != before.connected_at {
            counter!("tether_tunnel_establishments_total").increment(1);
        }
        if stands(before)
            && after.connected_at != before.connected_at
            && let Some(down) = after.last_down
        {
            counter!("tether_tunnel_downs_total", "reason" => down.reason.as_yang()).increment(1);
        }
        keepalives(before, after);
    }
}

/// Counts an attempt that failed; a probe is none.
pub(super) fn failed(failure: &Failure) {
    if failure.line == Line::Main {
        let reason = failure.reason.as_yang();
        counter!("tether_tunnel_failures_total", "reason" => reason).increment(1);
    }
}

/// The counters of the state are those of one connection and begin anew with the next.
fn keepalives(before: &CloudStatus, after: &CloudStatus) {
    let (before, after) = (before.keepalives, after.keepalives);
    for (outcome, before, after) in [
        ("sent", before.sent, after.sent),
        ("answered", before.answered, after.answered),
        ("missed", before.missed, after.missed),
    ] {
        let more = after.checked_sub(before).unwrap_or(after);
        counter!("tether_keepalives_total", "outcome" => outcome).increment(more);
    }
    if after.answered > before.answered
        && let Some(took) = after.round_trip_time
    {
        histogram!("tether_keepalive_round_trip_seconds").record(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::{FailureReason, ServerStatus};

    #[test]
    fn every_attempt_that_failed_counts_by_its_reason_and_a_probe_does_not() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let attempts = [
            (Line::Main, FailureReason::PasswordRefused),
            (Line::Main, FailureReason::ConnectFailed),
            (Line::Main, FailureReason::PasswordRefused),
            (Line::Probe, FailureReason::Timeout),
        ];
        metrics::with_local_recorder(&recorder, || {
            for (line, reason) in attempts {
                let server = ServerStatus {
                    domain: "cloud.com".into(),
                    address: None,
                    port: 443,
                };
                failed(&Failure {
                    line,
                    server,
                    reason,
                });
            }
        });
        let text = recorder.handle().render();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut samples: Vec<_> = samples.filter(|line| !line.is_empty()).collect();
        samples.sort_unstable();
        assert_eq!(
            samples,
            [
                "tether_tunnel_failures_total{reason=\"connect-failed\"} 1",
                "tether_tunnel_failures_total{reason=\"password-refused\"} 2",
            ]
        );
    }
}
