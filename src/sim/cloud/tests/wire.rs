//! The cloud's side of the golden messages in `tests/wire`, of which the device's side is tested against the same files.

use std::path::Path;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;

use super::super::digest::{Covered, DigestServer, Verdict, authentication_info};
use super::super::handshake::{Role, switch};
use super::super::http::bearer;
use super::super::message::{
    AuthenticationAnswer, AuthenticationRequest, CloudMessage, DeviceMessage, ListedService,
    Notification, RegistrationAnswer, RegistrationRequest, UnbindResult,
};
use super::SERIAL;

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    std::fs::read_to_string(folder.join(name))
        .unwrap()
        .trim_end()
        .to_owned()
}

/// What the cloud writes is the golden message.
fn written(message: &impl serde::Serialize, name: &str) {
    let expected: Value = serde_json::from_str(&golden(name)).unwrap();
    assert_eq!(serde_json::to_value(message).unwrap(), expected, "{name}");
}

fn message(name: &str) -> DeviceMessage {
    DeviceMessage::parse(&golden(name)).unwrap()
}

#[test]
fn the_golden_requests_of_steps_1_to_4_are_understood() {
    let plain: AuthenticationRequest =
        serde_json::from_str(&golden("authentication-request.json")).unwrap();
    assert_eq!(
        (plain.serial_number.as_str(), plain.unbinding_code),
        (SERIAL, None)
    );
    let code: AuthenticationRequest =
        serde_json::from_str(&golden("authentication-request-with-code.json")).unwrap();
    assert_eq!(code.unbinding_code.as_deref(), Some("7A3F-22C1"));
    let first: RegistrationRequest =
        serde_json::from_str(&golden("registration-request-first.json")).unwrap();
    assert_eq!((first.services.len(), first.last_down_reason), (2, None));
    let later: RegistrationRequest =
        serde_json::from_str(&golden("registration-request.json")).unwrap();
    assert_eq!(later.last_down_reason.as_deref(), Some("keepalive-expired"));
}

#[test]
fn the_golden_answers_of_steps_1_to_4_are_written() {
    let success = AuthenticationAnswer::Success {
        token: "dG9rZW4",
        expires_in: 3600,
    };
    written(&success, "authentication-success.json");
    for (reason, name) in [
        (
            "serial-number-not-registered",
            "authentication-not-registered.json",
        ),
        ("bound-to-another-user", "authentication-bound.json"),
        ("code-invalid", "authentication-code-invalid.json"),
        ("busy", "upgrade-busy.json"),
    ] {
        written(&AuthenticationAnswer::Failure { reason }, name);
    }
    let url = "wss://cloud.example:443/cloud/v1/connection?session=5e55";
    written(
        &RegistrationAnswer {
            url,
            session: "5e55",
        },
        "registration-success.json",
    );
}

#[test]
fn the_golden_messages_of_the_device_are_understood() {
    assert!(matches!(
        message("subconnections-request.json"),
        DeviceMessage::SubconnectionsRequest { services: None }
    ));
    assert!(matches!(
        message("subconnections-request-with-services.json"),
        DeviceMessage::SubconnectionsRequest { services: Some(services) } if services.len() == 2
    ));
    assert!(matches!(
        message("keepalive.json"),
        DeviceMessage::Keepalive { sequence: 7 }
    ));
    assert!(
        matches!(message("unbind.json"), DeviceMessage::Unbind { id: 1, code } if code == "7A3F-22C1")
    );
    for (name, notification) in [
        (
            "telemetry-state-changed.json",
            "cloud-management:connection-state-changed",
        ),
        ("telemetry-push-update.json", "ietf-yang-push:push-update"),
    ] {
        let parsed = Notification::parse(&golden(name)).unwrap();
        assert_eq!(
            (parsed.name.as_str(), parsed.event_time.as_str()),
            (notification, "2026-01-27T14:18:40Z")
        );
    }
}

#[test]
fn the_golden_messages_of_the_cloud_are_written() {
    let listed = |service: &str| ListedService {
        service: service.to_owned(),
        url: format!("wss://cloud.example/cloud/v1/service/{service}"),
    };
    let services = vec![listed("netconf"), listed("telemetry")];
    written(
        &CloudMessage::Subconnections { services },
        "subconnections.json",
    );
    written(
        &CloudMessage::KeepaliveReply { sequence: 7 },
        "keepalive-reply.json",
    );
    written(
        &CloudMessage::UnbindResult(UnbindResult::new(1, true)),
        "unbind-success.json",
    );
    written(
        &CloudMessage::UnbindResult(UnbindResult::new(1, false)),
        "unbind-failure.json",
    );
    let disconnect = CloudMessage::Disconnect {
        reason: "maintenance".to_owned(),
        retry_after: 30,
    };
    written(&disconnect, "disconnect.json");
}

/// The members of a Digest header in any order.
fn members(header: &str) -> Vec<String> {
    let mut members: Vec<String> = header
        .split(',')
        .map(|member| member.trim().to_owned())
        .collect();
    members.sort();
    members
}

#[tokio::test(start_paused = true)]
async fn the_golden_credentials_are_accepted_and_answered_with_the_golden_proof() {
    let now = Instant::now();
    let mut server = DigestServer::with_nonce(
        "cloud",
        "q7fTzv",
        "4Xm1wq9YlWw0m3sL",
        Duration::from_secs(60),
        now,
    );
    let request = Covered {
        method: "POST",
        uri: "/cloud/v1/authentication",
        username: SERIAL,
        password: "cloud-Pa55",
    };
    for (given, proof) in [
        ("authorization.txt", "authentication-info.txt"),
        ("authorization-second.txt", "authentication-info-second.txt"),
    ] {
        let Verdict::Accepted {
            rspauth,
            cnonce,
            nc,
        } = server.verify(&golden(given), &request, now)
        else {
            panic!("{given} is not accepted");
        };
        let info = authentication_info(Some(&rspauth), &cnonce, nc, None);
        assert_eq!(members(&info), members(&golden(proof)), "{proof}");
    }
    assert_eq!(
        server.verify(&golden("authorization.txt"), &request, now),
        Verdict::Replayed
    );
}

#[tokio::test(start_paused = true)]
async fn a_challenge_differs_from_the_golden_one_in_nonce_and_opaque_alone() {
    let mut server = DigestServer::new("cloud", Duration::from_secs(60));
    for (stale, name) in [
        (false, "www-authenticate.txt"),
        (true, "www-authenticate-stale.txt"),
    ] {
        let fixed = |header: &str| -> Vec<String> {
            let random =
                |member: &String| member.starts_with("nonce=") || member.starts_with("opaque=");
            members(header)
                .into_iter()
                .filter(|member| !random(member))
                .collect()
        };
        let challenge = server.challenge("SHA-256", stale, Instant::now());
        assert_eq!(fixed(&challenge), fixed(&golden(name)), "{name}");
        assert_eq!(members(&challenge).len(), members(&golden(name)).len());
    }
}

/// The first line of a golden head, and its fields.
fn head(name: &str) -> (String, HeaderMap) {
    let text = golden(name);
    let mut lines = text.lines();
    let first = lines.next().unwrap().to_owned();
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    };
    (first, lines.map(field).collect())
}

#[test]
fn the_golden_upgrades_are_answered_with_the_golden_101() {
    let main = Role::Main {
        serial: SERIAL.to_owned(),
        session: "5e55".to_owned(),
        token: "dG9rZW4".to_owned(),
        authority: "cloud.example:443".to_owned(),
    };
    let service = Role::Service {
        serial: SERIAL.to_owned(),
        service: "telemetry".to_owned(),
    };
    for (role, prefix) in [(main, ""), (service, "service-")] {
        let (_, request) = head(&format!("{prefix}upgrade-request.http"));
        assert_eq!(bearer(&request), Some("dG9rZW4"));
        let reply = switch(&request, &role, None).unwrap();
        let (first, fields) = head(&format!("{prefix}upgrade-response.http"));
        assert_eq!(first, format!("HTTP/1.1 {}", reply.status));
        assert_eq!(reply.headers, fields);
    }
}
