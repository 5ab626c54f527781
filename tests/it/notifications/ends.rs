//! RFC 6470: a session ends, and everybody hears why.

use std::time::Duration;

use tether::protocol::framing::{Framing, encode};
use tether::protocol::hello::{BASE_1_1, Hello};
use tokio::io::AsyncWriteExt;

use super::*;

const HELLO: &str = r#"<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>"#;

async fn why(listener: &mut Session) -> String {
    let told = next(listener, "netconf-session-end").await;
    let (_, after) = told.split_once("<termination-reason>").unwrap();
    after.split('<').next().unwrap().to_owned()
}

/// What the device counts of sessions that ended badly.
async fn counted(session: &mut Session) -> (String, String) {
    let filter = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><statistics/></netconf-state>"#;
    let state = session.get(Some(filter)).await.unwrap();
    let value = |name: &str| {
        let (_, after) = state.split_once(&format!("<{name}>")).unwrap();
        after.split('<').next().unwrap().to_owned()
    };
    (value("in-bad-hellos"), value("dropped-sessions"))
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_is_wrong_or_does_not_come_is_told_apart() {
    let (device, mut listener, manager) = both("").await;
    let mut wrong = device.dial("admin");
    let hello = Hello {
        capabilities: vec![BASE_1_1.into()],
        session_id: Some(1),
    };
    let hello = encode(Framing::EndOfMessage, hello.write().as_bytes());
    wrong.write_all(&hello).await.unwrap();
    assert_eq!(why(&mut listener).await, "bad-hello");
    device.limits.send_modify(|limits| {
        std::sync::Arc::make_mut(limits).hello_timeout = Duration::from_secs(5);
    });
    let _silent = device.dial("admin");
    assert_eq!(why(&mut listener).await, "timeout");
    assert_eq!(counted(&mut listener).await, ("1".into(), "1".into()));
    drop(manager);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_by_its_timeout_and_one_against_the_rules_for_another_reason() {
    let (device, mut listener, manager) = both("").await;
    drop(manager);
    assert_eq!(why(&mut listener).await, "dropped");
    device.limits.send_modify(|limits| {
        std::sync::Arc::make_mut(limits).idle_timeout = Duration::from_secs(5);
    });
    let _idle = device.login("admin").await;
    assert_eq!(why(&mut listener).await, "timeout");
    assert_eq!(counted(&mut listener).await, ("0".into(), "2".into()));
    let mut twice = device.dial("admin");
    let hello = encode(Framing::EndOfMessage, HELLO.as_bytes());
    twice.write_all(&hello).await.unwrap();
    twice
        .write_all(&encode(Framing::Chunked, HELLO.as_bytes()))
        .await
        .unwrap();
    assert_eq!(why(&mut listener).await, "other");
}
