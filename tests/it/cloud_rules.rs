//! What the cloud does besides the eleven steps, and the whole agent under it (cloud-protocol.md, "What the cloud does
//! besides", "Steps 9-11" and "Steps 3-4").

use std::time::Duration;

use tether::sim::cloud::{
    Authentication, Channel, CloudConfig, Misbehaviour, ServiceOffer, Step, What,
};

use crate::support::{Device, PASSWORD, SERIAL, State, registered};

fn telemetry() -> Channel {
    Channel::Service("telemetry".into())
}

fn stands(state: &State, service: &str) -> bool {
    state.is(&format!("subconnection[{service}]/state"), "established")
}

async fn both_stand(device: &mut Device) -> State {
    device
        .wait_state(|state| stands(state, "netconf") && stands(state, "telemetry"))
        .await
}

async fn device_closes(device: &Device, mark: u64, channel: &Channel, expected: u16) {
    device
        .cloud_sees(mark, |what| {
            matches!(what, What::PeerClosed { channel: closed, code, .. } if closed == channel && *code == expected)
        })
        .await;
}

async fn is_up(device: &Device, mark: u64, service: &str) -> u64 {
    let up = |what: &What| matches!(what, What::ServiceUp(name) if name == service);
    device.cloud_sees(mark, up).await.connection
}

/// How often the device has authenticated itself, with success.
fn admitted(device: &Device) -> usize {
    let events = device.cloud.events();
    let admitted = events.iter().filter(|event| {
        matches!(
            event.what,
            What::Authentication(Authentication::Success { .. })
        )
    });
    admitted.count()
}

#[tokio::test]
async fn a_new_list_closes_what_it_leaves_out_reopens_what_moved_and_keeps_the_rest() {
    let mut device = Device::connected().await;
    both_stand(&mut device).await;
    let main = device.main_connection();

    let mark = device.cloud.mark();
    device.cloud.set_services([ServiceOffer::new("netconf")]);
    device_closes(&device, mark, &telemetry(), 1000).await;
    let state = device
        .wait_state(|state| !state.has_entry("subconnection[telemetry]"))
        .await;
    assert!(stands(&state, "netconf"));

    let mark = device.cloud.mark();
    let moved = ServiceOffer::new("netconf").revision(2);
    device
        .cloud
        .set_services([moved, ServiceOffer::new("telemetry")]);
    device_closes(&device, mark, &Channel::Service("netconf".into()), 1000).await;
    is_up(&device, mark, "netconf").await;
    is_up(&device, mark, "telemetry").await;
    let state = both_stand(&mut device).await;
    assert!(
        state
            .get("subconnection[netconf]/url")
            .unwrap()
            .ends_with("revision=2")
    );

    // The same list again, and one with a service that nobody here knows, change nothing.
    let mark = device.cloud.mark();
    for unknown in [None, Some("unknown")] {
        let moved = ServiceOffer::new("netconf").revision(2);
        let more = ["telemetry"]
            .into_iter()
            .chain(unknown)
            .map(ServiceOffer::new);
        device
            .cloud
            .set_services(std::iter::once(moved).chain(more));
    }
    assert_eq!(device.round_trip().await, main);
    let since = device.cloud.events();
    let touched = since.iter().filter(|event| {
        event.number > mark && matches!(event.what, What::ServiceUp(_) | What::PeerClosed { .. })
    });
    assert_eq!(touched.count(), 0);
    device.stop().await;
}

#[tokio::test]
async fn a_list_that_comes_before_the_one_that_was_asked_for_is_taken() {
    let mut device = Device::start().await;
    let silent = Misbehaviour::Silent;
    device.cloud.set_misbehaviour_times(Step::List, silent, 1);
    device.configure_cloud().await;
    device
        .cloud_sees(0, |what| matches!(what, What::Misbehaved { .. }))
        .await;
    device.cloud.set_services([ServiceOffer::new("telemetry")]);
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn a_subconnection_over_the_limit_waits_until_there_is_room() {
    let mut device = Device::start_at(CloudConfig {
        subconnection_limit: 1,
        ..CloudConfig::with_devices([registered()])
    })
    .await;
    device.configure_cloud().await;
    let busy = |state: &State, service: &str| {
        let entry = format!("subconnection[{service}]");
        state.is(&format!("{entry}/state"), "waiting")
            && state.is(&format!("{entry}/failure-reason"), "busy")
    };
    let state = device
        .wait_state(|state| {
            busy(state, "netconf") && stands(state, "telemetry")
                || busy(state, "telemetry") && stands(state, "netconf")
        })
        .await;
    assert!(state.is("connection-state", "established"));
    let main = device.main_connection();
    device.cloud.set_subconnection_limit(2);
    both_stand(&mut device).await;
    assert_eq!(device.round_trip().await, main);
    device.stop().await;
}

/// "They end when the main connection ends, however it ended (close 1001)."
#[tokio::test]
async fn subconnections_end_with_the_main_connection_however_it_ends() {
    let mut device = Device::connected().await;
    let ends: [fn(&Device); 4] = [
        |device| device.cloud.close(SERIAL, 1000).unwrap(),
        |device| device.cloud.close(SERIAL, 1011).unwrap(),
        |device| device.cloud.send_binary(SERIAL, &b"x"[..]).unwrap(),
        |device| {
            device
                .cloud
                .disconnect(SERIAL, "drain", Duration::ZERO)
                .unwrap()
        },
    ];
    for end in ends {
        let mark = device.cloud.mark();
        end(&device);
        device_closes(&device, mark, &telemetry(), 1001).await;
        device.act("<reset-tunnel/>").await;
        is_up(&device, mark, "telemetry").await;
        device.up().await;
    }
    device.stop().await;
}

#[tokio::test]
async fn the_token_of_a_live_main_connection_opens_subconnections_whatever_its_age() {
    let mut device = Device::connected().await;
    let main = device.main_connection();
    device.cloud.expire_tokens();
    let mark = device.cloud.mark();
    device
        .cloud
        .close_service(SERIAL, "telemetry", 1000)
        .unwrap();
    is_up(&device, mark, "telemetry").await;
    assert_eq!(device.round_trip().await, main);
    assert_eq!(admitted(&device), 1);
    device.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_before_its_registration_costs_one_more_authentication_on_the_connection()
 {
    let mut device = Device::start().await;
    let expired = Misbehaviour::Status(401);
    device
        .cloud
        .set_misbehaviour_times(Step::Registration, expired, 1);
    device.configure_cloud().await;
    device.up().await;
    assert_eq!(admitted(&device), 2);
    let events = device.cloud.events();
    let granted = events.iter().filter(|event| {
        matches!(
            event.what,
            What::Authentication(Authentication::Success { .. })
        )
    });
    let main = device.main_connection();
    assert!(granted.clone().all(|event| event.connection == main));
    device.stop().await;
}

#[tokio::test]
async fn tokens_that_never_last_until_the_registration_are_not_asked_for_over_and_over() {
    let mut device = Device::start_at(CloudConfig {
        token_lifetime: Duration::ZERO,
        ..CloudConfig::with_devices([registered()])
    })
    .await;
    device.configure_cloud().await;
    device.failed("registration-failed").await;
    assert_eq!(admitted(&device), 2);
    device.stop().await;
}

#[tokio::test]
async fn a_token_that_lasts_a_moment_is_enough() {
    let mut device = Device::start_at(CloudConfig {
        token_lifetime: Duration::from_secs(5),
        ..CloudConfig::with_devices([registered()])
    })
    .await;
    device.configure_cloud().await;
    both_stand(&mut device).await;
    assert_eq!(admitted(&device), 1);
    device.stop().await;
}

#[tokio::test]
async fn a_nonce_that_went_stale_costs_one_round_trip_and_nothing_else() {
    let mut device = Device::connected().await;
    for stale in [true, false] {
        if stale {
            device.cloud.forget_nonces();
        }
        let mark = device.cloud.mark();
        device.act("<reset-tunnel/>").await;
        let up = device
            .cloud_sees(mark, |what| matches!(what, What::MainUp { .. }))
            .await;
        let expected = if stale { 6 } else { 5 };
        assert!(
            matches!(up.what, What::MainUp { round_trips, .. } if round_trips == expected),
            "{up:?}"
        );
        device.up().await;
    }
    device.stop().await;
}

/// A second main connection evicts the first, and the evicted one's subconnections with it.
#[tokio::test]
async fn an_evicted_device_gives_its_subconnections_up_too() {
    let mut device = Device::connected().await;
    both_stand(&mut device).await;
    let mark = device.cloud.mark();
    device.cloud.close(SERIAL, 4001).unwrap();
    device_closes(&device, mark, &telemetry(), 1001).await;
    let state = device
        .wait_state(|state| state.is("last-down/reason", "evicted"))
        .await;
    assert!(!state.has_entry("subconnection"));
    assert!(state.is("device-state", "waiting"));
    // Its own operator knows better.
    device.act("<reset-tunnel/>").await;
    both_stand(&mut device).await;
    assert_eq!(admitted(&device), 2);
    let configuration = device.whole_configuration(PASSWORD);
    device.commit(&configuration).await;
    device.stop().await;
}
