//! What is large or goes to many is in nobody's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Sessions of one user.
const LISTENERS: usize = 250;
/// Entries whose difference is larger than the log.
const ENTRIES: usize = 12_000;

#[tokio::test(start_paused = true)]
async fn who_commits_has_his_answer_before_those_who_listen_are_told() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let told = Arc::new(AtomicUsize::new(0));
    let mut listeners = tokio::task::JoinSet::new();
    for _ in 0..LISTENERS {
        let mut listener = device.login("admin").await;
        subscribe(&mut listener, &only("netconf-config-change", "")).await;
        let told = Arc::clone(&told);
        listeners.spawn(async move {
            listener.notification().await.unwrap();
            told.fetch_add(1, Ordering::Relaxed);
        });
    }
    edit(&mut manager, 60).await;
    let by_then = told.load(Ordering::Relaxed);
    assert!(by_then < LISTENERS / 20, "{by_then} came first");
    soon(listeners.join_all()).await;
    assert_eq!(told.load(Ordering::Relaxed), LISTENERS);
}

fn hosts() -> String {
    let hosts: String = (0..ENTRIES)
        .map(|n| format!(r#"<host xmlns="urn:tether:yang:device-hosts"><name>host-{n}</name><address>192.0.2.1</address></host>"#))
        .collect();
    crate::support::system(&format!("<dns-resolver>{hosts}</dns-resolver>"))
}

#[tokio::test(start_paused = true)]
async fn a_change_larger_than_the_log_is_told_and_ends_no_subscription() {
    let path =
        r#"<path xmlns:s="urn:ietf:params:xml:ns:yang:ietf-system">/s:system/s:contact</path>"#;
    let device = with_rules(&rule("no-contact", path, "deny")).await;
    let mut manager = device.login("admin").await;
    let filter = only("netconf-config-change", "");
    let mut all = device.login("admin").await;
    subscribe(&mut all, &filter).await;
    let mut some = device.login("bob").await;
    subscribe(&mut some, &filter).await;
    manager.edit_config("running", &hosts()).await.unwrap();
    let told = all.notification().await.unwrap();
    assert!(told.contains(":system</target><operation>merge<"), "{told}");
    let told = some.notification().await.unwrap();
    assert!(told.contains("<username>admin<"), "{told}");
    assert!(!told.contains("<edit>"), "{told}");
    edit(&mut manager, 60).await;
    for listener in [&mut all, &mut some] {
        let told = listener.notification().await.unwrap();
        assert!(told.contains(":keepalive-interval</target>"), "{told}");
    }
    assert_eq!(device.stream.losses().subscriptions, 0);
}
