//! Authentication and registration against clouds that keep to the page, and against those that do not.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{Connection, NetError};
use super::scripted::{Respond, always, connected, header, json, parameter, proof};
use super::{endpoint, surroundings};
use crate::model::settings::Secret;
use crate::tunnel::machine::event::{AuthenticationOutcome, StepError};
use crate::tunnel::wire::{
    AuthenticationRequest, DigestError, MAX_BODY, Nonces, RegistrationAnswer, RegistrationRequest,
    WireError,
};

const GRANTED: &str = r#"{"result":"success","token":"t0k3n","expires-in":3600}"#;

fn request() -> AuthenticationRequest {
    AuthenticationRequest {
        serial_number: "s1".into(),
        model: "unknown".into(),
        software: "tether/0.1.0".into(),
        unbinding_code: None,
    }
}

fn granted() -> AuthenticationOutcome {
    AuthenticationOutcome::Granted {
        token: Secret::new("t0k3n"),
    }
}

fn challenge(nonce: &str, more: &str) -> Respond {
    always(json(
        401,
        &format!(
            "www-authenticate: Basic realm=\"r\"\r\nwww-authenticate: Digest realm=\"r\", \
             qop=\"auth\", algorithm=SHA-256, nonce=\"{nonce}\", opaque=\"o\"{more}\r\n"
        ),
        "",
    ))
}

fn proven(more: &'static str) -> Respond {
    Box::new(move |request| {
        let proof = proof(request, "s1", "pw");
        json(200, &format!("{proof}{more}\r\n"), GRANTED)
    })
}

/// One authentication with the password `pw` against this script.
async fn authenticate(
    script: Vec<Respond>,
) -> (Result<(AuthenticationOutcome, bool), NetError>, Vec<String>) {
    authenticate_with(script, &Mutex::default(), Some("pw")).await
}

async fn authenticate_with(
    script: Vec<Respond>,
    nonces: &Mutex<Nonces>,
    password: Option<&str>,
) -> (Result<(AuthenticationOutcome, bool), NetError>, Vec<String>) {
    let (mut connection, server) = connected(script).await;
    let password = password.map(Secret::new);
    let done = connection
        .authenticate(nonces, &request(), password.as_ref())
        .await;
    drop(connection);
    (done, server.await.unwrap())
}

#[tokio::test]
async fn a_challenge_is_answered_on_the_same_connection() {
    let (done, seen) = authenticate(vec![challenge("n1", ""), proven("")]).await;
    assert_eq!(done.unwrap(), (granted(), true));
    assert_eq!(header(&seen[0], "authorization"), None);
    assert_eq!(header(&seen[0], "host"), Some("cloud.example"));
    assert_eq!(header(&seen[0], "content-type"), Some("application/json"));
    assert_eq!(parameter(&seen[1], "username"), "s1");
    assert_eq!(parameter(&seen[1], "opaque"), "o");
    assert!(seen.iter().all(|request| !request.contains("pw")));
}

#[tokio::test]
async fn a_kept_nonce_saves_the_challenge() {
    let nonces = Mutex::default();
    let script = vec![challenge("n1", ""), proven("")];
    authenticate_with(script, &nonces, Some("pw"))
        .await
        .0
        .unwrap();
    let (done, seen) = authenticate_with(vec![proven("")], &nonces, Some("pw")).await;
    assert_eq!(done.unwrap().0, granted());
    assert_eq!(parameter(&seen[0], "nc"), "00000002");
}

#[tokio::test]
async fn the_next_nonce_is_used() {
    let nonces = Mutex::default();
    let script = vec![challenge("n1", ""), proven(", nextnonce=\"n2\"")];
    authenticate_with(script, &nonces, Some("pw"))
        .await
        .0
        .unwrap();
    let (_, seen) = authenticate_with(vec![proven("")], &nonces, Some("pw")).await;
    assert_eq!(parameter(&seen[0], "nonce"), "n2");
    assert_eq!(parameter(&seen[0], "nc"), "00000001");
}

#[tokio::test]
async fn a_stale_nonce_costs_one_round_trip_and_a_second_is_an_error() {
    let stale = || challenge("n2", ", stale=true");
    let (done, seen) = authenticate(vec![challenge("n1", ""), stale(), proven("")]).await;
    assert_eq!(done.unwrap().0, granted());
    assert_eq!(seen.len(), 3);

    let (done, _) = authenticate(vec![challenge("n1", ""), stale(), stale()]).await;
    assert!(matches!(
        done,
        Err(NetError::Digest(DigestError::StaleTwice))
    ));
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let script = vec![challenge("n1", ""), challenge("n2", "")];
    let (done, _) = authenticate(script).await;
    assert_eq!(done.unwrap().0, AuthenticationOutcome::PasswordRefused);
}

#[tokio::test]
async fn a_challenge_without_a_password_is_refused() {
    let script = vec![challenge("n1", "")];
    let (done, seen) = authenticate_with(script, &Mutex::default(), None).await;
    assert_eq!(done.unwrap().0, AuthenticationOutcome::PasswordRefused);
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_cloud_without_proof_is_not_authentic() {
    let wrong = "authentication-info: rspauth=\"00\"\r\n";
    for answer in [json(200, wrong, GRANTED), json(200, "", GRANTED)] {
        let (done, _) = authenticate(vec![challenge("n1", ""), always(answer)]).await;
        assert_eq!(done.unwrap().0, AuthenticationOutcome::CloudNotAuthentic);
    }
    let (done, _) = authenticate(vec![always(json(200, "", GRANTED))]).await;
    assert_eq!(done.unwrap().0, AuthenticationOutcome::CloudNotAuthentic);
}

#[tokio::test]
async fn nothing_is_sent_for_a_weak_challenge() {
    for offered in [
        "Digest realm=\"r\", qop=\"auth\", algorithm=MD5, nonce=\"n\"",
        "Basic realm=\"r\"",
    ] {
        let header = format!("www-authenticate: {offered}\r\n");
        let (done, seen) = authenticate(vec![always(json(401, &header, "")), proven("")]).await;
        assert_eq!(done.unwrap_err().step(), StepError::Protocol);
        assert_eq!(seen.len(), 1);
    }
}

#[tokio::test]
async fn without_a_password_nothing_is_proven() {
    let script = vec![always(json(200, "", GRANTED))];
    let (done, _) = authenticate_with(script, &Mutex::default(), None).await;
    assert_eq!(done.unwrap(), (granted(), true));
}

#[tokio::test]
async fn a_closing_cloud_is_asked_again_elsewhere() {
    let closing = challenge("n1", "");
    let closing: Respond = Box::new(move |request| {
        closing(request).replacen("www-", "connection: x, Close\r\nwww-", 1)
    });
    let nonces = Mutex::default();
    let (done, _) = authenticate_with(vec![closing], &nonces, Some("pw")).await;
    assert_eq!(done.unwrap(), (AuthenticationOutcome::AskAgain, false));
    let (done, seen) = authenticate_with(vec![proven("")], &nonces, Some("pw")).await;
    assert_eq!(done.unwrap().0, granted());
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn informational_answers_and_chunks_are_understood() {
    let chunked = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
         HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &GRANTED[..5],
        GRANTED.len() - 5,
        &GRANTED[5..],
    );
    let (done, _) = authenticate_with(vec![always(chunked)], &Mutex::default(), None).await;
    assert_eq!(done.unwrap(), (granted(), true));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let redirect = json(307, "location: https://elsewhere.example/\r\n", "");
    let (done, seen) = authenticate(vec![always(redirect), proven("")]).await;
    assert!(matches!(done, Err(NetError::Wire(WireError::Status(307)))));
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read() {
    // Announces 1 GiB; the pipe holds far less, so a device that read on would wait for ever.
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let answer = format!("{announced}{}", "x".repeat(2 * MAX_BODY));
    let (done, _) = authenticate(vec![always(answer)]).await;
    assert!(matches!(
        done,
        Err(NetError::Wire(WireError::TooLarge { limit: MAX_BODY }))
    ));
}

#[tokio::test]
async fn what_is_not_http_breaks_the_protocol() {
    let (done, _) = authenticate(vec![always("SSH-2.0-OpenSSH_9.2\r\n\r\n")]).await;
    assert_eq!(done.unwrap_err().step(), StepError::Protocol);
    let (done, _) = authenticate(vec![always(json(200, "", "{"))]).await;
    assert_eq!(done.unwrap_err().step(), StepError::Protocol);
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_failed_to_connect() {
    let (done, _) = authenticate(vec![always("")]).await;
    assert_eq!(done.unwrap_err().step(), StepError::Connect);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_drips_is_given_up() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let dripping = tokio::spawn(async move {
        theirs.read_u8().await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n";
        theirs.write_all(head).await.unwrap();
        while theirs.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let endpoint = endpoint("cloud.example", 443);
    let opened = Connection::open(&surroundings(), &endpoint, ours).await;
    let mut connection = opened.unwrap();
    let done = connection
        .authenticate(&Mutex::default(), &request(), None)
        .await;
    assert!(matches!(done, Err(NetError::TooLong)));
    drop(connection);
    // The socket is gone, so the cloud cannot go on.
    dripping.await.unwrap();
}

#[tokio::test]
async fn busy_says_how_long() {
    let date = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let until = format!("{date}retry-after: Thu, 01 Jan 1970 00:02:00 GMT\r\n");
    for (headers, expected) in [
        ("retry-after: 30\r\n", Some(30)),
        (until.as_str(), Some(120)),
        ("retry-after: soon\r\n", None),
        ("", None),
    ] {
        let (done, _) = authenticate(vec![always(json(503, headers, ""))]).await;
        let retry_after = expected.map(Duration::from_secs);
        assert_eq!(
            done.unwrap().0,
            AuthenticationOutcome::Busy { retry_after },
            "{headers}"
        );
    }
}

#[tokio::test]
async fn the_registration_carries_the_token() {
    let url = "wss://cloud.example/cloud/v1/connection?session=1";
    let body = format!(r#"{{"url":"{url}","session":"1"}}"#);
    let (mut connection, server) = connected(vec![always(json(200, "", &body))]).await;
    let request = RegistrationRequest {
        serial_number: "s1".into(),
        services: vec!["telemetry".into()],
        last_down_reason: None,
    };
    let (answer, reusable) = connection
        .register(&Secret::new("t0k3n"), &request)
        .await
        .unwrap();
    assert!(reusable);
    assert_eq!(
        answer,
        RegistrationAnswer::Success {
            url: url.parse().unwrap(),
            session: "1".into(),
        }
    );
    drop(connection);
    let seen = server.await.unwrap();
    assert!(seen[0].starts_with("POST /cloud/v1/registration HTTP/1.1\r\n"));
    assert_eq!(header(&seen[0], "authorization"), Some("Bearer t0k3n"));
}

#[tokio::test]
async fn an_expired_token_is_told_from_a_failed_registration() {
    let request = RegistrationRequest {
        serial_number: "s1".into(),
        services: Vec::new(),
        last_down_reason: None,
    };
    for (status, expected) in [
        (401, RegistrationAnswer::TokenExpired),
        (404, RegistrationAnswer::Failed { status: 404 }),
        (429, RegistrationAnswer::Busy { retry_after: None }),
    ] {
        let (mut connection, _server) = connected(vec![always(json(status, "", ""))]).await;
        let answer = connection.register(&Secret::new("t"), &request).await;
        assert_eq!(answer.unwrap(), (expected, true));
    }
}
