//! The golden bodies of `tests/wire`, copied from the protocol's page by hand: device and reference cloud cannot agree
//! on the same mistake. What the device writes must be the file, member by member; what the cloud writes must be read.

use std::time::Duration;

use serde_json::Value;
use tether::model::settings::Secret;
use tether::tunnel::wire::{
    AuthenticationAnswer, AuthenticationRequest, CloudMessage, DeviceMessage, RegistrationAnswer,
    RegistrationRequest, UnbindAnswer, UpgradeRefusal,
};

const SERIAL: &str = "210235A1XXX000000001";
const CODE: &str = "7A3F-22C1";

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../wire/", $name, ".json"))
    };
}

fn assert_same(written: &[u8], golden: &str) {
    let written: Value = serde_json::from_slice(written).unwrap();
    let golden: Value = serde_json::from_str(golden).unwrap();
    assert_eq!(written, golden);
}

fn services() -> Vec<String> {
    vec!["netconf".into(), "telemetry".into()]
}

#[test]
fn the_device_writes_the_bodies_of_the_page() {
    let mut authentication = AuthenticationRequest {
        serial_number: SERIAL.into(),
        model: "unknown".into(),
        software: "tether/0.1.0".into(),
        unbinding_code: None,
    };
    assert_same(&authentication.to_json(), golden!("authentication-request"));
    authentication.unbinding_code = Some(Secret::new(CODE));
    assert_same(
        &authentication.to_json(),
        golden!("authentication-request-with-code"),
    );
    let registration = RegistrationRequest {
        serial_number: SERIAL.into(),
        services: services(),
        last_down_reason: Some("keepalive-expired".into()),
    };
    assert_same(&registration.to_json(), golden!("registration-request"));
}

#[test]
fn the_device_writes_the_messages_of_the_page() {
    for (message, golden) in [
        (
            DeviceMessage::Keepalive { sequence: 7 },
            golden!("keepalive"),
        ),
        (
            DeviceMessage::SubconnectionsRequest { services: None },
            golden!("subconnections-request"),
        ),
        (
            DeviceMessage::SubconnectionsRequest {
                services: Some(services()),
            },
            golden!("subconnections-request-with-services"),
        ),
        (
            DeviceMessage::Unbind {
                code: Secret::new(CODE),
                id: 1,
            },
            golden!("unbind"),
        ),
    ] {
        assert_same(message.to_json().as_bytes(), golden);
    }
}

#[test]
fn the_device_reads_the_answers_of_the_page() {
    let read = |status, body: &str| AuthenticationAnswer::read(status, None, body.as_bytes());
    for (status, body, expected) in [
        (
            200,
            golden!("authentication-success"),
            AuthenticationAnswer::Success {
                token: Secret::new("dG9rZW4"),
                expires_in: Duration::from_secs(3600),
            },
        ),
        (
            403,
            golden!("authentication-not-registered"),
            AuthenticationAnswer::SerialNumberNotRegistered,
        ),
        (
            403,
            golden!("authentication-bound"),
            AuthenticationAnswer::BoundToAnotherUser,
        ),
        (
            403,
            golden!("authentication-code-invalid"),
            AuthenticationAnswer::CodeInvalid,
        ),
    ] {
        assert_eq!(read(status, body), Ok(expected));
    }
    let registered =
        RegistrationAnswer::read(200, None, golden!("registration-success").as_bytes());
    let url = "wss://cloud.example/cloud/v1/connection?session=5e55";
    assert_eq!(
        registered,
        Ok(RegistrationAnswer::Success {
            url: url.parse().unwrap(),
            session: "5e55".into(),
        })
    );
    assert_eq!(
        UpgradeRefusal::read(403, None, golden!("upgrade-busy").as_bytes()),
        UpgradeRefusal::Busy { retry_after: None }
    );
}

#[test]
fn the_device_reads_the_messages_of_the_page() {
    let unbind = |answer| CloudMessage::UnbindResult { id: 1, answer };
    for (text, expected) in [
        (
            golden!("keepalive-reply"),
            CloudMessage::KeepaliveReply { sequence: 7 },
        ),
        (golden!("unbind-success"), unbind(UnbindAnswer::Accepted)),
        (
            golden!("unbind-failure"),
            unbind(UnbindAnswer::Refused {
                reason: "code-invalid".into(),
            }),
        ),
        (
            golden!("disconnect"),
            CloudMessage::Disconnect {
                reason: "maintenance".into(),
                retry_after: Duration::from_secs(30),
            },
        ),
    ] {
        assert_eq!(CloudMessage::parse(text), Ok(expected));
    }
    let Ok(CloudMessage::Subconnections(list)) = CloudMessage::parse(golden!("subconnections"))
    else {
        panic!("no list");
    };
    let listed: Vec<_> = list
        .iter()
        .map(|listed| (listed.service.as_str(), listed.url.target()))
        .collect();
    assert_eq!(
        listed,
        [
            ("netconf", "/cloud/v1/service/netconf"),
            ("telemetry", "/cloud/v1/service/telemetry"),
        ]
    );
}
