//! TCP: which address, from where, through which VRF.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use super::super::{NetError, Patience, connect};
use super::{LOOPBACK, endpoint};

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// TEST-NET-1 (RFC 5737): on no device.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next() {
    let (_listener, port) = listener().await;
    let endpoint = endpoint("cloud.example", port);
    let (stream, address) = connect(&endpoint, &[OTHER, LOOPBACK]).await.unwrap();
    assert_eq!(address, LOOPBACK);
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn the_first_that_accepts_is_taken() {
    let (_listener, port) = listener().await;
    let endpoint = endpoint("cloud.example", port);
    let (_, address) = connect(&endpoint, &[LOOPBACK, OTHER]).await.unwrap();
    assert_eq!(address, LOOPBACK);
}

#[tokio::test]
async fn no_address_that_accepts_is_an_error() {
    // Nobody listens there, and nobody else gets the port.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let port = refusing.local_addr().unwrap().port();
    let endpoint = endpoint("cloud.example", port);
    let failed = connect(&endpoint, &[LOOPBACK, OTHER]).await;
    assert!(matches!(failed, Err(NetError::Connect(_))));
    assert!(matches!(
        connect(&endpoint, &[]).await,
        Err(NetError::NoAddress)
    ));
}

#[tokio::test]
async fn the_source_address_is_used() {
    let (listener, port) = listener().await;
    let mut endpoint = endpoint("cloud.example", port);
    endpoint.path.source = Some(OTHER);
    let (_stream, _) = connect(&endpoint, &[LOOPBACK]).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip(), OTHER);
}

#[tokio::test]
async fn a_source_address_of_another_device_is_missing() {
    let mut endpoint = endpoint("cloud.example", 443);
    endpoint.path.source = Some(NOWHERE);
    let failed = connect(&endpoint, &[LOOPBACK]).await;
    assert!(matches!(failed, Err(NetError::SourceIpMissing)));
}

#[tokio::test]
async fn a_vrf_without_a_device_is_missing() {
    let mut endpoint = endpoint("cloud.example", 443);
    endpoint.path.vpn_instance = Some("no-such-vrf".into());
    let failed = connect(&endpoint, &[LOOPBACK]).await;
    assert!(matches!(failed, Err(NetError::VpnInstanceMissing)));
}

#[tokio::test]
async fn a_connection_stays_in_its_vrf() {
    let (_listener, port) = listener().await;
    let mut endpoint = endpoint("cloud.example", port);
    endpoint.path.vpn_instance = Some("lo".into());
    let (stream, _) = connect(&endpoint, &[LOOPBACK]).await.unwrap();
    let device = socket2::SockRef::from(&stream).device().unwrap();
    assert_eq!(device.as_deref(), Some(&b"lo"[..]));
}

#[tokio::test]
async fn the_kernel_waits_a_little_longer_than_the_machine_for_what_is_not_acknowledged() {
    let (_listener, port) = listener().await;
    let endpoint = endpoint("cloud.example", port);
    let (stream, _) = connect(&endpoint, &[LOOPBACK]).await.unwrap();
    let patience = Patience::of(&stream).unwrap();
    let (interval, live) = watch::channel(Duration::from_secs(180));
    let mut follow = std::pin::pin!(patience.follow(live));
    for (seconds, expected) in [(180, 550), (10, 40)] {
        interval.send_replace(Duration::from_secs(seconds));
        assert_eq!(follow.as_mut().now_or_never(), None);
        let set = socket2::SockRef::from(&stream).tcp_user_timeout();
        assert_eq!(set.unwrap(), Some(Duration::from_secs(expected)));
    }
}
