//! What is answered to good and bad messages.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_session_serves_requests_and_is_closed() {
    let mut client = Client::open().await;
    assert!(client.ask(&rpc(1, "<get/>")).await.ends_with(GET_REPLY));
    assert_eq!(
        client
            .ask(&rpc(2, "<lock><target><running/></target></lock>"))
            .await,
        ok(2)
    );
    assert_eq!(client.ask(&rpc(3, "<close-session/>")).await, ok(3));
    assert_eq!(client.receive().await, None);
    let (result, ends) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Closed);
    assert_eq!(ends, [EndReason::Closed]);
}

#[tokio::test(start_paused = true)]
async fn broken_framing_ends_the_session_after_the_requests_before_it() {
    for broken in [
        "\n#0\n",
        "\n#01\n",
        "\n#4294967296\n",
        "\n#x\n",
        "\n##\n",
        "]]>]]>",
    ] {
        let mut client = Client::open().await;
        client.send(&rpc(1, "<commit/>")).await;
        client.send_raw(broken.as_bytes()).await;
        assert_eq!(client.receive().await.unwrap(), ok(1));
        assert_eq!(client.receive().await, None);
        assert!(
            matches!(client.refusal().await, SessionError::Framing(_)),
            "{broken}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_64_mib_is_refused_with_its_id_and_ends_the_session() {
    for version in [BASE_1_0, BASE_1_1] {
        let mut client = Client::open_with(Limits::default(), version).await;
        let head = format!("<rpc message-id=\"9\" {NC}><get/><!--");
        if version == BASE_1_1 {
            client
                .send_raw(format!("\n#{}\n", 64 << 20).as_bytes())
                .await;
        }
        client.send_raw(head.as_bytes()).await;
        let block = [b'x'; 4096];
        // The session stops reading somewhere in it.
        for _ in 0..(64 << 20) / block.len() {
            if client.stream.write_all(&block).await.is_err() {
                break;
            }
        }
        let reply = client.receive().await.unwrap();
        assert!(
            reply.contains("message-id=\"9\"") && reply.contains("<error-tag>too-big</error-tag>"),
            "{reply}"
        );
        assert!(matches!(
            client.refusal().await,
            SessionError::Framing(FramingError::TooBig { .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_messages_are_answered_and_the_session_goes_on() {
    let deep = format!(
        "<rpc message-id=\"5\" {NC}>{}</rpc>",
        "<a>".repeat(100_000) + &"</a>".repeat(100_000)
    );
    let unclosed = format!("<rpc message-id=\"5\" {NC}><get>");
    let entity =
        format!("<!DOCTYPE rpc [<!ENTITY a \"b\">]><rpc message-id=\"5\" {NC}><get/></rpc>");
    let unbound = format!("<rpc message-id=\"5\" {NC}><x:get/></rpc>");
    let mut client = Client::open().await;
    for message in [&deep, &unclosed, &entity, &unbound, "not XML", "<a/><b/>"] {
        let reply = client.ask(message).await;
        assert!(
            reply.contains("<error-tag>malformed-message</error-tag>"),
            "{reply}"
        );
        assert!(reply.contains("<error-type>rpc</error-type>"), "{reply}");
        assert_eq!(
            reply.contains("message-id=\"5\""),
            message.contains("message-id"),
            "{reply}"
        );
    }
    assert!(client.ask(&rpc(6, "<get/>")).await.ends_with(GET_REPLY));
}

#[tokio::test(start_paused = true)]
async fn a_missing_message_id_is_reported_and_other_attributes_are_echoed() {
    let mut client = Client::open().await;
    let reply = client.ask(&format!("<rpc {NC} x='1'><get/></rpc>")).await;
    let error = "<error-type>rpc</error-type><error-tag>missing-attribute</error-tag><error-severity>error</error-severity>";
    assert!(
        reply.starts_with(&format!("<rpc-reply {NC} x=\"1\"><rpc-error>{error}")),
        "{reply}"
    );
    let info = "<error-info><bad-attribute>message-id</bad-attribute><bad-element>rpc</bad-element></error-info>";
    assert!(reply.contains(info), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn the_counters_move() {
    let mut client = Client::open().await;
    client.ask(&rpc(1, "<get/>")).await;
    client.ask(&rpc(2, "<nothing/>")).await;
    client.ask("not XML").await;
    let expected = Statistics {
        in_rpcs: 2,
        in_bad_rpcs: 1,
        out_rpc_errors: 2,
        out_notifications: 0,
    };
    assert_eq!(client.server.control().statistics(), expected);
    assert_eq!(client.server.0.executed.load(Ordering::SeqCst), 1);
}
