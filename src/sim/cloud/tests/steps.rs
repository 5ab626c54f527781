//! The eleven steps as they should go.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::super::{Authentication, Cloud, CloudConfig, Device, What};
use super::client::{Http, main_connection, subconnection};
use super::{PASSWORD, SERIAL, SOON, cloud, cloud_with};

#[tokio::test]
async fn three_kinds_of_request_and_the_upgrade_share_one_connection() {
    let cloud = cloud().await;
    let (socket, _) = main_connection(&cloud).await;
    assert!(socket.accepts_the_key());
    assert_eq!(
        socket.headers["sec-websocket-protocol"],
        "cloud-connection.v1"
    );
    let up = cloud
        .wait_for(|e| matches!(e.what, What::MainUp { .. }), SOON)
        .await
        .unwrap();
    assert_eq!(up.serial.as_deref(), Some(SERIAL));
    assert_eq!(
        up.what,
        What::MainUp {
            requests: 4,
            round_trips: 6
        }
    );
    let counters = cloud.counters();
    assert_eq!(
        (
            counters.connections,
            counters.challenges,
            counters.authenticated
        ),
        (1, 1, 1)
    );
    assert!(cloud.is_connected(SERIAL));
}

#[tokio::test]
async fn a_device_without_a_password_is_let_in_unchallenged() {
    let cloud = cloud_with(Device::new(SERIAL)).await;
    let mut http = Http::connect(&cloud).await;
    let (token, url) = http.register(None).await;
    http.upgrade(&url, &token, "cloud-connection.v1")
        .await
        .unwrap();
    let success = What::Authentication(Authentication::Success { nonce_count: None });
    cloud.wait_for(|e| e.what == success, SOON).await.unwrap();
}

#[tokio::test]
async fn a_keepalive_is_answered_with_its_sequence() {
    let cloud = cloud().await;
    let (mut socket, _) = main_connection(&cloud).await;
    socket
        .say(&json!({"type": "keepalive", "sequence": 7}))
        .await;
    assert_eq!(
        socket.hear().await,
        json!({"type": "keepalive-reply", "sequence": 7})
    );
}

#[tokio::test]
async fn telemetry_is_kept_and_bytes_are_kept() {
    let cloud = cloud().await;
    let (mut socket, token) = main_connection(&cloud).await;
    let list = socket.list().await;
    let names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["netconf", "telemetry"]);
    let mut telemetry = subconnection(&cloud, "telemetry", &list[1].1, &token).await;
    let content = json!({"new-state": "established"});
    telemetry
        .say(&json!({"ietf-restconf:notification": {"eventTime": "2026-01-01T00:00:00Z", "cloud-management:connection-state-changed": content}}))
        .await;
    cloud
        .wait_for(|e| matches!(e.what, What::Telemetry { .. }), SOON)
        .await
        .unwrap();
    let kept = cloud.telemetry(SERIAL);
    assert_eq!(kept[0].name, "cloud-management:connection-state-changed");
    assert_eq!(kept[0].content, content);

    let mut netconf = subconnection(&cloud, "netconf", &list[0].1, &token).await;
    futures_util::SinkExt::send(&mut netconf.web, Message::binary(vec![1, 2, 3]))
        .await
        .unwrap();
    cloud
        .wait_for(|e| matches!(e.what, What::Bytes { .. }), SOON)
        .await
        .unwrap();
    assert_eq!(cloud.received(SERIAL, "netconf"), [1, 2, 3]);
    cloud
        .send_to_service(SERIAL, "netconf", vec![4, 5])
        .unwrap();
    assert_eq!(netconf.next().await, Message::binary(vec![4, 5]));
    assert_eq!(cloud.open_services(SERIAL), ["netconf", "telemetry"]);
}

#[tokio::test]
async fn an_unbinding_code_lifts_the_binding_on_the_main_connection() {
    let cloud = cloud_with(
        Device::new(SERIAL)
            .password(PASSWORD)
            .unbinding_code("code"),
    )
    .await;
    let (mut socket, _) = main_connection(&cloud).await;
    cloud.bind(SERIAL, Some("other"));
    socket
        .say(&json!({"type": "unbind", "id": 1, "code": "wrong"}))
        .await;
    let failure =
        json!({"type": "unbind-result", "id": 1, "result": "failure", "reason": "code-invalid"});
    assert_eq!(socket.hear().await, failure);
    assert_eq!(cloud.bound_to(SERIAL).as_deref(), Some("other"));
    socket
        .say(&json!({"type": "unbind", "id": 2, "code": "code"}))
        .await;
    assert_eq!(
        socket.hear().await,
        json!({"type": "unbind-result", "id": 2, "result": "success"})
    );
    assert_eq!(cloud.bound_to(SERIAL), None);
}

#[tokio::test]
async fn the_same_port_serves_again_after_a_restart() {
    let mut cloud = cloud().await;
    let address = cloud.addr();
    let (socket, _) = main_connection(&cloud).await;
    cloud.restart().await.unwrap();
    assert_eq!(cloud.addr(), address);
    drop(socket);
    main_connection(&cloud).await;
    assert_eq!(cloud.counters().mains, 2);
}

#[tokio::test]
async fn one_cloud_listens_on_several_addresses() {
    let mut cloud = cloud().await;
    let second = cloud.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert_ne!(second, cloud.addr());
    super::client::tls(&cloud, second, "127.0.0.1")
        .await
        .unwrap();
    assert_eq!(cloud.addrs().len(), 2);
}

#[tokio::test]
async fn latency_is_paid_once_a_direction_and_round_trip() {
    let latency = std::time::Duration::from_millis(20);
    let device = Device::new(SERIAL).password(PASSWORD);
    let config = CloudConfig {
        latency,
        ..CloudConfig::with_devices([device])
    };
    let cloud = Cloud::start(config).await.unwrap();
    let before = std::time::Instant::now();
    main_connection(&cloud).await;
    // TLS, two authentications, registration, upgrade; TCP itself is not delayed.
    assert!(before.elapsed() >= latency * 2 * 5);
}

#[tokio::test]
async fn shutting_down_says_1001_and_ends_every_connection() {
    let cloud = cloud().await;
    let (mut socket, _) = main_connection(&cloud).await;
    let (code, ()) = tokio::join!(socket.closed(), cloud.shutdown());
    assert_eq!(code, 1001);
}
