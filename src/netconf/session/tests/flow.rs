//! Pipelines, slow and silent clients, and the ways in which a session ends.

use super::*;

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_their_order() {
    let client = Client::open().await;
    let Client {
        stream,
        mut framer,
        task,
        limits: _limits,
        ..
    } = client;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let writer = tokio::spawn(async move {
        for id in 0..5_000 {
            writing
                .write_all(&encode(Framing::Chunked, rpc(id, "<commit/>").as_bytes()))
                .await
                .unwrap();
        }
        let close = rpc(5_000, "<close-session/>");
        writing
            .write_all(&encode(Framing::Chunked, close.as_bytes()))
            .await
            .unwrap();
    });
    let mut expected = 0;
    let mut buffer = [0; 4096];
    while expected <= 5_000 {
        let octets = reading.read(&mut buffer).await.unwrap();
        framer.push(&buffer[..octets]);
        while let Some(reply) = framer.next().unwrap() {
            assert_eq!(reply, ok(expected));
            expected += 1;
        }
    }
    writer.await.unwrap();
    assert_eq!(task.await.unwrap().unwrap(), EndReason::Closed);
}

#[tokio::test(start_paused = true)]
async fn small_messages_wait_for_each_other_until_the_flush() {
    let (mut client, stream) = tokio::io::duplex(4096);
    let limits = watch::channel(Arc::new(Limits::default())).1;
    let mut output = Output::new(tokio::io::split(stream).1, limits);
    let mut buffer = [0; 4096];
    for _ in 0..3 {
        output.send("<a/>").await.unwrap();
        let nothing = timeout(Duration::from_secs(1), client.read(&mut buffer)).await;
        assert!(nothing.is_err() && output.is_pending());
    }
    output.flush().await.unwrap();
    let octets = client.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..octets], b"<a/>]]>]]>".repeat(3));
    assert!(!output.is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_reply_does_not_wait_for_a_long_operation_behind_it() {
    let mut client = Client::open().await;
    let requests = [rpc(0, "<commit/>"), rpc(1, WAIT), rpc(2, "<commit/>")];
    let requests = requests.map(|request| encode(Framing::Chunked, request.as_bytes()));
    client.send_raw(&requests.concat()).await;
    assert_eq!(client.receive().await.unwrap(), ok(0));
    client.server.0.go_on.notify_one();
    assert_eq!(client.receive().await.unwrap(), ok(1));
    assert_eq!(client.receive().await.unwrap(), ok(2));
}

#[tokio::test(start_paused = true)]
async fn replies_that_wait_for_others_come_before_the_end_of_the_session() {
    let mut client = Client::open().await;
    let mut requests = encode(Framing::Chunked, rpc(0, "<commit/>").as_bytes());
    requests.extend_from_slice(b"\n#0\n");
    client.send_raw(&requests).await;
    assert_eq!(client.receive().await.unwrap(), ok(0));
    assert_eq!(client.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn reading_pauses_while_too_many_requests_wait() {
    let limits = Limits {
        pipelined_requests: 4,
        ..Limits::default()
    };
    let mut client = Client::open_with(limits, BASE_1_1).await;
    client.send(&rpc(0, WAIT)).await;
    client.server.0.started.notified().await;
    let mut sent = 0;
    let request = encode(Framing::Chunked, rpc(1, "<commit/>").as_bytes());
    // With the clock paused the time runs out only when nothing else can move.
    while timeout(Duration::from_secs(1), client.stream.write_all(&request))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 1_000, "the session reads on");
    }
    client.server.0.go_on.notify_one();
    assert_eq!(client.receive().await.unwrap(), ok(0));
}

#[tokio::test(start_paused = true)]
async fn reading_pauses_while_too_many_octets_wait() {
    let limits = Limits {
        pipelined_octets: 10_000,
        ..Limits::default()
    };
    let mut client = Client::open_with(limits, BASE_1_1).await;
    client.send(&rpc(0, WAIT)).await;
    client.server.0.started.notified().await;
    let request = encode(
        Framing::Chunked,
        rpc(1, &format!("<commit/><!--{}-->", "x".repeat(3_000))).as_bytes(),
    );
    let mut sent = 0;
    while timeout(Duration::from_secs(1), client.stream.write_all(&request))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 100, "the session reads on");
    }
    client.server.0.go_on.notify_one();
    assert_eq!(client.receive().await.unwrap(), ok(0));
    assert_eq!(client.receive().await.unwrap(), ok(1));
}

#[tokio::test(start_paused = true)]
async fn requests_before_the_end_of_the_stream_are_answered() {
    let mut client = Client::open().await;
    client.send(&rpc(1, "<commit/>")).await;
    client.send(&rpc(2, "<commit/>")).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.receive().await.unwrap(), ok(1));
    assert_eq!(client.receive().await.unwrap(), ok(2));
    assert_eq!(client.receive().await, None);
    let (result, ends) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Dropped);
    assert_eq!(ends, [EndReason::Dropped]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_the_middle_keeps_its_session_until_it_goes() {
    let mut client = Client::open().await;
    client.send_raw(b"\n#100\n<rpc message-id=").await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(!client.task.is_finished());
    drop(client.stream);
    assert_eq!(client.task.await.unwrap().unwrap(), EndReason::Dropped);
    assert_eq!(client.server.ends(), [EndReason::Dropped]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_and_octets_without_a_request_do_not_keep_it() {
    let limits = Limits {
        idle_timeout: Duration::from_secs(100),
        ..Limits::default()
    };
    let mut client = Client::open_with(limits, BASE_1_1).await;
    let opened = Instant::now();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(client.ask(&rpc(1, "<commit/>")).await, ok(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.send_raw(b"\n#100\n<rpc").await;
    let (result, _) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Timeout);
    assert_eq!(opened.elapsed().as_secs(), 160);
}

#[tokio::test(start_paused = true)]
async fn a_changed_idle_timeout_counts_for_a_session_that_waits() {
    let mut client = Client::open().await;
    let opened = Instant::now();
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.limits.send_replace(Arc::new(Limits {
        idle_timeout: Duration::from_secs(100),
        ..Limits::default()
    }));
    assert_eq!(client.receive().await, None);
    assert_eq!(opened.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_dropped() {
    let mut client = Client::open().await;
    client.send(&rpc(1, BIG)).await;
    let asked = Instant::now();
    assert!(matches!(
        client.refusal().await,
        SessionError::NotReading(_)
    ));
    assert!((60..=63).contains(&asked.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_served() {
    let mut client = Client::open().await;
    client.send(&rpc(1, BIG)).await;
    let mut buffer = [0; 4096];
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        let octets = client.stream.read(&mut buffer).await.unwrap();
        client.framer.push(&buffer[..octets]);
    }
    assert_eq!(
        client.receive().await.unwrap().len(),
        (8 << 20) + ok(1).len() + "<data></data>".len() - "<ok/>".len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_killed_session_ends_while_it_is_stuck_writing() {
    let mut client = Client::open().await;
    client.send(&rpc(1, BIG)).await;
    let killed = Instant::now();
    // Some of the reply has come, so it is being written.
    assert_eq!(client.stream.read(&mut [0; 10]).await.unwrap(), 10);
    client.server.control().end(EndReason::Killed { by: 3 });
    client.server.control().end(EndReason::Other);
    let (result, ends) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Killed { by: 3 });
    assert_eq!(ends, [EndReason::Killed { by: 3 }]);
    assert_eq!(killed.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_killed_session_ends_while_it_waits_or_executes() {
    let client = Client::open().await;
    client.server.control().end(EndReason::Other);
    assert_eq!(client.end().await.0.unwrap(), EndReason::Other);

    let mut client = Client::open().await;
    client.send(&rpc(1, WAIT)).await;
    client.server.0.started.notified().await;
    client.server.control().end(EndReason::Other);
    assert_eq!(client.end().await.0.unwrap(), EndReason::Other);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_or_is_aborted_gives_its_place_back() {
    let mut client = Client::open().await;
    client.send(&rpc(1, "<panic xmlns=\"urn:t\"/>")).await;
    assert!(client.task.await.unwrap_err().is_panic());
    assert_eq!(client.server.ends(), [EndReason::Dropped]);

    let client = Client::open().await;
    client.task.abort();
    assert!(client.task.await.unwrap_err().is_cancelled());
    assert_eq!(client.server.ends(), [EndReason::Dropped]);
}
