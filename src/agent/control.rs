//! What the agent does for the programs that ask at the control socket.

use std::sync::Arc;

use crate::transport::control::{Handler, Outcome, Request, service};
use crate::tunnel::service::Modules;
use crate::tunnel::service::external::External;

/// Answers each request.
pub(super) fn handler(modules: Modules) -> Handler {
    Arc::new(move |request| Box::pin(answer(request, modules.clone())))
}

async fn answer(request: Request, modules: Modules) -> Outcome {
    match request {
        Request::DhcpEvent { interface, .. } => Outcome::Refused(format!(
            "{interface} is no interface of discovery/dhcp in the configuration"
        )),
        Request::Service { name } => register(&name, &modules),
    }
}

/// The program at the other end is the module of this service for as long as it stays.
fn register(name: &str, modules: &Modules) -> Outcome {
    let (external, offers) = External::new();
    match modules.register(name, Arc::new(external)) {
        Ok(registration) => Outcome::Stream(Box::new(|stream| {
            Box::pin(async move {
                service::attend(stream, offers).await;
                drop(registration);
            })
        })),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}
