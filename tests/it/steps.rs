//! The eleven steps, one call each, against the reference cloud: what the device's half and the cloud's half each made
//! of the same page.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::SinkExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tether::model::settings::{DnsSettings, Secret};
use tether::sim::cloud::{
    Authentication, Cloud, CloudConfig, Device, Flaw, Misbehaviour, Step, What,
};
use tether::tunnel::machine::CloseCode;
use tether::tunnel::machine::event::{
    AuthenticationOutcome, Endpoint, StepError, SubconnectionReply,
};
use tether::tunnel::net::{
    Connection, Heard, NetError, Surroundings, Upgraded, WebSocket, connect, hear, leave, resolve,
    tls,
};
use tether::tunnel::service::telemetry::Telemetry;
use tether::tunnel::service::{Link, Service as _};
use tether::tunnel::target::{Family, Path};
use tether::tunnel::wire::{
    AuthenticationRequest, CloudMessage, CloudUrl, DeviceMessage, Host, Nonces, RegistrationAnswer,
    RegistrationRequest, UpgradeRefusal,
};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

const SERIAL: &str = "210235A1XXX000000001";
const BOUND: &str = "210235A1XXX000000002";
const PASSWORD: &str = "cloud-Pa55";
const WAIT: Duration = Duration::from_secs(5);

/// A device, as far as the steps need one, and its cloud.
struct Pair {
    cloud: Cloud,
    endpoint: Endpoint,
    surroundings: Surroundings,
    dns: DnsSettings,
    nonces: Mutex<Nonces>,
    serial: &'static str,
    password: Option<Secret>,
}

impl Pair {
    async fn start() -> Self {
        let cloud = Cloud::start(CloudConfig {
            names: vec!["cloud.com".into()],
            devices: vec![
                Device::new(SERIAL).password(PASSWORD),
                Device::new(BOUND)
                    .password(PASSWORD)
                    .bound_to("someone")
                    .unbinding_code("4711"),
            ],
            ..CloudConfig::default()
        });
        let cloud = cloud.await.unwrap();
        let anchor = CertificateDer::from_pem_slice(cloud.ca_pem().as_bytes()).unwrap();
        Self {
            endpoint: Endpoint {
                host: Host::new("cloud.com"),
                port: cloud.addr().port(),
                family: Family::Ipv4,
                path: Path::default(),
                trust: Arc::new(BTreeSet::from([anchor.to_vec()])),
            },
            cloud,
            surroundings: Surroundings::default(),
            dns: DnsSettings {
                hosts: vec![("cloud.com".into(), vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])],
                ..DnsSettings::default()
            },
            nonces: Mutex::default(),
            serial: SERIAL,
            password: Some(Secret::new(PASSWORD)),
        }
    }

    async fn misbehaving(step: Step, misbehaviour: Misbehaviour) -> Self {
        let pair = Self::start().await;
        pair.cloud.set_misbehaviour(step, misbehaviour);
        pair
    }

    async fn dial(&self) -> Result<Connection, NetError> {
        let addresses = resolve(&self.surroundings, &self.dns, &self.endpoint).await?;
        let (tcp, _) = connect(&self.endpoint, &addresses).await?;
        let tls = tls(&self.surroundings, &self.endpoint, tcp).await?;
        Connection::open(&self.surroundings, &self.endpoint, tls.stream).await
    }

    async fn authenticate(
        &self,
        connection: &mut Connection,
        unbinding_code: Option<&str>,
    ) -> Result<(AuthenticationOutcome, bool), NetError> {
        let request = AuthenticationRequest {
            serial_number: self.serial.into(),
            model: "unknown".into(),
            software: "tether/0.1.0".into(),
            unbinding_code: unbinding_code.map(Secret::new),
        };
        connection
            .authenticate(&self.nonces, &request, self.password.as_ref())
            .await
    }

    /// Dials and authenticates.
    async fn outcome(&self) -> Result<AuthenticationOutcome, NetError> {
        let mut connection = self.dial().await?;
        let (outcome, _) = self.authenticate(&mut connection, None).await?;
        Ok(outcome)
    }

    async fn granted(&self) -> (Connection, Secret) {
        let mut connection = self.dial().await.unwrap();
        match self.authenticate(&mut connection, None).await.unwrap() {
            (AuthenticationOutcome::Granted { token }, true) => (connection, token),
            other => panic!("not granted: {other:?}"),
        }
    }

    async fn registered(&self) -> (Connection, Secret, CloudUrl) {
        let (mut connection, token) = self.granted().await;
        match register(&mut connection, &token).await.unwrap() {
            (RegistrationAnswer::Success { url, .. }, true) => (connection, token, url),
            other => panic!("not registered: {other:?}"),
        }
    }

    async fn established(&self) -> (WebSocket, Secret) {
        let (mut connection, token, url) = self.registered().await;
        match connection.upgrade(&url, &token).await.unwrap() {
            Upgraded::Open(websocket) => (*websocket, token),
            Upgraded::Refused { refusal, .. } => panic!("refused: {refusal:?}"),
        }
    }
}

async fn register(
    connection: &mut Connection,
    token: &Secret,
) -> Result<(RegistrationAnswer, bool), NetError> {
    let request = RegistrationRequest {
        serial_number: SERIAL.into(),
        services: vec!["telemetry".into()],
        last_down_reason: Some("keepalive-expired".into()),
    };
    connection.register(token, &request).await
}

async fn ask(websocket: &mut WebSocket, message: DeviceMessage) -> CloudMessage {
    let text = message.to_json();
    websocket.send(Message::text(text.as_str())).await.unwrap();
    match hear(websocket).await {
        Heard::Text(text) => CloudMessage::parse(&text).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

#[tokio::test]
async fn the_steps_share_one_connection_and_five_round_trips_once_the_nonce_is_known() {
    let pair = Pair::start().await;
    for (connection, requests) in [(1, 4), (2, 3)] {
        let (_websocket, _) = pair.established().await;
        let up = |event: &tether::sim::cloud::Event| {
            event.connection == connection && matches!(event.what, What::MainUp { .. })
        };
        let up = pair.cloud.wait_for(up, WAIT).await.unwrap();
        let round_trips = requests + 2;
        assert_eq!(
            up.what,
            What::MainUp {
                requests,
                round_trips,
            }
        );
    }
}

#[tokio::test]
async fn the_main_connection_is_asked_for_its_list_and_kept_alive() {
    let pair = Pair::start().await;
    let (mut websocket, _) = pair.established().await;
    let list = ask(
        &mut websocket,
        DeviceMessage::SubconnectionsRequest { services: None },
    );
    let CloudMessage::Subconnections(list) = list.await else {
        panic!("no list");
    };
    let services: Vec<_> = list.iter().map(|listed| listed.service.as_str()).collect();
    assert_eq!(services, ["netconf", "telemetry"]);
    let answer = ask(&mut websocket, DeviceMessage::Keepalive { sequence: 1 }).await;
    assert_eq!(answer, CloudMessage::KeepaliveReply { sequence: 1 });

    leave(&mut websocket, Some(CloseCode::NORMAL)).await;
    let closed = |event: &tether::sim::cloud::Event| {
        matches!(event.what, What::PeerClosed { code: 1000, .. })
    };
    pair.cloud.wait_for(closed, WAIT).await.unwrap();
}

#[tokio::test]
async fn telemetry_tells_the_state_on_its_own_connection() {
    let pair = Pair::start().await;
    let (mut main, token) = pair.established().await;
    let request = DeviceMessage::SubconnectionsRequest { services: None };
    let CloudMessage::Subconnections(list) = ask(&mut main, request).await else {
        panic!("no list");
    };
    let listed = list.iter().find(|listed| listed.service == "telemetry");
    let url = &listed.unwrap().url;
    let mut connection = pair.dial().await.unwrap();
    let upgraded = connection.upgrade_service(url, &token, "telemetry").await;
    let Ok(Upgraded::Open(websocket)) = upgraded else {
        panic!("refused: {upgraded:?}");
    };
    let state = r#"{"cloud-management:cloud-management":{"state":{"attempts":0}}}"#;
    let telemetry = Arc::new(Telemetry::new(
        Box::new(|| Some(state.to_owned())),
        SystemTime::now,
    ));
    let changed =
        r#"{"cloud-management:connection-state-changed":{"connection-state":"established"}}"#;
    telemetry.notify(SystemTime::now(), changed);
    let (orders, order) = mpsc::channel(1);
    let (_interval, intervals) = watch::channel(Duration::from_secs(180));
    let (report, mut heard) = mpsc::channel(1);
    let service = telemetry.clone();
    let task = tokio::spawn(async move {
        let link = Link {
            socket: *websocket,
            interval: intervals,
            orders: order,
            report,
        };
        service.serve(link).await;
    });
    for expected in [
        "ietf-yang-push:push-update",
        "cloud-management:connection-state-changed",
    ] {
        let told = |event: &tether::sim::cloud::Event| matches!(&event.what, What::Telemetry { notification } if notification == expected);
        pair.cloud.wait_for(told, WAIT).await.unwrap();
    }
    pair.cloud.close_service(SERIAL, "telemetry", 1013).unwrap();
    let closed = SubconnectionReply::Closed(CloseCode::TRY_AGAIN_LATER);
    assert_eq!(heard.recv().await, Some(closed));
    task.await.unwrap();
    drop(orders);
}

#[tokio::test]
async fn a_cloud_that_forgot_its_nonces_costs_one_round_trip() {
    let pair = Pair::start().await;
    pair.granted().await;
    pair.cloud.forget_nonces();
    pair.granted().await;
    let stale = |event: &tether::sim::cloud::Event| {
        event.what == What::Authentication(Authentication::Stale)
    };
    pair.cloud.wait_for(stale, WAIT).await.unwrap();
}

#[tokio::test]
async fn an_unbinding_code_lifts_the_binding_on_the_same_connection() {
    let pair = Pair {
        serial: BOUND,
        ..Pair::start().await
    };
    let mut connection = pair.dial().await.unwrap();
    let mut outcomes = Vec::new();
    for code in [None, Some("0000"), Some("4711")] {
        let (outcome, reusable) = pair.authenticate(&mut connection, code).await.unwrap();
        assert!(reusable);
        outcomes.push(outcome);
    }
    assert_eq!(outcomes[0], AuthenticationOutcome::BoundToAnotherUser);
    assert_eq!(outcomes[1], AuthenticationOutcome::CodeInvalid);
    assert!(matches!(outcomes[2], AuthenticationOutcome::Granted { .. }));
}

#[tokio::test]
async fn each_refusal_of_the_authentication_is_told_apart() {
    let pair = Pair::start().await;
    let wrong = Pair {
        password: Some(Secret::new("wrong")),
        ..pair
    };
    let refused = AuthenticationOutcome::PasswordRefused;
    assert_eq!(wrong.outcome().await.unwrap(), refused);
    let none = Pair {
        password: None,
        ..wrong
    };
    assert_eq!(none.outcome().await.unwrap(), refused);
    let unknown = Pair {
        serial: "unknown",
        ..none
    };
    assert_eq!(
        unknown.outcome().await.unwrap(),
        AuthenticationOutcome::SerialNumberNotRegistered
    );
}

#[tokio::test]
async fn a_cloud_that_misbehaves_during_the_authentication_is_told_by_name() {
    let not_authentic = Ok(AuthenticationOutcome::CloudNotAuthentic);
    let retry_after = Some(Duration::from_secs(30));
    for (misbehaviour, expected) in [
        (Misbehaviour::WrongRspauth, not_authentic.clone()),
        (Misbehaviour::NoRspauth, not_authentic),
        (Misbehaviour::AlwaysStale, Err(StepError::Protocol)),
        (Misbehaviour::OnlyMd5, Err(StepError::Protocol)),
        (Misbehaviour::OnlyBasic, Err(StepError::Protocol)),
        (Misbehaviour::BadJson, Err(StepError::Protocol)),
        (Misbehaviour::Huge(1 << 30), Err(StepError::Protocol)),
        (Misbehaviour::Status(404), Err(StepError::Protocol)),
        (
            Misbehaviour::Redirect("https://cloud.com/".into()),
            Err(StepError::Protocol),
        ),
        (Misbehaviour::Reset, Err(StepError::Connect)),
        (Misbehaviour::Close, Err(StepError::Connect)),
        (
            Misbehaviour::Busy {
                status: 429,
                retry_after: Some("30".into()),
            },
            Ok(AuthenticationOutcome::Busy { retry_after }),
        ),
        (
            Misbehaviour::ConnectionClose,
            Ok(AuthenticationOutcome::AskAgain),
        ),
    ] {
        let pair = Pair::misbehaving(Step::Authentication, misbehaviour.clone()).await;
        let outcome = pair.outcome().await.map_err(|error| error.step());
        assert_eq!(outcome, expected, "{misbehaviour:?}");
    }
}

#[tokio::test]
async fn odd_but_right_answers_are_understood() {
    for misbehaviour in [
        Misbehaviour::Chunked,
        Misbehaviour::EarlyHints,
        Misbehaviour::ManyChallenges,
        Misbehaviour::Drip(Duration::from_millis(1)),
    ] {
        let pair = Pair::misbehaving(Step::Authentication, misbehaviour.clone()).await;
        let outcome = pair.outcome().await.unwrap();
        let granted = matches!(outcome, AuthenticationOutcome::Granted { .. });
        assert!(granted, "{misbehaviour:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_at_registration_and_upgrade() {
    let pair = Pair::start().await;
    let (mut connection, token) = pair.granted().await;
    pair.cloud.expire_tokens();
    let (answer, reusable) = register(&mut connection, &token).await.unwrap();
    assert_eq!(answer, RegistrationAnswer::TokenExpired);
    assert!(reusable);

    let (mut connection, token, url) = pair.registered().await;
    pair.cloud.expire_tokens();
    let upgraded = connection.upgrade(&url, &token).await;
    assert!(matches!(
        upgraded,
        Ok(Upgraded::Refused {
            refusal: UpgradeRefusal::TokenExpired,
            reusable: true,
        })
    ));
}

#[tokio::test]
async fn a_wrong_handshake_is_refused() {
    for misbehaviour in [Misbehaviour::WrongAccept, Misbehaviour::WrongSubprotocol] {
        let pair = Pair::misbehaving(Step::Upgrade, misbehaviour).await;
        let (mut connection, token, url) = pair.registered().await;
        assert!(matches!(
            connection.upgrade(&url, &token).await,
            Ok(Upgraded::Refused {
                refusal: UpgradeRefusal::Failed { status: 101 },
                reusable: false,
            })
        ));
    }
}

#[tokio::test]
async fn broken_frames_get_their_close_codes() {
    for (misbehaviour, expected) in [
        (
            Misbehaviour::InvalidUtf8,
            Heard::Violation(CloseCode::INVALID_DATA),
        ),
        (
            Misbehaviour::Huge(1 << 20),
            Heard::Violation(CloseCode::TOO_BIG),
        ),
        (
            Misbehaviour::CloseFrame(4001),
            Heard::Closed(CloseCode::EVICTED),
        ),
        (Misbehaviour::Close, Heard::Lost),
        (Misbehaviour::Reset, Heard::Lost),
    ] {
        let pair = Pair::misbehaving(Step::Keepalive, misbehaviour.clone()).await;
        let (mut websocket, _) = pair.established().await;
        let keepalive = DeviceMessage::Keepalive { sequence: 1 }.to_json();
        let message = Message::text(keepalive.as_str());
        websocket.send(message).await.unwrap();
        assert_eq!(hear(&mut websocket).await, expected, "{misbehaviour:?}");
    }
}

#[tokio::test]
async fn a_flawed_certificate_never_sees_a_request() {
    for flaw in [
        Flaw::Expired,
        Flaw::NotYetValid,
        Flaw::OtherName,
        Flaw::UnknownAuthority,
    ] {
        let misbehaviour = Misbehaviour::Certificate(flaw);
        let pair = Pair::misbehaving(Step::Tls, misbehaviour).await;
        let failed = pair.outcome().await.unwrap_err();
        assert_eq!(failed.step(), StepError::Tls, "{flaw:?}");
    }
    let pair = Pair::misbehaving(Step::Tls, Misbehaviour::NotTls).await;
    assert_eq!(pair.outcome().await.unwrap_err().step(), StepError::Tls);
}
