//! The log of the way to the cloud, step by step. The address and port of the server are told, and nothing that is secret.

use tracing::{debug, info};

use crate::model::status::{CloudStatus, DeviceState};

/// Tells what is another step now, or another failure.
pub(super) fn tell(before: &CloudStatus, now: &CloudStatus) {
    let step = |status: &CloudStatus| (status.device, status.process, status.server.clone());
    let server = now.server.as_ref();
    let (domain, port) = (
        server.map(|server| server.domain.as_str()),
        server.map(|server| server.port),
    );
    if step(before) != step(now) {
        let address = server.and_then(|server| server.address);
        debug!(
            device_state = now.device.as_yang(),
            process_state = now.process.as_yang(),
            domain,
            address = address.map(tracing::field::display),
            port,
            attempts = now.attempts,
            "a step of the cloud connection"
        );
    }
    // The reason of the last failure stays while the next attempt is under way.
    let waits = |status: &CloudStatus| status.device == DeviceState::Waiting;
    if let Some(failure) = now.failure
        && (before.failure != now.failure || waits(now) && !waits(before))
    {
        let reason = failure.as_yang();
        info!(
            reason,
            domain,
            port,
            attempts = now.attempts,
            "an attempt to reach the cloud failed"
        );
    }
}
