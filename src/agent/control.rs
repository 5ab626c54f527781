//! What the agent does for the programs that ask at the control socket.

use std::sync::Arc;

use crate::transport::control::{Handler, Outcome, Request};

/// Answers each request.
pub(super) fn handler() -> Handler {
    Arc::new(|request| Box::pin(answer(request)))
}

async fn answer(request: Request) -> Outcome {
    match request {
        Request::DhcpEvent { interface, .. } => Outcome::Refused(format!(
            "{interface} is no interface of discovery/dhcp in the configuration"
        )),
    }
}
