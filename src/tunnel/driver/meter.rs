//! What the tunnel adds to the metrics: read off the state before and after an event.

use std::time::Instant;

use metrics::{counter, histogram};

use crate::model::status::{CloudStatus, ConnectionState, DeviceState};

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
            if let (DeviceState::Waiting, Some(reason)) = (after.device, after.failure) {
                counter!("tether_tunnel_failures_total", "reason" => reason.as_yang()).increment(1);
            }
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
