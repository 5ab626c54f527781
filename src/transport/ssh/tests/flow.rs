//! Clients that send faster than they are served, or read slower, or not at all.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::transport::ssh::inbox::CAPACITY;

const REQUEST: usize = 64;
const REPLY: usize = 8 << 10;

/// Answers every request with a large reply; a peer that takes nothing for a second is left, as the session does it.
fn replies() -> Serve {
    Arc::new(|mut stream, _peer| {
        Box::pin(async move {
            let reply = vec![b'r'; REPLY];
            while stream.read_exact(&mut [0; REQUEST]).await.is_ok() {
                let writing = stream.write_all(&reply);
                match tokio::time::timeout(Duration::from_secs(1), writing).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
            }
        })
    })
}

#[tokio::test]
async fn five_thousand_pipelined_requests_with_large_replies_are_all_answered() {
    let stage = Stage::new(replies());
    let (client, _serving) = stage.login().await;
    let (channel, _) = subsystem(&client, "netconf").await;
    let (mut reader, writer) = channel.split();
    let sending = tokio::spawn(async move {
        for _ in 0..5000 {
            writer.data(&[b'q'; REQUEST][..]).await.unwrap();
        }
        writer.eof().await.unwrap();
        writer
    });
    let mut received = 0;
    soon(async {
        while let Some(message) = reader.wait().await {
            if let ChannelMsg::Data { data } = message {
                received += data.len();
            }
        }
    })
    .await;
    assert_eq!(received, 5000 * REPLY);
    sending.await.unwrap();
}

#[tokio::test]
async fn a_client_that_sends_to_a_busy_session_waits_and_loses_nothing() {
    let (open, gate) = watch::channel(false);
    let (total, mut totals) = watch::channel(0);
    let serve: Serve = Arc::new(move |mut stream, _peer| {
        let (mut gate, total) = (gate.clone(), total.clone());
        Box::pin(async move {
            gate.wait_for(|open| *open).await.unwrap();
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                total.send_modify(|total| *total += length);
            }
        })
    });
    const MUCH: usize = 5 * CAPACITY;
    let stage = Stage::new(serve);
    let (client, _serving) = stage.login().await;
    let (channel, _) = subsystem(&client, "netconf").await;
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move {
            let mut writer = channel.make_writer();
            let block = [0; 4096];
            while sent.load(Relaxed) < MUCH {
                writer.write_all(&block).await.unwrap();
                sent.fetch_add(block.len(), Relaxed);
            }
            channel.eof().await.unwrap();
            channel
        }
    });
    let early = tokio::time::timeout(Duration::from_secs(2), totals.wait_for(|t| *t > 0));
    assert!(early.await.is_err(), "the session reads before it may");
    let held = sent.load(Relaxed);
    assert!(held < CAPACITY, "the client was not held back: {held}");
    assert!(held > 1 << 20, "the client could use its window: {held}");
    open.send(true).unwrap();
    soon(totals.wait_for(|total| *total == MUCH)).await.unwrap();
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn while_one_session_is_behind_its_connection_still_serves_another() {
    let (open, gate) = watch::channel(false);
    let first = AtomicUsize::new(0);
    let serve: Serve = Arc::new(move |stream, peer| {
        let mut gate = gate.clone();
        let busy = first.fetch_add(1, Relaxed) == 0;
        Box::pin(async move {
            if busy {
                gate.wait_for(|open| *open).await.unwrap();
            }
            echo()(stream, peer).await;
        })
    });
    let stage = Stage::new(serve);
    let (client, _serving) = stage.login().await;
    let (behind, _) = subsystem(&client, "netconf").await;
    let sending = tokio::spawn(async move {
        let mut writer = behind.make_writer();
        let _ = writer.write_all(&vec![0; 2 * CAPACITY]).await;
        behind
    });
    let (mut other, granted) = subsystem(&client, "netconf").await;
    assert!(granted);
    for _ in 0..100 {
        other.data(&[b'x'; 100][..]).await.unwrap();
    }
    other.eof().await.unwrap();
    let (text, _) = soon(read_to_end(&mut other)).await;
    assert_eq!(text.len(), 10_000);
    drop(open);
    sending.abort();
}

#[tokio::test]
async fn a_client_that_never_reads_is_left_alone() {
    let limits = Limits {
        write_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let stage = Stage::with(replies(), limits, &[user("alice")]);
    let (client, serving) = stage.login().await;
    let (channel, _) = subsystem(&client, "netconf").await;
    // This client's library stops reading the connection when a channel's messages are not taken.
    let sending = tokio::spawn(async move {
        let mut writer = channel.make_writer();
        let _ = writer.write_all(&vec![b'q'; 20_000 * REQUEST]).await;
        channel
    });
    let (other, _serving) = stage.login().await;
    let (mut other, _) = subsystem(&other, "netconf").await;
    other.data(&[b'q'; REQUEST][..]).await.unwrap();
    other.eof().await.unwrap();
    let (text, status) = soon(read_to_end(&mut other)).await;
    assert_eq!((text.len(), status), (REPLY, Some(0)));
    soon(serving).await.unwrap();
    sending.abort();
}

#[tokio::test]
async fn a_client_that_reads_two_octets_at_a_time_is_served_at_its_pace() {
    let stage = Stage::new(echo());
    let config = client::Config {
        window_size: 2,
        ..client::Config::default()
    };
    let (mut client, _serving) = stage.connect_with(config).await;
    assert!(log_in(&mut client).await);
    let (mut channel, _) = subsystem(&client, "netconf").await;
    channel.data(&b"patience"[..]).await.unwrap();
    channel.eof().await.unwrap();
    assert_eq!(soon(read_to_end(&mut channel)).await.0, "patience");
}
