//! How connections begin and end.

use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_left_after_the_login_time() {
    let stage = Stage::new(echo());
    let (_silent, far) = tokio::io::duplex(1024);
    let begun = Instant::now();
    stage.server.serve_stream(far, SOURCE).await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(stage.server.counters().login_timeouts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_before_its_password_is_left_after_the_login_time() {
    let stage = Stage::new(echo());
    let begun = Instant::now();
    let (_client, serving) = stage.connect().await;
    serving.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(stage.server.counters().login_timeouts(), 1);
}

#[tokio::test]
async fn rubbish_instead_of_ssh_ends_the_connection() {
    let stage = Stage::new(echo());
    let (mut near, far) = tokio::io::duplex(64 << 10);
    let server = stage.server.clone();
    let serving = tokio::spawn(async move { server.serve_stream(far, SOURCE).await });
    near.write_all(b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff")
        .await
        .unwrap();
    soon(serving).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_session_ends_after_a_minute() {
    let stage = Stage::new(echo());
    let (client, serving) = stage.login().await;
    let begun = Instant::now();
    // A channel alone is no session.
    let _channel = client.channel_open_session().await.unwrap();
    serving.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_an_idle_session_stays() {
    let stage = Stage::new(echo());
    let (client, serving) = stage.login().await;
    let (mut channel, _) = subsystem(&client, "netconf").await;
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert!(!serving.is_finished());
    channel.data(&b"still here"[..]).await.unwrap();
    channel.eof().await.unwrap();
    assert_eq!(read_to_end(&mut channel).await.0, "still here");
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_noticed_by_its_missing_keepalives() {
    let stage = Stage::new(echo());
    let (near, far) = tokio::io::duplex(64 << 10);
    let server = stage.server.clone();
    let serving = tokio::spawn(async move { server.serve_stream(far, SOURCE).await });
    // All that the client sends from the moment its session stands disappears, and so does what it is sent.
    let (wire, cut) = cuttable(near);
    let client = client::connect_stream(Arc::default(), wire, Trusting).await;
    let mut client = client.unwrap();
    assert!(log_in(&mut client).await);
    let (_channel, _) = subsystem(&client, "netconf").await;
    let begun = Instant::now();
    cut.send(true).unwrap();
    serving.await.unwrap();
    assert!(
        begun.elapsed() <= Duration::from_secs(150),
        "{:?}",
        begun.elapsed()
    );
}

/// A wire that swallows everything once it is cut, without either end noticing.
pub(super) fn cuttable(
    far: tokio::io::DuplexStream,
) -> (tokio::io::DuplexStream, watch::Sender<bool>) {
    let (client, near) = tokio::io::duplex(64 << 10);
    let (cut, _) = watch::channel(false);
    let (far_reader, far_writer) = tokio::io::split(far);
    let (near_reader, near_writer) = tokio::io::split(near);
    tokio::spawn(carry(near_reader, far_writer, cut.subscribe()));
    tokio::spawn(carry(far_reader, near_writer, cut.subscribe()));
    (client, cut)
}

async fn carry<R, W>(mut from: R, mut to: W, cut: watch::Receiver<bool>)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if !*cut.borrow() && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn sessions_of_a_removed_user_end_and_those_of_others_stay() {
    let stage = Stage::with(echo(), Limits::default(), &[user("alice"), user("bob")]);
    let (alice, serving_alice) = stage.login().await;
    let (mut of_alice, _) = subsystem(&alice, "netconf").await;
    let (mut bob, serving_bob) = stage.connect().await;
    assert!(
        bob.authenticate_password("bob", "secret")
            .await
            .unwrap()
            .success()
    );
    let (mut of_bob, _) = subsystem(&bob, "netconf").await;
    stage
        .users
        .send_replace(Arc::new(Users::new(&[user("bob"), user("carol")])));
    soon(serving_alice).await.unwrap();
    soon(read_to_end(&mut of_alice)).await;
    of_bob.data(&b"bob stays"[..]).await.unwrap();
    of_bob.eof().await.unwrap();
    assert_eq!(soon(read_to_end(&mut of_bob)).await.0, "bob stays");
    assert!(!serving_bob.is_finished());
}

#[tokio::test]
async fn a_user_removed_while_not_reading_is_cut_off() {
    let stage = Stage::new(Arc::new(|mut stream, _peer| {
        Box::pin(async move {
            let _ = stream.write_all(&vec![0; 32 << 20]).await;
        })
    }));
    let (client, serving) = stage.login().await;
    let (_unread, _) = subsystem(&client, "netconf").await;
    stage.users.send_replace(Arc::new(Users::new(&[])));
    soon(serving).await.unwrap();
}

#[tokio::test]
async fn every_listener_serves() {
    let stage = Stage::new(introduce());
    let (ports, running) = stage
        .listen(&["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"])
        .await;
    for (host, port) in ["127.0.0.1", "::1", "127.0.0.2"].into_iter().zip(ports) {
        let client = client::connect(Arc::default(), (host, port), Trusting).await;
        let mut client = client.unwrap();
        assert!(log_in(&mut client).await);
        let (mut channel, _) = subsystem(&client, "netconf").await;
        let (text, _) = soon(read_to_end(&mut channel)).await;
        let source = if host == "::1" { "::1" } else { "127.0.0" };
        assert!(text.starts_with(&format!("alice@{source}")), "{text}");
    }
    stage.stop.send(true).unwrap();
    soon(running).await.unwrap();
}

#[tokio::test]
async fn shutdown_ends_connections_in_whatever_state_they_are() {
    let stage = Stage::new(echo());
    let (ports, running) = stage.listen(&["127.0.0.1:0"]).await;
    let address = ("127.0.0.1", ports[0]);
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let _waiting = client::connect(Arc::default(), address, Trusting)
        .await
        .unwrap();
    let mut busy = client::connect(Arc::default(), address, Trusting)
        .await
        .unwrap();
    assert!(log_in(&mut busy).await);
    let (mut channel, _) = subsystem(&busy, "netconf").await;
    let begun = Instant::now();
    stage.stop.send(true).unwrap();
    soon(running).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    soon(read_to_end(&mut channel)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_full_server_lets_a_new_client_in_for_one_that_does_not_log_in() {
    let limits = Limits {
        sessions: 0,
        ..Limits::default()
    };
    let stage = Stage::with(introduce(), limits, &[user("alice")]);
    let places = super::super::CONNECTIONS_BESIDE_SESSIONS;
    let mut silent = Vec::new();
    for _ in 0..places {
        let (near, far) = tokio::io::duplex(1024);
        let server = stage.server.clone();
        let serving = tokio::spawn(async move { server.serve_stream(far, SOURCE).await });
        silent.push((near, serving));
    }
    soon(async {
        while stage.server.counters().connections() < places as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (client, _serving) = stage.login().await;
    let (_channel, granted) = subsystem(&client, "netconf").await;
    assert!(granted);
    let (_near, oldest) = silent.remove(0);
    soon(oldest).await.unwrap();
    assert_eq!(stage.server.counters().connections_refused(), 1);
}
