//! Events as human-readable lines. Text from the device is printed escaped: it may hold anything.

use std::fmt;

use super::event::{Authentication, What};

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSerial => f.write_str("refused, serial number not registered"),
            Self::Challenged => f.write_str("challenged"),
            Self::Stale => f.write_str("challenged again, nonce is stale"),
            Self::Replayed => f.write_str("challenged again, nonce count was replayed"),
            Self::WrongPassword => f.write_str("refused, wrong credentials"),
            Self::Malformed(why) => write!(f, "refused, {}", why.escape_debug()),
            Self::BoundToAnotherUser => f.write_str("refused, bound to another user"),
            Self::CodeAccepted => f.write_str("unbinding code accepted, token issued"),
            Self::CodeInvalid => f.write_str("refused, unbinding code invalid"),
            Self::Success { nonce_count: None } => {
                f.write_str("accepted without a password, token issued")
            }
            Self::Success {
                nonce_count: Some(nc),
            } => write!(f, "accepted (nc={nc}), token issued"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(address) => write!(f, "listening on {address}"),
            Self::Stopped(address) => write!(f, "no longer listening on {address}"),
            Self::Accepted { peer, local } => write!(f, "TCP from {peer} to {local}"),
            Self::Refused(peer) => write!(f, "TCP from {peer} dropped, too many connections"),
            Self::TlsUp {
                version,
                server_name: Some(name),
            } => write!(f, "TLS up, {version}, for {}", name.escape_debug()),
            Self::TlsUp {
                version,
                server_name: None,
            } => write!(f, "TLS up, {version}"),
            Self::TlsFailed(error) => write!(f, "TLS failed: {error}"),
            Self::Request { method, path } => write!(f, "{method} {}", path.escape_debug()),
            Self::Authentication(outcome) => write!(f, "authentication {outcome}"),
            Self::Registered {
                services,
                last_down_reason,
                ..
            } => {
                write!(f, "registered, services {}", listed(services))?;
                last_down_reason.as_ref().map_or(Ok(()), |why| {
                    write!(f, ", last down {}", why.escape_debug())
                })
            }
            Self::RegistrationRefused { status, why } => {
                write!(f, "registration refused: {status} {}", why.escape_debug())
            }
            Self::MainUp {
                requests,
                round_trips,
            } => {
                write!(
                    f,
                    "main connection up after {requests} requests, {round_trips} round trips"
                )
            }
            Self::ServiceUp(service) => write!(f, "subconnection {service} up"),
            Self::UpgradeRefused { status, why } => {
                write!(f, "upgrade refused: {status} {}", why.escape_debug())
            }
            Self::Ended => f.write_str("connection over"),
            Self::Misbehaved { step, what } => write!(f, "misbehaves at {step}: {what}"),
            other => message(other, f),
        }
    }
}

/// The events on an open WebSocket.
fn message(what: &What, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match what {
        What::ListRequested(Some(services)) => {
            write!(f, "subconnections requested for {}", listed(services))
        }
        What::ListRequested(None) => f.write_str("subconnections requested"),
        What::ListSent(services) => write!(f, "subconnections sent: {}", listed(services)),
        What::Keepalive {
            sequence,
            answered: true,
        } => write!(f, "keepalive {sequence}, answered"),
        What::Keepalive {
            sequence,
            answered: false,
        } => write!(f, "keepalive {sequence}, not answered"),
        What::Unbind { id, accepted: true } => write!(f, "unbind {id}: success, binding lifted"),
        What::Unbind {
            id,
            accepted: false,
        } => write!(f, "unbind {id}: code invalid"),
        What::UnknownMessage(kind) => write!(f, "unknown message {}, ignored", kind.escape_debug()),
        What::Pong(channel) => write!(f, "{channel}: pong"),
        What::Ping(channel) => write!(f, "{channel}: ping"),
        What::Telemetry { notification } => write!(f, "telemetry {}", notification.escape_debug()),
        What::NetconfDoor(address) => write!(f, "managers reach it at {address}"),
        What::Bytes { service, length } => write!(f, "subconnection {service}: {length} bytes"),
        What::DisconnectSent {
            reason,
            retry_after,
        } => write!(f, "disconnect sent: {reason}, retry after {retry_after} s"),
        What::Closing {
            channel,
            code,
            reason,
        } => write!(f, "{channel}: closing with {code} {reason}"),
        What::PeerClosed {
            channel,
            code,
            reason,
        } => {
            write!(
                f,
                "{channel}: closed by the device with {code} {}",
                reason.escape_debug()
            )
        }
        What::Lost { channel, error } => write!(f, "{channel}: lost, {error}"),
        other => write!(f, "{other:?}"),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let escaped: Vec<String> = names.iter().map(|n| n.escape_debug().to_string()).collect();
    escaped.join(", ")
}
