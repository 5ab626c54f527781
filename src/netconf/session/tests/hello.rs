//! The beginning of a session.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_peer_of_base_1_0_is_served_with_end_of_message_marks() {
    let mut client = Client::open_with(Limits::default(), BASE_1_0).await;
    assert!(client.ask(&rpc(1, "<get/>")).await.ends_with(GET_REPLY));
    let reply = client.ask("not XML").await;
    assert!(
        reply.contains("<error-tag>operation-failed</error-tag>"),
        "{reply}"
    );
    assert_eq!(client.ask(&rpc(2, "<close-session/>")).await, ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_hello_split_at_each_octet_is_read() {
    let mut client = Client::start();
    for octet in encode(Framing::EndOfMessage, hello(&[BASE_1_0]).as_bytes()) {
        client.send_raw(&[octet]).await;
        tokio::task::yield_now().await;
    }
    client.receive().await.unwrap();
    assert_eq!(client.ask(&rpc(1, "<close-session/>")).await, ok(1));
}

#[tokio::test(start_paused = true)]
async fn requests_may_come_in_one_write_with_the_hello() {
    let mut client = Client::start();
    let mut octets = encode(
        Framing::EndOfMessage,
        hello(&[BASE_1_0, BASE_1_1]).as_bytes(),
    );
    octets.extend(encode(
        Framing::Chunked,
        rpc(1, "<close-session/>").as_bytes(),
    ));
    client.send_raw(&octets).await;
    client.receive().await.unwrap();
    client.framer.set_framing(Framing::Chunked);
    assert_eq!(client.receive().await.unwrap(), ok(1));
}

#[tokio::test(start_paused = true)]
async fn bad_hellos_end_the_session() {
    let with_id = Hello {
        capabilities: vec![BASE_1_1.into()],
        session_id: Some(1),
    }
    .write();
    let wrong_namespace = hello(&[BASE_1_1]).replace("base:1.0\"", "base:9.9\"");
    for first in [
        hello(&[]),
        hello(&["urn:x"]),
        with_id,
        wrong_namespace,
        rpc(1, "<get/>"),
        "<hello".into(),
        String::new(),
    ] {
        let mut client = Client::start();
        client.send(&first).await;
        assert!(
            matches!(client.refusal().await, SessionError::Hello(_)),
            "{first}"
        );
    }
    let mut chunked = Client::start();
    chunked
        .send_raw(&encode(Framing::Chunked, hello(&[BASE_1_1]).as_bytes()))
        .await;
    assert!(matches!(
        chunked.refusal().await,
        SessionError::Framing(FramingError::ChunkedTooEarly)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_when_its_hello_is_due() {
    let started = Instant::now();
    let client = Client::start();
    assert!(matches!(
        client.refusal().await,
        SessionError::HelloTimeout(_)
    ));
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_second_hello_ends_the_session() {
    let mut client = Client::open().await;
    client.send(&hello(&[BASE_1_1])).await;
    assert!(matches!(client.refusal().await, SessionError::SecondHello));
}

#[tokio::test(start_paused = true)]
async fn a_full_server_refuses_before_the_hello() {
    let server = Server(Arc::new(State {
        is_full: true,
        ..State::default()
    }));
    let mut client = Client::start_with(Limits::default(), server);
    assert_eq!(client.receive().await, None);
    let (result, ends) = client.end().await;
    assert!(matches!(result, Err(SessionError::Refused(_))));
    assert_eq!(ends, []);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_silent_sessions_do_not_disturb_one_that_works() {
    let silent: Vec<Client> = (0..1_000).map(|_| Client::start()).collect();
    let mut client = Client::open().await;
    assert!(client.ask(&rpc(1, "<get/>")).await.ends_with(GET_REPLY));
    for client in silent {
        assert!(matches!(
            client.refusal().await,
            SessionError::HelloTimeout(_)
        ));
    }
}
