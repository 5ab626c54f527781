//! The notifications of cloud-management, each in every way there is to hear of it.

use super::subscribed::{establish, with_filter};
use super::*;
use crate::support::Session;

const CLOUD: &str = "urn:tether:yang:cloud-management";
const NAMES: [&str; 4] = [
    "connection-state-changed",
    "subconnection-state-changed",
    "unbinding-answered",
    "all-servers-failed",
];

/// A session that hears of one of them alone, by an XPath filter.
async fn only_of(device: &Device, name: &str) -> Session {
    let mut session = device.open().await;
    let xpath =
        format!(r#"<stream-xpath-filter xmlns:c="{CLOUD}">/c:{name}</stream-xpath-filter>"#);
    establish(&mut session, &xpath).await;
    session
}

/// Hears of all of them, in whatever order.
async fn hears_all(session: &mut Session) {
    let mut left: Vec<&str> = NAMES.into();
    while !left.is_empty() {
        let told = session.notification().await.unwrap();
        left.retain(|name| !told.contains(&format!("<{name} ")));
    }
}

/// All of them happen.
async fn everything_happens(device: &mut Device) {
    device.configure_cloud().await;
    device.up().await;
    device.act("<unbind><code>a-code</code></unbind>").await;
    device
        .wait_state(|state| {
            !state.is("unbinding/status", "pending") && !state.is("unbinding/status", "sent")
        })
        .await;
    // Nobody listens at the port of discard.
    device.commit_cloud("<server><port>9</port></server>").await;
    device
        .wait_state(|state| state.is("device-state", "waiting"))
        .await;
}

#[tokio::test]
async fn they_come_by_both_ways_to_subscribe_with_filters_and_in_a_replay_after_a_restart() {
    let mut device = Device::start().await;
    let begun = now() - TimeDelta::milliseconds(1);
    let mut by_create = device.open().await;
    subscribe(&mut by_create, "").await;
    let mut by_establish = device.open().await;
    let filters: String = NAMES
        .map(|name| format!(r#"<{name} xmlns="{CLOUD}"/>"#))
        .concat();
    with_filter(&mut by_establish, &filters).await;
    let mut each = Vec::new();
    for name in NAMES {
        each.push((name, only_of(&device, name).await));
    }
    everything_happens(&mut device).await;
    hears_all(&mut by_create).await;
    hears_all(&mut by_establish).await;
    for (name, session) in &mut each {
        let told = session.notification().await.unwrap();
        assert!(told.contains(&format!("<{name} ")), "{name}: {told}");
    }
    drop((by_create, by_establish, each));

    let mut device = device.restart().await;
    let mut replayed = device.open().await;
    subscribe(&mut replayed, &start(begun)).await;
    hears_all(&mut replayed).await;
    let replay = format!("<replay-start-time>{}</replay-start-time>", date(begun));
    establish(&mut device.session, &replay).await;
    hears_all(&mut device.session).await;
}
