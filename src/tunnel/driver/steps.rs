//! The log of the way to the cloud, step by step. The address and port of the server are told, and nothing that is secret.

use tracing::field::display;
use tracing::{Level, debug, event, info, warn};

use crate::model::status::{CloudStatus, ServerStatus};
use crate::tunnel::machine::{Failure, Line, Notification};

/// Tells what is another step now.
pub(super) fn tell(before: &CloudStatus, now: &CloudStatus) {
    let step = |status: &CloudStatus| (status.device, status.process, status.server.clone());
    if step(before) == step(now) {
        return;
    }
    let server = now.server.as_ref();
    debug!(
        device_state = now.device.as_yang(),
        process_state = now.process.as_yang(),
        domain = server.map(|server| server.domain.as_str()),
        address = server.and_then(|server| server.address).map(display),
        port = server.map(|server| server.port),
        attempts = now.attempts,
        "a step of the cloud connection"
    );
}

/// Tells of an attempt that failed, or of a probe.
pub(super) fn failed(failure: &Failure) {
    let Failure {
        line,
        server,
        reason,
    } = failure;
    let what = match line {
        Line::Main => "an attempt to reach the cloud failed",
        Line::Probe => "a probe of the primary failed",
    };
    info!(
        reason = reason.as_yang(),
        domain = server.domain,
        address = server.address.map(display),
        port = server.port,
        "{what}"
    );
}

/// Tells what subscribers are told, under the names of the model. A loss and an outage are warnings.
pub(in crate::tunnel) fn announced(told: &Notification) {
    match told {
        Notification::ConnectionStateChanged { .. } => connection(told),
        Notification::SubconnectionStateChanged {
            service,
            previous,
            state,
            failure,
            ..
        } => info!(
            service,
            previous_state = previous.map(|state| state.as_yang()),
            state = state.as_yang(),
            failure_reason = failure.map(|reason| reason.as_yang()),
            "subconnection-state-changed"
        ),
        Notification::UnbindingAnswered { id, state, reason } => {
            info!(
                id,
                result = state.as_yang(),
                reason = reason.as_deref(),
                "unbinding-answered"
            );
        }
        Notification::AllServersFailed {
            attempts, servers, ..
        } => {
            let failed = servers.iter().map(|(server, reason)| {
                let ServerStatus { domain, port, .. } = server;
                format!("{domain}:{port} {}", reason.as_yang())
            });
            let failed = failed.collect::<Vec<_>>().join(", ");
            warn!(attempts, failed, "all-servers-failed");
        }
    }
}

fn connection(told: &Notification) {
    let Notification::ConnectionStateChanged {
        previous,
        state,
        device,
        server,
        failure,
        down,
    } = told
    else {
        return;
    };
    let server = server.as_ref();
    let domain = server.map(|server| server.domain.as_str());
    let address = server.and_then(|server| server.address).map(display);
    let port = server.map(|server| server.port);
    // The level of an event has to be known when it is compiled.
    macro_rules! tell {
        ($level:expr) => {
            event!(
                $level,
                previous_connection_state = previous.as_yang(),
                connection_state = state.as_yang(),
                device_state = device.as_yang(),
                domain,
                address,
                port,
                failure_reason = failure.map(|reason| reason.as_yang()),
                down_reason = down.map(|reason| reason.as_yang()),
                "connection-state-changed"
            )
        };
    }
    match down {
        Some(_) => tell!(Level::WARN),
        None => tell!(Level::INFO),
    }
}
