//! The upgrade, right and wrong.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::super::{Connection, Upgraded};
use super::scripted::{Respond, always, connected, header, json};
use super::{endpoint, surroundings};
use crate::model::settings::Secret;
use crate::tunnel::wire::{CloudUrl, MAX_MAIN_MESSAGE, UpgradeRefusal};

fn url() -> CloudUrl {
    "wss://cloud.example/c?session=1".parse().unwrap()
}

fn switching(request: &str, subprotocol: &str) -> String {
    let accept = derive_accept_key(header(request, "sec-websocket-key").unwrap().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {subprotocol}\r\n\r\n"
    )
}

async fn upgrade(respond: Respond) -> (UpgradeRefusal, bool) {
    let (mut connection, _server) = connected(vec![respond]).await;
    match connection.upgrade(&url(), &Secret::new("t0k3n")).await {
        Ok(Upgraded::Refused { refusal, reusable }) => (refusal, reusable),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn messages_flow_after_a_right_handshake() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let server = tokio::spawn(async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(theirs.read_u8().await.unwrap());
        }
        let request = String::from_utf8(head).unwrap();
        let answer = switching(&request, "cloud-connection.v1");
        theirs.write_all(answer.as_bytes()).await.unwrap();
        let mut server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let heard = server.next().await.unwrap().unwrap();
        server.send(heard).await.unwrap();
        let long = vec![b' '; MAX_MAIN_MESSAGE + 1];
        let long = Message::Text(tungstenite::Utf8Bytes::try_from(Bytes::from(long)).unwrap());
        server.send(long).await.unwrap();
        request
    });
    let endpoint = endpoint("cloud.example", 443);
    let opened = Connection::open(&surroundings(), &endpoint, ours).await;
    let mut connection = opened.unwrap();
    let upgraded = connection.upgrade(&url(), &Secret::new("t0k3n")).await;
    let Ok(Upgraded::Open(mut websocket)) = upgraded else {
        panic!("refused: {upgraded:?}");
    };
    // The handshake took the socket over: the connection it came from may go.
    drop(connection);
    websocket.send(Message::text("hello")).await.unwrap();
    let heard = websocket.next().await.unwrap().unwrap();
    assert_eq!(heard, Message::text("hello"));
    assert!(matches!(
        websocket.next().await,
        Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. })))
    ));
    let request = server.await.unwrap();
    assert!(request.starts_with("GET /c?session=1 HTTP/1.1\r\n"));
    assert_eq!(header(&request, "authorization"), Some("Bearer t0k3n"));
    assert_eq!(header(&request, "sec-websocket-version"), Some("13"));
    assert_eq!(header(&request, "sec-websocket-extensions"), None);
}

#[tokio::test]
async fn a_101_that_is_not_right_is_refused() {
    let right = |request: &str| switching(request, "cloud-connection.v1");
    let wrong: [fn(&str) -> String; 6] = [
        |answer| answer.replace("sec-websocket-accept: ", "sec-websocket-accept: AA"),
        |answer| answer.replace("sec-websocket-accept", "x-accept"),
        |answer| answer.replace("sec-websocket-protocol", "x-protocol"),
        |answer| answer.replace("cloud-connection.v1", "cloud-connection.v2"),
        |answer| answer.replace("WebSocket", "h2c"),
        |answer| {
            let extension = "sec-websocket-extensions: permessage-deflate\r\nupgrade";
            answer.replacen("upgrade", extension, 1)
        },
    ];
    for change in wrong {
        let respond: Respond = Box::new(move |request| change(&right(request)));
        let refused = upgrade(respond).await;
        assert_eq!(refused, (UpgradeRefusal::Failed { status: 101 }, false));
    }
}

#[tokio::test]
async fn each_refusal_of_the_handshake_is_told_apart() {
    let busy = r#"{"result":"failure","reason":"busy"}"#;
    let retry_after = Some(std::time::Duration::from_secs(7));
    for (answer, expected) in [
        (json(401, "", ""), UpgradeRefusal::TokenExpired),
        (
            json(503, "retry-after: 7\r\n", ""),
            UpgradeRefusal::Busy { retry_after },
        ),
        (
            json(403, "", busy),
            UpgradeRefusal::Busy { retry_after: None },
        ),
        (json(404, "", ""), UpgradeRefusal::Failed { status: 404 }),
        (json(200, "", ""), UpgradeRefusal::Failed { status: 200 }),
    ] {
        assert_eq!(upgrade(always(answer)).await, (expected, true));
    }
}

#[tokio::test]
async fn a_service_asks_for_its_own_subprotocol() {
    let respond: Respond = Box::new(|request| switching(request, "cloud-service.telemetry.v1"));
    let (mut connection, server) = connected(vec![respond]).await;
    let token = Secret::new("t");
    let upgraded = connection
        .upgrade_service(&url(), &token, "telemetry")
        .await;
    assert!(matches!(upgraded, Ok(Upgraded::Open(_))));
    let seen = server.await.unwrap();
    assert_eq!(
        header(&seen[0], "sec-websocket-protocol"),
        Some("cloud-service.telemetry.v1")
    );
}
