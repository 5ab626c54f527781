//! What a client may ask for once it is in.

use super::*;

#[tokio::test]
async fn several_sessions_share_one_connection() {
    let stage = Stage::new(echo());
    let (client, _serving) = stage.login().await;
    let mut channels = Vec::new();
    for _ in 0..4 {
        let (channel, granted) = subsystem(&client, "netconf").await;
        assert!(granted);
        channels.push(channel);
    }
    for (number, mut channel) in channels.into_iter().enumerate() {
        let text = format!("session {number}");
        channel.data(text.as_bytes()).await.unwrap();
        channel.eof().await.unwrap();
        assert_eq!(soon(read_to_end(&mut channel)).await, (text, Some(0)));
    }
}

#[tokio::test]
async fn what_is_sent_before_the_subsystem_is_granted_is_not_lost() {
    let stage = Stage::new(echo());
    let (client, _serving) = stage.login().await;
    let mut channel = client.channel_open_session().await.unwrap();
    // More messages than any queue in between holds.
    for _ in 0..1000 {
        channel.data(&b"early"[..]).await.unwrap();
    }
    channel.request_subsystem(false, "netconf").await.unwrap();
    channel.eof().await.unwrap();
    let (text, _) = soon(read_to_end(&mut channel)).await;
    assert_eq!(text.len(), 5000);
}

#[tokio::test]
async fn everything_but_the_subsystem_netconf_is_refused() {
    let stage = Stage::new(echo());
    let (client, _serving) = stage.login().await;
    for name in ["sftp", "NETCONF", ""] {
        assert!(!subsystem(&client, name).await.1, "{name}");
    }
    let mut channel = client.channel_open_session().await.unwrap();
    channel.set_env(true, "LANG", "C").await.unwrap();
    assert!(!answer(&mut channel).await);
    channel
        .request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0)
        .await
        .unwrap();
    assert!(!answer(&mut channel).await);
    channel.agent_forward(true).await.unwrap();
    assert!(!answer(&mut channel).await);
    // None of which spoils the channel.
    channel.request_subsystem(true, "netconf").await.unwrap();
    assert!(answer(&mut channel).await);
    channel.request_subsystem(true, "netconf").await.unwrap();
    assert!(
        !answer(&mut channel).await,
        "a second session on one channel"
    );
    channel
        .request_pty(true, "vt100", 80, 24, 0, 0, &[])
        .await
        .unwrap();
    assert!(
        !answer(&mut channel).await,
        "a terminal for what runs already"
    );
}

#[tokio::test]
async fn a_terminal_asked_for_with_the_subsystem_changes_nothing_on_the_stream() {
    let stage = Stage::new(echo());
    let (client, _serving) = stage.login().await;
    let mut channel = client.channel_open_session().await.unwrap();
    channel
        .request_pty(true, "vt100", 80, 24, 0, 0, &[])
        .await
        .unwrap();
    assert!(answer(&mut channel).await);
    channel.request_subsystem(true, "netconf").await.unwrap();
    assert!(answer(&mut channel).await);
    channel.data(&b"a\nb\x03\x04"[..]).await.unwrap();
    channel.eof().await.unwrap();
    let (text, status) = soon(read_to_end(&mut channel)).await;
    assert_eq!((text.as_str(), status), ("a\nb\x03\x04", Some(0)));
}

#[tokio::test]
async fn forwarding_is_refused() {
    let stage = Stage::new(echo());
    let (client, _serving) = stage.login().await;
    let direct = client.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1);
    assert!(soon(direct).await.is_err());
    assert!(soon(client.tcpip_forward("127.0.0.1", 0)).await.is_err());
    let (_channel, granted) = subsystem(&client, "netconf").await;
    assert!(granted);
}

#[tokio::test]
async fn a_channel_too_many_is_refused_and_a_closed_one_makes_room() {
    let limits = Limits {
        channels: 2,
        ..Limits::default()
    };
    let stage = Stage::with(echo(), limits, &[user("alice")]);
    let (client, _serving) = stage.login().await;
    let (mut first, _) = subsystem(&client, "netconf").await;
    let (_second, _) = subsystem(&client, "netconf").await;
    assert!(client.channel_open_session().await.is_err());
    assert_eq!(stage.server.counters().channels_refused(), 1);
    first.eof().await.unwrap();
    soon(read_to_end(&mut first)).await;
    // The server has sent its close; what it does then takes no time but may be a moment later.
    soon(async { while client.channel_open_session().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_session_that_waits_for_window_ends_when_its_channel_closes() {
    let (ended, mut seen) = watch::channel(false);
    let serve: Serve = Arc::new(move |mut stream, _peer| {
        let ended = ended.clone();
        Box::pin(async move {
            let written = stream.write_all(&vec![0; 8 << 20]).await;
            ended.send_replace(written.is_err());
        })
    });
    let stage = Stage::new(serve);
    let config = client::Config {
        window_size: 2,
        ..client::Config::default()
    };
    let (mut client, _serving) = stage.connect_with(config).await;
    assert!(log_in(&mut client).await);
    let (channel, _) = subsystem(&client, "netconf").await;
    channel.close().await.unwrap();
    soon(seen.wait_for(|ended| *ended)).await.unwrap();
}

#[tokio::test]
async fn a_session_that_panics_ends_alone_and_its_client_is_told() {
    let serve: Serve = Arc::new(|stream, peer| {
        Box::pin(async move {
            let mut stream = stream;
            assert_ne!(stream.read_u8().await.unwrap(), b'!');
            echo()(stream, peer).await;
        })
    });
    let stage = Stage::new(serve);
    let (client, _serving) = stage.login().await;
    let (mut bad, _) = subsystem(&client, "netconf").await;
    let (mut good, _) = subsystem(&client, "netconf").await;
    bad.data(&b"!"[..]).await.unwrap();
    assert_eq!(soon(read_to_end(&mut bad)).await, (String::new(), Some(1)));
    good.data(&b".good"[..]).await.unwrap();
    good.eof().await.unwrap();
    assert_eq!(soon(read_to_end(&mut good)).await, ("good".into(), Some(0)));
}
