//! What the agent does for the programs that ask at the control socket.

use std::sync::Arc;

use crate::dhcp::client::Reports;
use crate::model::settings::Secret;
use crate::transport::control::{Handler, Outcome, Request, service};
use crate::tunnel::service::Modules;
use crate::tunnel::service::external::External;

/// Answers each request.
pub(super) fn handler(reports: Reports, modules: Modules) -> Handler {
    Arc::new(move |request| Box::pin(answer(request, reports.clone(), modules.clone())))
}

async fn answer(request: Request, reports: Reports, modules: Modules) -> Outcome {
    match request {
        Request::DhcpEvent {
            interface,
            domain,
            password,
        } => report(&reports, interface, domain.as_deref(), password.as_ref()).await,
        Request::Service { name } => register(&name, &modules),
    }
}

/// What a DHCP client has now.
async fn report(
    reports: &Reports,
    interface: String,
    domain: Option<&str>,
    password: Option<&Secret>,
) -> Outcome {
    let password = password.map(Secret::reveal);
    match reports.report(interface, domain, password).await {
        Ok(refused) if refused.is_empty() => Outcome::Done,
        Ok(refused) => {
            let reasons: Vec<String> = refused.iter().map(ToString::to_string).collect();
            Outcome::Refused(reasons.join("; "))
        }
        Err(error) => Outcome::Refused(error.to_string()),
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
