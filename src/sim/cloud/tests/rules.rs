//! What the cloud refuses, and how.

use bytes::Bytes;
use futures_util::SinkExt as _;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::super::{Authentication, Cloud, CloudConfig, Device, ServiceOffer, What};
use super::client::{
    AUTHENTICATION, Http, REGISTRATION, authentication, credentials, digest_header,
    main_connection, response, subconnection,
};
use super::{PASSWORD, SERIAL, SOON, cloud, cloud_with};

fn failure(reason: &str) -> Value {
    json!({"result": "failure", "reason": reason})
}

#[tokio::test]
async fn an_unknown_serial_number_is_answered_before_any_challenge() {
    let cloud = cloud_with(Device::new("another").password(PASSWORD)).await;
    let answer = Http::connect(&cloud)
        .await
        .post(AUTHENTICATION, None, &authentication())
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.json(), failure("serial-number-not-registered"));
}

#[tokio::test]
async fn the_cloud_proves_that_it_knows_the_password() {
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    let challenge = http.post(AUTHENTICATION, None, &authentication()).await;
    assert_eq!(challenge.status, StatusCode::UNAUTHORIZED);
    let answer = http
        .post(
            AUTHENTICATION,
            Some(&credentials(&challenge, PASSWORD, 1)),
            &authentication(),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["expires-in"], 3600);
    let expected = response(PASSWORD, "cloud", &challenge.member("nonce"), 1, "");
    assert_eq!(answer.member("rspauth"), expected);
}

#[tokio::test]
async fn a_kept_nonce_serves_again_with_a_higher_count_and_a_replay_is_stale() {
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    let challenge = http.post(AUTHENTICATION, None, &authentication()).await;
    for (nc, status) in [(1, 200), (2, 200), (2, 401), (1, 401), (3, 200)] {
        let answer = http
            .post(
                AUTHENTICATION,
                Some(&credentials(&challenge, PASSWORD, nc)),
                &authentication(),
            )
            .await;
        assert_eq!(answer.status.as_u16(), status, "nc {nc}");
        assert_eq!(
            answer.header("www-authenticate").contains("stale=true"),
            status == 401
        );
    }
    cloud.forget_nonces();
    let answer = http
        .post(
            AUTHENTICATION,
            Some(&credentials(&challenge, PASSWORD, 4)),
            &authentication(),
        )
        .await;
    assert!(answer.header("www-authenticate").contains("stale=true"));
}

#[tokio::test]
async fn wrong_credentials_are_refused_without_stale() {
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    let challenge = http.post(AUTHENTICATION, None, &authentication()).await;
    let (realm, nonce, opaque) = (
        challenge.member("realm"),
        challenge.member("nonce"),
        challenge.member("opaque"),
    );
    let right = digest_header(PASSWORD, &realm, &nonce, &opaque, 1);
    for wrong in [
        digest_header("another", &realm, &nonce, &opaque, 1),
        digest_header(PASSWORD, "realm", &nonce, &opaque, 1),
        digest_header(PASSWORD, &realm, &nonce, "opaque", 1),
        digest_header(PASSWORD, &realm, &nonce, &opaque, 0),
        right.replace("algorithm=SHA-256", "algorithm=MD5"),
        right.replace("qop=auth", "qop=auth-int"),
        "Basic dXNlcjpwYXNz".to_owned(),
        "Digest".to_owned(),
    ] {
        let answer = http
            .post(AUTHENTICATION, Some(&wrong), &authentication())
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(
            !answer.header("www-authenticate").contains("stale"),
            "{wrong}"
        );
    }
    let answer = http
        .post(AUTHENTICATION, Some(&right), &authentication())
        .await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "none of those has used the nonce up"
    );
}

#[tokio::test]
async fn the_next_nonce_serves_without_a_challenge() {
    let device = Device::new(SERIAL).password(PASSWORD);
    let config = CloudConfig {
        next_nonce: true,
        ..CloudConfig::with_devices([device])
    };
    let cloud = Cloud::start(config).await.unwrap();
    let mut http = Http::connect(&cloud).await;
    let challenge = http.post(AUTHENTICATION, None, &authentication()).await;
    let first = http
        .post(
            AUTHENTICATION,
            Some(&credentials(&challenge, PASSWORD, 1)),
            &authentication(),
        )
        .await;
    let (realm, opaque) = (challenge.member("realm"), challenge.member("opaque"));
    let next = digest_header(PASSWORD, &realm, &first.member("nextnonce"), &opaque, 1);
    assert_eq!(
        http.post(AUTHENTICATION, Some(&next), &authentication())
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_bound_device_is_refused_until_the_code_is_right() {
    let device = Device::new(SERIAL)
        .password(PASSWORD)
        .bound_to("other")
        .unbinding_code("code");
    let cloud = cloud_with(device).await;
    let mut http = Http::connect(&cloud).await;
    assert_eq!(
        http.authenticate(PASSWORD, &authentication()).await.json(),
        failure("bound-to-another-user")
    );
    let mut body = authentication();
    body["unbinding-code"] = json!("wrong");
    assert_eq!(
        http.authenticate(PASSWORD, &body).await.json(),
        failure("code-invalid")
    );
    body["unbinding-code"] = json!("code");
    assert_eq!(
        http.authenticate("wrong", &body).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        http.authenticate(PASSWORD, &body).await.json()["result"],
        "success"
    );
    assert_eq!(cloud.bound_to(SERIAL), None);
    cloud
        .wait_for(
            |e| e.what == What::Authentication(Authentication::CodeAccepted),
            SOON,
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn ill_formed_requests_are_refused_and_the_connection_goes_on() {
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    for body in [
        json!([]),
        json!({"serial-number": 1}),
        json!({"serial-number": SERIAL}),
    ] {
        assert_eq!(
            http.post(AUTHENTICATION, None, &body).await.status,
            StatusCode::BAD_REQUEST,
            "{body}"
        );
    }
    let padding = json!({"serial-number": "x".repeat(70_000)});
    assert_eq!(
        http.post(AUTHENTICATION, None, &padding).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn registration_needs_a_token_of_that_device_that_has_not_expired() {
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    let body = json!({"serial-number": SERIAL, "services": []});
    assert_eq!(
        http.post(REGISTRATION, None, &body).await.status,
        StatusCode::UNAUTHORIZED
    );
    let (token, _) = http.register(Some(PASSWORD)).await;
    let bearer = format!("Bearer {token}");
    let other = json!({"serial-number": "other", "services": []});
    assert_eq!(
        http.post(REGISTRATION, Some(&bearer), &other).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        http.post(REGISTRATION, Some(&bearer), &body).await.status,
        StatusCode::OK
    );
    cloud.expire_tokens();
    assert_eq!(
        http.post(REGISTRATION, Some(&bearer), &body).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn an_upgrade_without_session_token_or_subprotocol_is_refused() {
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    let (token, url) = http.register(Some(PASSWORD)).await;
    for (url, token, subprotocol, status) in [
        (
            "wss://localhost/cloud/v1/connection?session=x",
            token.as_str(),
            "cloud-connection.v1",
            404,
        ),
        (url.as_str(), "wrong", "cloud-connection.v1", 401),
        (url.as_str(), token.as_str(), "cloud-connection.v2", 400),
    ] {
        let Err(answer) = Http::connect(&cloud)
            .await
            .upgrade(url, token, subprotocol)
            .await
        else {
            panic!("upgraded with {subprotocol}");
        };
        assert_eq!(answer.status.as_u16(), status);
    }
}

#[tokio::test]
async fn a_second_main_connection_evicts_the_first() {
    let cloud = cloud().await;
    let (mut first, _) = main_connection(&cloud).await;
    let (mut second, _) = main_connection(&cloud).await;
    assert_eq!(first.closed().await, 4001);
    second
        .say(&json!({"type": "keepalive", "sequence": 1}))
        .await;
    assert_eq!(second.hear().await["sequence"], 1);
    assert!(
        cloud.is_connected(SERIAL),
        "the end of the first must not take the second out"
    );
}

#[tokio::test]
async fn a_subconnection_without_its_main_connection_is_closed_with_1008() {
    let cloud = cloud().await;
    let (mut main, token) = main_connection(&cloud).await;
    let url = main.list().await[1].1.clone();
    let mut telemetry = subconnection(&cloud, "telemetry", &url, &token).await;
    cloud.close(SERIAL, 1000).unwrap();
    assert_eq!(main.closed().await, 1000);
    assert_eq!(telemetry.closed().await, 1008);
    cloud
        .wait_for(|e| e.connection == 1 && e.what == What::Ended, SOON)
        .await
        .unwrap();
    assert_eq!(
        subconnection(&cloud, "telemetry", &url, &token)
            .await
            .closed()
            .await,
        1008
    );
}

#[tokio::test]
async fn the_token_of_a_live_main_connection_is_honoured_whatever_its_age() {
    let cloud = cloud().await;
    let (mut main, token) = main_connection(&cloud).await;
    let list = main.list().await;
    cloud.expire_tokens();
    subconnection(&cloud, "telemetry", &list[1].1, &token).await;
    cloud
        .wait_for(|e| matches!(e.what, What::ServiceUp(_)), SOON)
        .await
        .unwrap();
}

#[tokio::test]
async fn one_subconnection_too_many_is_closed_with_1013() {
    let device = Device::new(SERIAL).password(PASSWORD);
    let config = CloudConfig {
        subconnection_limit: 1,
        ..CloudConfig::with_devices([device])
    };
    let cloud = Cloud::start(config).await.unwrap();
    let (mut main, token) = main_connection(&cloud).await;
    let list = main.list().await;
    let mut first = subconnection(&cloud, "netconf", &list[0].1, &token).await;
    assert_eq!(
        subconnection(&cloud, "telemetry", &list[1].1, &token)
            .await
            .closed()
            .await,
        1013
    );
    let again = subconnection(&cloud, "netconf", &list[0].1, &token).await;
    assert_eq!(first.closed().await, 1001, "the device has given it up");
    drop(again);
}

#[tokio::test]
async fn violations_on_the_main_connection_are_closed_with_their_code() {
    let utf8 = Message::Frame(Frame::message(
        Bytes::from_static(b"\xff"),
        OpCode::Data(Data::Text),
        true,
    ));
    let reserved = Message::Frame(Frame::message(
        Bytes::new(),
        OpCode::Data(Data::Reserved(3)),
        true,
    ));
    for (message, code) in [
        (Message::text("{}"), 1002),
        (Message::text("not JSON"), 1002),
        (Message::text("{\"type\":\"keepalive\"}"), 1002),
        (
            Message::text("{\"type\":\"unbind\",\"id\":\"1\",\"code\":\"c\"}"),
            1002,
        ),
        (reserved, 1002),
        (Message::binary(vec![0]), 1003),
        (utf8, 1007),
        (Message::text(" ".repeat(256 * 1024 + 1)), 1009),
    ] {
        let cloud = cloud().await;
        let (mut main, _) = main_connection(&cloud).await;
        main.web.send(message).await.unwrap();
        assert_eq!(main.closed().await, code);
    }
}

#[tokio::test]
async fn violations_on_a_subconnection_end_that_one_alone() {
    let cloud = cloud().await;
    let (mut main, token) = main_connection(&cloud).await;
    let list = main.list().await;
    for (service, message, code) in [
        (0, Message::text("x"), 1003),
        (0, Message::binary(vec![0; 1024 * 1024 + 1]), 1009),
        (1, Message::binary(vec![0]), 1003),
        (1, Message::text("{}"), 1002),
        (1, Message::text(" ".repeat(64 * 1024 + 1)), 1009),
    ] {
        let (name, url) = &list[service];
        let mut socket = subconnection(&cloud, name, url, &token).await;
        socket.web.send(message).await.unwrap();
        assert_eq!(socket.closed().await, code);
    }
    main.say(&json!({"type": "keepalive", "sequence": 1})).await;
    assert_eq!(main.hear().await["type"], "keepalive-reply");
}

#[tokio::test]
async fn an_unknown_message_is_ignored_and_counted() {
    let cloud = cloud().await;
    let (mut main, _) = main_connection(&cloud).await;
    main.say(&json!({"type": "weather", "temperature": 21}))
        .await;
    main.say(&json!({"type": "keepalive", "sequence": 1, "more": true}))
        .await;
    assert_eq!(main.hear().await["sequence"], 1);
    assert_eq!(cloud.counters().unknown_messages, 1);
}

#[tokio::test]
async fn a_changed_list_is_sent_unasked() {
    let cloud = cloud().await;
    let (mut main, _) = main_connection(&cloud).await;
    let offers = [
        ServiceOffer::new("telemetry").revision(2),
        ServiceOffer::new("x").at("wss://elsewhere/x"),
    ];
    cloud.set_services(offers);
    let list = main.hear().await;
    assert_eq!(list["services"].as_array().unwrap().len(), 2);
    assert!(
        list["services"][0]["url"]
            .as_str()
            .unwrap()
            .ends_with("&revision=2")
    );
    assert_eq!(
        list["services"][1],
        json!({"service": "x", "url": "wss://elsewhere/x"})
    );
}

#[tokio::test]
async fn disconnect_names_its_reason_and_when_to_return() {
    let cloud = cloud().await;
    let (mut main, _) = main_connection(&cloud).await;
    cloud
        .disconnect(SERIAL, "maintenance", std::time::Duration::from_secs(30))
        .unwrap();
    let message = main.hear().await;
    assert_eq!(
        message,
        json!({"type": "disconnect", "reason": "maintenance", "retry-after": 30})
    );
    main.web.close(None).await.unwrap();
    cloud
        .wait_for(
            |e| matches!(e.what, What::PeerClosed { code: 1005, .. }),
            SOON,
        )
        .await
        .unwrap();
    cloud
        .wait_for(|e| e.what == What::Ended, SOON)
        .await
        .unwrap();
    assert!(cloud.disconnect(SERIAL, "maintenance", SOON).is_err());
}

#[tokio::test]
async fn a_wait_that_fails_quotes_the_last_events() {
    let cloud = cloud().await;
    let error = cloud
        .wait_for(|_| false, std::time::Duration::ZERO)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("listening on 127.0.0.1"),
        "{error}"
    );
}
