//! Actions and status as one line each. Secrets are shown as present, never as what they are.

use std::time::{Duration, Instant};

use tether::model::settings::Secret;
use tether::model::status::{CloudStatus, Unbinding};
use tether::tunnel::machine::event::Endpoint;
use tether::tunnel::machine::{Action, Line, Notification};
use tether::tunnel::wire::DeviceMessage;

/// Seconds since the start, to the millisecond.
pub fn time(start: Instant, at: Instant) -> String {
    seconds(at - start)
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

/// What the machine ordered.
pub fn action(start: Instant, action: &Action) -> String {
    match action {
        Action::Resolve {
            attempt,
            line,
            endpoint,
        } => format!("{}resolve #{} {}", on(*line), attempt.0, whom(endpoint)),
        Action::Connect {
            attempt,
            line,
            endpoint,
            addresses,
        } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!(
                "{}connect #{} {} at {}",
                on(*line),
                attempt.0,
                whom(endpoint),
                addresses.join(" ")
            )
        }
        Action::Authenticate {
            attempt,
            line,
            password,
            unbinding_code,
        } => format!(
            "{}authenticate #{}{}{}",
            on(*line),
            attempt.0,
            if_present(" with password", password),
            if_present(" with unbinding code", unbinding_code)
        ),
        Action::Register {
            attempt,
            line,
            services,
            last_down,
            ..
        } => {
            let last_down = last_down.map_or(String::new(), |reason| {
                format!(" after {}", reason.as_yang())
            });
            format!(
                "{}register #{} [{}]{last_down}",
                on(*line),
                attempt.0,
                services.join(" ")
            )
        }
        Action::Upgrade { attempt, url, .. } => format!("upgrade #{} {}", attempt.0, url.as_str()),
        Action::Send(message) => format!("send {}", sent(message)),
        Action::Close(code) => format!("close {}", code.0),
        Action::Promote => "promote the probe".into(),
        Action::Abort(line) => format!("{}abort", on(*line)),
        Action::OpenSubconnection {
            attempt,
            service,
            url,
            endpoint,
            ..
        } => format!(
            "open #{} {service} {} {}",
            attempt.0,
            url.as_str(),
            whom(endpoint)
        ),
        Action::PingSubconnection(attempt) => format!("ping #{}", attempt.0),
        Action::CloseSubconnection(attempt, code) => format!("close #{} {}", attempt.0, code.0),
        Action::SaveUnbinding(record) => format!("save unbinding {}", unbinding(record)),
        Action::SaveLastDown(last_down) => format!("save last-down {}", last_down.reason.as_yang()),
        Action::Notify(told) => format!("notify {}", notification(start, told)),
    }
}

/// What the state container says, as far as it changes with the state.
pub fn status(start: Instant, status: &CloudStatus) -> String {
    let mut line = format!(
        "{} {} {}",
        status.connection.as_yang(),
        status.device.as_yang(),
        status.process.as_yang()
    );
    if let Some(failure) = status.failure {
        line += &format!(" failure={}", failure.as_yang());
    }
    if let Some(server) = &status.server {
        let address = server
            .address
            .map_or("?".into(), |address| address.to_string());
        line += &format!(" server={}:{}({address})", server.domain, server.port);
    }
    if status.attempts > 0 {
        line += &format!(" attempts={}", status.attempts);
    }
    if let Some(at) = status.next_attempt_at {
        line += &format!(" next={}", time(start, at));
    }
    if let Some(probe) = status.primary_probe {
        line += " probe";
        if let Some(failure) = probe.failure {
            line += &format!("={}", failure.as_yang());
        }
        if let Some(at) = probe.next_at {
            line += &format!("@{}", time(start, at));
        }
    }
    let keepalives = status.keepalives;
    if keepalives.sent > 0 {
        line += &format!(
            " keepalives={}/{}/{}",
            keepalives.sent, keepalives.answered, keepalives.missed
        );
    }
    for one in &status.subconnections {
        line += &format!(" {}={}", one.service, one.state.as_yang());
    }
    if status.ignored_messages > 0 {
        line += &format!(" ignored={}", status.ignored_messages);
    }
    line
}

fn on(line: Line) -> &'static str {
    match line {
        Line::Main => "",
        Line::Probe => "probe: ",
    }
}

fn whom(endpoint: &Endpoint) -> String {
    let mut text = format!("{}:{} {:?}", endpoint.host, endpoint.port, endpoint.family);
    if let Some(source) = endpoint.path.source {
        text += &format!(" from {source}");
    }
    if let Some(vpn) = &endpoint.path.vpn_instance {
        text += &format!(" in {vpn}");
    }
    text
}

fn if_present(text: &'static str, secret: &Option<Secret>) -> &'static str {
    secret.as_ref().map_or("", |_| text)
}

fn sent(message: &DeviceMessage) -> String {
    match message {
        DeviceMessage::Keepalive { sequence } => format!("keepalive {sequence}"),
        DeviceMessage::SubconnectionsRequest { services: None } => "subconnections-request".into(),
        DeviceMessage::SubconnectionsRequest {
            services: Some(services),
        } => format!("subconnections-request [{}]", services.join(" ")),
        DeviceMessage::Unbind { id, .. } => format!("unbind {id}"),
    }
}

fn unbinding(record: &Unbinding) -> String {
    let reason = record.reason.as_deref().unwrap_or_default();
    let line = format!("{} {} {reason}", record.id, record.state.as_yang());
    line.trim_end().to_owned()
}

fn notification(start: Instant, told: &Notification) -> String {
    match told {
        Notification::ConnectionStateChanged {
            previous,
            state,
            failure,
            down,
            ..
        } => {
            let mut line = format!("{} → {}", previous.as_yang(), state.as_yang());
            if let Some(failure) = failure {
                line += &format!(" failure={}", failure.as_yang());
            }
            if let Some(down) = down {
                line += &format!(" down={}", down.as_yang());
            }
            line
        }
        Notification::SubconnectionStateChanged {
            service,
            previous,
            state,
            failure,
            ..
        } => {
            let previous = previous.map_or("none", |state| state.as_yang());
            let mut line = format!("{service} {previous} → {}", state.as_yang());
            if let Some(failure) = failure {
                line += &format!(" failure={}", failure.as_yang());
            }
            line
        }
        Notification::UnbindingAnswered { id, state, reason } => {
            let reason = reason.as_deref().unwrap_or_default();
            format!("unbinding {id} {} {reason}", state.as_yang())
                .trim_end()
                .to_owned()
        }
        Notification::AllServersFailed {
            attempts,
            next_attempt_at,
            servers,
        } => {
            let servers: Vec<String> = servers
                .iter()
                .map(|(server, reason)| format!("{}={}", server.domain, reason.as_yang()))
                .collect();
            format!(
                "all servers failed: {} after {attempts}, next {}",
                servers.join(" "),
                time(start, *next_attempt_at)
            )
        }
    }
}
