//! Each misbehaviour is what it says it is.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::super::{Flaw, Misbehaviour, Step, What};
use super::client::{
    AUTHENTICATION, Answer, Http, authentication, credentials, main_connection, response,
    subconnection, tls,
};
use super::{PASSWORD, SERIAL, SOON, cloud};

/// The first answer to an authentication request while the cloud does this.
async fn challenged(wrong: Misbehaviour) -> hyper::Result<Answer> {
    let cloud = cloud().await;
    cloud.set_misbehaviour(Step::Authentication, wrong);
    Http::connect(&cloud)
        .await
        .try_post(AUTHENTICATION, None, &authentication())
        .await
}

#[tokio::test]
async fn a_connection_is_reset_closed_or_held_before_its_first_byte() {
    let cloud = cloud().await;
    for (wrong, reset) in [(Misbehaviour::Reset, true), (Misbehaviour::Close, false)] {
        cloud.set_misbehaviour(Step::Connect, wrong);
        let mut tcp = TcpStream::connect(cloud.addr()).await.unwrap();
        let read = tokio::time::timeout(SOON, tcp.read(&mut [0]))
            .await
            .unwrap();
        assert_eq!(read.is_err(), reset);
    }
    let mark = cloud.mark();
    cloud.set_misbehaviour(Step::Connect, Misbehaviour::Silent);
    let mut tcp = TcpStream::connect(cloud.addr()).await.unwrap();
    tcp.write_all(b"anything").await.unwrap();
    tcp.shutdown().await.unwrap();
    cloud
        .wait_after(mark, |e| e.what == What::Ended, SOON)
        .await
        .unwrap();
    assert_eq!(
        tcp.read(&mut [0]).await.unwrap(),
        0,
        "not a byte was answered"
    );
}

#[tokio::test]
async fn flawed_certificates_are_refused_by_an_ordinary_client() {
    let cloud = cloud().await;
    for flaw in [
        Flaw::OtherName,
        Flaw::Expired,
        Flaw::NotYetValid,
        Flaw::UnknownAuthority,
    ] {
        let mark = cloud.mark();
        cloud.set_misbehaviour_times(Step::Tls, Misbehaviour::Certificate(flaw), 1);
        let error = tls(&cloud, cloud.addr(), "localhost").await.unwrap_err();
        assert!(
            error.to_string().contains("invalid peer certificate"),
            "{flaw:?}: {error}"
        );
        cloud
            .wait_after(mark, |e| matches!(e.what, What::TlsFailed(_)), SOON)
            .await
            .unwrap();
    }
    tls(&cloud, cloud.addr(), "localhost").await.unwrap();
    cloud.set_misbehaviour(Step::Tls, Misbehaviour::NotTls);
    tls(&cloud, cloud.addr(), "localhost").await.unwrap_err();
}

#[tokio::test]
async fn a_dripping_handshake_and_a_dripping_answer_arrive_in_the_end() {
    let cloud = cloud().await;
    cloud.set_misbehaviour_times(Step::Tls, Misbehaviour::Drip(Duration::from_micros(10)), 1);
    cloud.set_misbehaviour_times(
        Step::Authentication,
        Misbehaviour::Drip(Duration::from_micros(10)),
        1,
    );
    let answer = Http::connect(&cloud)
        .await
        .authenticate(PASSWORD, &authentication())
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_is_delayed_or_never_comes() {
    let delay = Duration::from_millis(50);
    let before = Instant::now();
    challenged(Misbehaviour::Delay(delay)).await.unwrap();
    assert!(before.elapsed() >= delay);
    let never = tokio::time::timeout(delay, challenged(Misbehaviour::Silent)).await;
    assert!(never.is_err());
    assert!(challenged(Misbehaviour::Reset).await.is_err());
    assert!(challenged(Misbehaviour::Close).await.is_err());
}

#[tokio::test]
async fn answers_of_another_status_carry_what_was_asked_for() {
    let busy = Misbehaviour::Busy {
        status: 429,
        retry_after: Some("7".to_owned()),
    };
    let answer = challenged(busy).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "7")
    );
    let answer = challenged(Misbehaviour::Redirect("https://elsewhere/".to_owned()))
        .await
        .unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (307, "https://elsewhere/")
    );
    assert_eq!(
        challenged(Misbehaviour::Status(500))
            .await
            .unwrap()
            .status
            .as_u16(),
        500
    );
    let answer = challenged(Misbehaviour::Answer(403, "{\"a\":1}".to_owned()))
        .await
        .unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (403, json!({"a": 1}))
    );
}

#[tokio::test]
async fn bodies_are_broken_huge_or_in_chunks() {
    let answer = challenged(Misbehaviour::BadJson).await.unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    let answer = challenged(Misbehaviour::Huge(1_000_000)).await.unwrap();
    assert!(answer.body.len() >= 1_000_000);
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    cloud.set_misbehaviour(Step::Authentication, Misbehaviour::Chunked);
    let answer = http.authenticate(PASSWORD, &authentication()).await;
    assert_eq!(
        (answer.header("transfer-encoding"), &answer.json()["result"]),
        ("chunked", &json!("success"))
    );
}

#[tokio::test]
async fn early_hints_come_before_the_right_answer() {
    let cloud = cloud().await;
    cloud.set_misbehaviour(Step::Authentication, Misbehaviour::EarlyHints);
    let mut stream = tls(&cloud, cloud.addr(), "localhost").await.unwrap();
    let head = "POST /cloud/v1/authentication HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end may come without TLS's own close; what counts is what came before it.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 103 Early Hints\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\n\r\nHTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_connection_closed_between_steps_ends_after_the_right_answer() {
    let cloud = cloud().await;
    cloud.set_misbehaviour_times(Step::Authentication, Misbehaviour::ConnectionClose, 1);
    let mut http = Http::connect(&cloud).await;
    let challenge = http.post(AUTHENTICATION, None, &authentication()).await;
    assert_eq!(challenge.header("connection"), "close");
    cloud
        .wait_for(|e| e.what == What::Ended, SOON)
        .await
        .unwrap();
    let authorization = credentials(&challenge, PASSWORD, 1);
    let mut second = Http::connect(&cloud).await;
    let answer = second
        .post(AUTHENTICATION, Some(&authorization), &authentication())
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn challenges_offer_what_was_asked_for() {
    for (wrong, expected) in [
        (Misbehaviour::OnlyMd5, vec!["algorithm=MD5"]),
        (Misbehaviour::OnlyBasic, vec!["Basic"]),
        (
            Misbehaviour::ManyChallenges,
            vec!["algorithm=MD5", "Basic", "algorithm=SHA-256"],
        ),
    ] {
        let answer = challenged(wrong).await.unwrap();
        let values: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(values.len(), expected.len());
        for (value, part) in values.iter().zip(expected) {
            assert!(value.to_str().unwrap().contains(part), "{value:?}");
        }
    }
}

#[tokio::test]
async fn proofs_are_wrong_or_missing_and_nonces_always_stale() {
    let cloud = cloud().await;
    let mut http = Http::connect(&cloud).await;
    cloud.set_misbehaviour(Step::Authentication, Misbehaviour::WrongRspauth);
    let challenge = http.post(AUTHENTICATION, None, &authentication()).await;
    let answer = http
        .post(
            AUTHENTICATION,
            Some(&credentials(&challenge, PASSWORD, 1)),
            &authentication(),
        )
        .await;
    let right = response(PASSWORD, "cloud", &challenge.member("nonce"), 1, "");
    assert_ne!(answer.member("rspauth"), right);
    cloud.set_misbehaviour(Step::Authentication, Misbehaviour::NoRspauth);
    let answer = http.authenticate(PASSWORD, &authentication()).await;
    assert!(!answer.header("authentication-info").contains("rspauth"));
    cloud.set_misbehaviour(Step::Authentication, Misbehaviour::AlwaysStale);
    let answer = http.authenticate(PASSWORD, &authentication()).await;
    assert!(answer.header("www-authenticate").contains("stale=true"));
    cloud.clear_misbehaviour(None);
    assert_eq!(
        http.authenticate(PASSWORD, &authentication()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_handshake_names_another_subprotocol_or_accepts_another_key() {
    let cloud = cloud().await;
    cloud.set_misbehaviour_times(Step::Upgrade, Misbehaviour::WrongSubprotocol, 1);
    let (socket, _) = main_connection(&cloud).await;
    assert_eq!(socket.headers["sec-websocket-protocol"], "chat");
    cloud.set_misbehaviour_times(Step::Upgrade, Misbehaviour::WrongAccept, 1);
    let (socket, _) = main_connection(&cloud).await;
    assert!(!socket.accepts_the_key());
}

#[tokio::test]
async fn keepalives_stay_unanswered_or_get_a_wrong_sequence() {
    let cloud = cloud().await;
    let (mut main, _) = main_connection(&cloud).await;
    cloud.set_misbehaviour_times(Step::Keepalive, Misbehaviour::Silent, 1);
    main.say(&json!({"type": "keepalive", "sequence": 1})).await;
    let unanswered = What::Keepalive {
        sequence: 1,
        answered: false,
    };
    cloud
        .wait_for(|e| e.what == unanswered, SOON)
        .await
        .unwrap();
    cloud.set_misbehaviour_times(Step::Keepalive, Misbehaviour::WrongSequence, 1);
    main.say(&json!({"type": "keepalive", "sequence": 2})).await;
    assert_eq!(main.hear().await["sequence"], 3);
}

#[tokio::test]
async fn messages_on_the_main_connection_go_wrong() {
    let cloud = cloud().await;
    let (mut main, _) = main_connection(&cloud).await;
    let request = json!({"type": "subconnections-request"});
    let list = |wrong| cloud.set_misbehaviour_times(Step::List, wrong, 1);

    list(Misbehaviour::DoubledService);
    main.say(&request).await;
    let doubled = main.hear().await;
    assert_eq!(doubled["services"][0], doubled["services"][2]);
    list(Misbehaviour::Text("{\"type\":\"weather\"}".to_owned()));
    main.say(&request).await;
    assert_eq!(main.hear().await["type"], "weather");
    assert_eq!(main.hear().await["type"], "subconnections");
    list(Misbehaviour::Binary(vec![1]));
    main.say(&request).await;
    assert_eq!(main.next().await, Message::binary(vec![1]));
    list(Misbehaviour::BadJson);
    main.say(&request).await;
    assert_eq!(main.next().await, Message::text("{\"type\":"));
    list(Misbehaviour::Huge(300_000));
    main.say(&request).await;
    assert!(main.next().await.len() >= 300_000);
    list(Misbehaviour::CloseFrame(1011));
    main.say(&request).await;
    assert_eq!(main.closed().await, 1011);
}

#[tokio::test]
async fn text_that_is_not_utf_8_reaches_the_device() {
    let cloud = cloud().await;
    cloud.set_misbehaviour(Step::Established, Misbehaviour::InvalidUtf8);
    let (mut main, _) = main_connection(&cloud).await;
    let error = main.poll().await.unwrap().unwrap_err();
    assert!(
        matches!(error, tokio_tungstenite::tungstenite::Error::Utf8(_)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_reset_and_the_cloud_serves_on() {
    let cloud = cloud().await;
    // Two tasks hear of it; neither may say a word, whoever comes first.
    for _ in 0..16 {
        let (mut main, _) = main_connection(&cloud).await;
        let mark = cloud.mark();
        cloud.kill_connections();
        assert!(!matches!(main.poll().await, Some(Ok(_))));
        cloud
            .wait_after(mark, |e| e.what == What::Ended, SOON)
            .await
            .unwrap();
    }
    main_connection(&cloud).await;
}

#[tokio::test]
async fn a_subconnection_goes_silent_and_the_others_do_not_notice() {
    let cloud = cloud().await;
    let (mut main, token) = main_connection(&cloud).await;
    let list = main.list().await;
    cloud.set_misbehaviour_times(Step::Service, Misbehaviour::Silent, 1);
    let silent = subconnection(&cloud, "netconf", &list[0].1, &token).await;
    let misbehaved = |e: &super::super::Event| matches!(e.what, What::Misbehaved { .. });
    cloud.wait_for(misbehaved, SOON).await.unwrap();
    let mut telemetry = subconnection(&cloud, "telemetry", &list[1].1, &token).await;
    futures_util::SinkExt::send(&mut telemetry.web, Message::Ping("x".into()))
        .await
        .unwrap();
    assert_eq!(telemetry.next().await, Message::Pong("x".into()));
    main.say(&json!({"type": "keepalive", "sequence": 1})).await;
    assert_eq!(main.hear().await["sequence"], 1);
    drop(silent);
    assert!(cloud.is_connected(SERIAL));
}

#[test]
fn misbehaviours_are_read_from_words() {
    let read = |words: &str| words.parse::<Misbehaviour>();
    assert_eq!(
        read("delay 500"),
        Ok(Misbehaviour::Delay(Duration::from_millis(500)))
    );
    let busy = Misbehaviour::Busy {
        status: 503,
        retry_after: Some("30".to_owned()),
    };
    assert_eq!(read("busy 503 30"), Ok(busy));
    assert_eq!("keepalive".parse(), Ok(Step::Keepalive));
    assert_eq!(Step::Keepalive.to_string(), "keepalive");
    for words in [
        "",
        "delay",
        "delay x",
        "status 103",
        "close-frame 99999",
        "nonsense",
    ] {
        assert!(read(words).is_err(), "{words}");
    }
}
