//! The tunnel with its driver against the reference cloud: commits and actions go in at the face that the datastore
//! sees, and both ends are asked what became of them.

mod pair;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tether::model::network::{Interface, Network};
use tether::model::paths;
use tether::model::status::{
    CloudStatus, ConnectionState, DeviceState, FailureReason, LastDownReason, UnbindingState,
};
use tether::sim::cloud::{Channel, Flaw, Misbehaviour, Step, What};
use tether::tunnel::record::Record;

use pair::{Memory, PASSWORD, WAIT};
pub use pair::{Pair, SERIAL, device};

#[tokio::test]
async fn a_commit_brings_the_tunnel_up_and_the_state_tells_of_it() {
    let mut pair = Pair::start(device()).await;
    assert_eq!(pair.state("device-state").as_deref(), Some("idle"));
    pair.commit(|_| {});
    pair.up().await;
    for (leaf, expected) in [
        ("connection-state", "established"),
        ("device-state", "request-success"),
        ("process-state", "message-received"),
        ("server-domain", "cloud.com"),
        ("server-address", "127.0.0.1"),
        ("password-origin", "configured"),
        ("subconnection[service='telemetry']/state", "established"),
    ] {
        assert_eq!(pair.state(leaf).as_deref(), Some(expected), "{leaf}");
    }
    assert_eq!(pair.state("failure-reason"), None);
    // Both ends count the same: one connection for steps 1 to 6, one for the subconnection.
    assert_eq!(pair.cloud.counters().mains, 1);
    pair.cloud_sees(0, |what| {
        matches!(what, What::Telemetry { notification } if notification == "ietf-yang-push:push-update")
    })
    .await;
    pair.cloud_sees(0, |what| {
        matches!(what, What::Telemetry { notification }
            if notification == "cloud-management:connection-state-changed")
    })
    .await;
    pair.end().await;
}

#[tokio::test]
async fn a_changed_interval_keeps_the_tunnel_and_a_changed_password_does_not() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    pair.commit(|settings| settings.interval = 10);
    pair.commit(|settings| settings.interval = 20);
    let mark = pair.cloud.mark();
    pair.cloud.set_password(SERIAL, Some("another"));
    assert_eq!(pair.handle.status().connected_at, before.connected_at);
    pair.commit(|settings| settings.password = "another");
    let registered = pair
        .cloud_sees(mark, |what| matches!(what, What::Registered { .. }))
        .await;
    let What::Registered {
        last_down_reason, ..
    } = registered.what
    else {
        panic!("not registered")
    };
    assert_eq!(last_down_reason.as_deref(), Some("configuration-changed"));
    pair.until(|status| status.connected_at > before.connected_at)
        .await;
    assert_eq!(pair.cloud.counters().mains, 2);
    pair.end().await;
}

#[tokio::test]
async fn a_wrong_password_waits_and_the_right_one_wakes() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|settings| settings.password = "wrong");
    let refused = pair
        .until(|status| status.device == DeviceState::Waiting)
        .await;
    assert_eq!(refused.failure, Some(FailureReason::PasswordRefused));
    assert!(pair.state("next-attempt-at").is_some());
    pair.commit(|settings| settings.password = PASSWORD);
    pair.up().await;
    pair.end().await;
}

#[tokio::test]
async fn an_establishment_bears_the_number_of_the_change_whose_target_it_has() {
    let mut pair = Pair::start(device()).await;
    let mut standing = pair.handle.standing();
    let mut reaches = async |number| {
        let reached = standing.wait_for(|standing| standing.reached >= number);
        let reached = tokio::time::timeout(WAIT, reached).await.unwrap().unwrap();
        assert_eq!(reached.reached, number);
    };
    pair.commit(|_| {});
    reaches(1).await;
    // The tunnel stays, so it is established under this one, too.
    pair.commit(|settings| settings.interval = 170);
    reaches(2).await;
    pair.commit(|settings| settings.password = "wrong");
    let waiting = |status: &CloudStatus| status.failure == Some(FailureReason::PasswordRefused);
    pair.until(waiting).await;
    let standing_now = pair.handle.standing().borrow().clone();
    assert_eq!((standing_now.tunnel, standing_now.reached), (None, 2));
    pair.commit(|settings| settings.password = PASSWORD);
    reaches(4).await;
    pair.end().await;
}

#[tokio::test]
async fn reset_tunnel_makes_a_new_tunnel() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    pair.act(paths::RESET_TUNNEL, &[]);
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::ResetByOperator));
    pair.end().await;
}

#[tokio::test]
async fn a_tunnel_whose_address_leaves_the_device_is_made_anew_at_once() {
    let mut pair = Pair::start(device()).await;
    let with_address = |address: [u8; 4]| {
        let interface = Interface {
            addresses: vec![address.into()],
            ..Interface::default()
        };
        Arc::new(Network {
            interfaces: [("lo".to_owned(), interface)].into(),
            route_changes: 0,
        })
    };
    pair.network.send_replace(with_address([127, 0, 0, 1]));
    pair.commit(|_| {});
    let before = pair.up().await;
    let mark = pair.cloud.mark();
    pair.network.send_replace(with_address([192, 0, 2, 1]));
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::NetworkChanged));
    pair.cloud_sees(mark, |what| {
        matches!(
            what,
            What::PeerClosed {
                channel: Channel::Main,
                code: 1001,
                ..
            }
        )
    })
    .await;
    pair.end().await;
}

#[tokio::test]
async fn a_code_given_while_the_tunnel_is_down_is_kept_and_sent_after_a_restart() {
    let device = || device().bound_to("someone").unbinding_code("4711");
    let pair = Pair::start(device()).await;
    pair.act(paths::UNBIND, &[("code", "4711")]);
    pair.until(|status| status.unbinding.state == UnbindingState::Pending)
        .await;
    let store = pair.end().await;
    let mut pair = Pair::with_record(device(), store).await;
    assert_eq!(pair.record().unbinding.state, UnbindingState::Pending);
    pair.commit(|_| {});
    let up = pair.up().await;
    assert_eq!(up.unbinding.state, UnbindingState::Accepted);
    assert_eq!(up.unbinding.id, 1);
    assert_eq!(pair.cloud.bound_to(SERIAL), None);
    let store = pair.end().await;
    let record = Record::from_bytes(&store.0.lock().unwrap(), SERIAL);
    assert_eq!(record.unbinding.state, UnbindingState::Accepted);
}

#[tokio::test]
async fn a_code_leaves_once_it_is_stored_with_its_number() {
    let disk = Memory(Mutex::default(), Duration::from_millis(300));
    let device = device().bound_to("someone").unbinding_code("4711");
    let mut pair = Pair::with_record(device, Arc::new(disk)).await;
    // Within the authentication, since the device is another user's.
    pair.commit(|settings| settings.code = Some("4711"));
    pair.up().await;
    // And on the live tunnel.
    let mark = pair.cloud.mark();
    pair.act(paths::UNBIND, &[("code", "4712")]);
    pair.cloud_sees(mark, |what| matches!(what, What::Unbind { .. }))
        .await;
    let stored = pair.record().unbinding;
    assert_eq!(stored.id, 2, "the cloud has it and the disk has not");
    pair.end().await;
}

#[tokio::test]
async fn a_code_in_a_commit_is_sent_on_the_live_tunnel() {
    let mut pair = Pair::start(device().unbinding_code("4711")).await;
    pair.commit(|_| {});
    pair.up().await;
    let mark = pair.cloud.mark();
    pair.commit(|settings| settings.code = Some("4712"));
    let answered = pair
        .until(|status| status.unbinding.state == UnbindingState::Refused)
        .await;
    assert_eq!(answered.unbinding.reason.as_deref(), Some("code-invalid"));
    pair.commit(|settings| settings.code = Some("4711"));
    pair.until(|status| status.unbinding.state == UnbindingState::Accepted)
        .await;
    pair.cloud_sees(mark, |what| {
        matches!(what, What::Telemetry { notification } if notification == "cloud-management:unbinding-answered")
    })
    .await;
    assert_eq!(pair.cloud.counters().mains, 1);
    pair.end().await;
}

#[tokio::test]
async fn the_end_of_the_agent_is_told_to_the_cloud_and_remembered() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    pair.up().await;
    let mark = pair.cloud.mark();
    pair.stop.send(true).unwrap();
    for channel in [Channel::Main, Channel::Service("telemetry".into())] {
        pair.cloud_sees(mark, |what| {
            matches!(what, What::PeerClosed { channel: closed, code: 1001, .. } if *closed == channel)
        })
        .await;
    }
    tokio::time::timeout(WAIT, &mut pair.task)
        .await
        .unwrap()
        .unwrap();
    let down = pair.record().last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::Shutdown));
    assert_eq!(
        pair.handle.status().connection,
        ConnectionState::Unconnected
    );
}

#[tokio::test]
async fn a_lost_subconnection_comes_back_alone() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    let mark = pair.cloud.mark();
    pair.cloud.close_service(SERIAL, "telemetry", 1013).unwrap();
    pair.cloud_sees(mark, |what| matches!(what, What::ServiceUp(_)))
        .await;
    let after = pair.up().await;
    assert_eq!(after.connected_at, before.connected_at);
    pair.end().await;
}

#[tokio::test]
async fn a_cloud_that_breaks_the_protocol_is_closed_with_1002_and_met_again() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    let mark = pair.cloud.mark();
    pair.cloud.send_to(SERIAL, "not JSON").unwrap();
    pair.cloud_sees(mark, |what| {
        matches!(
            what,
            What::PeerClosed {
                channel: Channel::Main,
                code: 1002,
                ..
            }
        )
    })
    .await;
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::Protocol));
    pair.end().await;
}

#[tokio::test]
async fn a_url_on_another_host_is_dialled_under_its_own_name() {
    let mut pair = Pair::start(device()).await;
    let elsewhere = pair.cloud.addr().to_string();
    pair.cloud.set_advertised(Some(&elsewhere));
    pair.commit(|_| {});
    let up = pair.up().await;
    // A connection for steps 1 to 4, one for the rest, one for the subconnection.
    assert_eq!(pair.cloud.counters().tls, 3);
    assert_eq!(up.server.as_ref().unwrap().domain, "cloud.com");
    pair.end().await;
}

#[tokio::test]
async fn a_busy_cloud_is_left_alone_until_the_operator_resets() {
    let mut pair = Pair::start(device()).await;
    let busy = Misbehaviour::Busy {
        status: 503,
        retry_after: Some("600".into()),
    };
    pair.cloud
        .set_misbehaviour_times(Step::Registration, busy, 1);
    pair.commit(|_| {});
    let waiting = pair
        .until(|status| status.device == DeviceState::Waiting)
        .await;
    assert_eq!(waiting.failure, Some(FailureReason::Busy));
    let wait = waiting.next_attempt_at.unwrap() - std::time::Instant::now();
    assert!(wait > Duration::from_secs(590), "{wait:?}");
    pair.act(paths::RESET_TUNNEL, &[]);
    pair.up().await;
    pair.end().await;
}

#[tokio::test]
async fn a_cloud_that_restarts_is_met_again() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    pair.cloud.kill_connections();
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::ConnectionLost));
    pair.end().await;
}

#[tokio::test]
async fn a_refused_certificate_is_tls_failed() {
    let mut pair = Pair::start(device()).await;
    pair.cloud
        .set_misbehaviour(Step::Tls, Misbehaviour::Certificate(Flaw::OtherName));
    pair.commit(|_| {});
    let waiting = pair
        .until(|status| status.device == DeviceState::Waiting)
        .await;
    assert_eq!(waiting.failure, Some(FailureReason::TlsFailed));
    pair.end().await;
}

/// More notifications than the queue of telemetry holds while the cloud does not list it.
const NOTIFICATIONS: u64 = 300;

#[tokio::test]
async fn what_telemetry_dropped_is_in_the_state_and_the_cloud_gets_the_newest() {
    let mut pair = Pair::start(device()).await;
    pair.cloud.set_services([]);
    pair.commit(|_| {});
    pair.until(|status| status.device == DeviceState::RequestSuccess)
        .await;
    for number in 1..=NOTIFICATIONS {
        pair.act(paths::UNBIND, &[("code", "4712")]);
        pair.until(|status| {
            status.unbinding.id == number && status.unbinding.state == UnbindingState::Refused
        })
        .await;
    }
    let telemetry = tether::sim::cloud::ServiceOffer::new("telemetry");
    pair.cloud.set_services([telemetry]);
    pair.up().await;
    let is_last = |told: &tether::sim::cloud::Notification| {
        told.name == "cloud-management:unbinding-answered"
            && told
                .content
                .to_string()
                .contains(&NOTIFICATIONS.to_string())
    };
    let mut mark = 0;
    while !pair.cloud.telemetry(SERIAL).iter().any(is_last) {
        let told = |what: &What| matches!(what, What::Telemetry { .. });
        mark = pair.cloud_sees(mark, told).await.number;
    }
    let dropped = pair.state("subconnection[service='telemetry']/dropped");
    let dropped: u64 = dropped.unwrap().parse().unwrap();
    assert!(dropped >= NOTIFICATIONS - 256, "{dropped}");
    pair.end().await;
}
