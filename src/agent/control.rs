//! What the agent does for the programs that ask at the control socket.

use std::sync::Arc;

use tokio::sync::watch;

use crate::dhcp::client::Reports;
use crate::model::settings::Secret;
use crate::transport::control::{Handler, Outcome, Request, service};
use crate::tunnel::service::Modules;
use crate::tunnel::service::external::External;

/// What the requests are about.
#[derive(Clone)]
struct Asked {
    reports: Reports,
    modules: Modules,
    shutdown: watch::Receiver<bool>,
}

/// Answers each request, until `shutdown` is true.
pub(super) fn handler(
    reports: Reports,
    modules: Modules,
    shutdown: watch::Receiver<bool>,
) -> Handler {
    let asked = Asked {
        reports,
        modules,
        shutdown,
    };
    Arc::new(move |request| Box::pin(answer(request, asked.clone())))
}

async fn answer(request: Request, asked: Asked) -> Outcome {
    match request {
        Request::DhcpEvent {
            interface,
            domain,
            password,
        } => {
            report(
                &asked.reports,
                interface,
                domain.as_deref(),
                password.as_ref(),
            )
            .await
        }
        Request::Service { name } => register(&name, asked),
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
fn register(name: &str, asked: Asked) -> Outcome {
    let (external, offers) = External::new();
    let mut shutdown = asked.shutdown;
    match asked.modules.register(name, Arc::new(external)) {
        Ok(registration) => Outcome::Stream(Box::new(|stream| {
            Box::pin(async move {
                tokio::select! {
                    () = service::attend(stream, offers) => {}
                    _ = shutdown.wait_for(|shutdown| *shutdown) => {}
                }
                drop(registration);
            })
        })),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}
