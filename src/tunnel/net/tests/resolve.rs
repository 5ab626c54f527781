//! Names: static hosts before the hosts file before DNS.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::super::{NetError, resolve};
use super::{LOOPBACK, endpoint, surroundings};
use crate::model::settings::DnsSettings;
use crate::tunnel::machine::event::Endpoint;
use crate::tunnel::target::Family;

/// A resolver that knows `cloud.com` (10.1.1.1, 10.1.1.2) and tells who asked.
async fn resolver(queries: usize) -> (DnsSettings, JoinHandle<Vec<IpAddr>>) {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    let settings = DnsSettings {
        servers: vec![(LOOPBACK, socket.local_addr().unwrap().port())],
        timeout: Duration::from_secs(5),
        attempts: 1,
        ..DnsSettings::default()
    };
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        while asked.len() < queries {
            let mut buffer = [0; 1500];
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            asked.push(peer.ip());
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let answer = answer(query).to_vec().unwrap();
            socket.send_to(&answer, peer).await.unwrap();
        }
        asked
    });
    (settings, server)
}

fn answer(query: Message) -> Message {
    let asked = query.queries[0].clone();
    let name = asked.name().clone();
    let mut answer = query.into_response();
    if name.to_ascii() != "cloud.com." {
        answer.metadata.response_code = ResponseCode::NXDomain;
    } else if asked.query_type() == RecordType::A {
        for last in [1, 2] {
            let data = RData::A(A(Ipv4Addr::new(10, 1, 1, last)));
            answer.add_answer(Record::from_rdata(name.clone(), 300, data));
        }
    }
    answer
}

fn cloud() -> Endpoint {
    endpoint("Cloud.com", 443)
}

fn text(addresses: Result<Vec<IpAddr>, NetError>) -> Vec<String> {
    let addresses = addresses.unwrap();
    addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_literal_is_taken_as_it_is() {
    let dns = DnsSettings::default();
    let found = resolve(&surroundings(), &dns, &endpoint("2001:db8::1", 443)).await;
    assert_eq!(text(found), ["2001:db8::1"]);
}

#[tokio::test]
async fn the_static_map_comes_before_the_hosts_file_and_that_before_dns() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "10.2.2.2 cloud.com\n2001:db8::2 cloud.com").unwrap();
    let mut surroundings = surroundings();
    surroundings.hosts_file = file.path().to_owned();
    let addresses = vec!["10.3.3.3".parse().unwrap(), "10.3.3.1".parse().unwrap()];
    let mut dns = DnsSettings {
        hosts: vec![("cloud.com".into(), addresses)],
        ..DnsSettings::default()
    };
    let found = resolve(&surroundings, &dns, &cloud()).await;
    assert_eq!(text(found), ["10.3.3.3", "10.3.3.1"]);

    // The map has no IPv6 address of it, the file has one.
    let ipv6 = Endpoint {
        family: Family::Ipv6,
        ..cloud()
    };
    let found = resolve(&surroundings, &dns, &ipv6).await;
    assert_eq!(text(found), ["2001:db8::2"]);

    dns.hosts.clear();
    let found = resolve(&surroundings, &dns, &cloud()).await;
    assert_eq!(text(found), ["10.2.2.2"]);
}

#[tokio::test]
async fn dns_is_asked_anew_for_each_attempt() {
    let (dns, server) = resolver(2).await;
    for _ in 0..2 {
        let found = resolve(&surroundings(), &dns, &cloud()).await;
        assert_eq!(text(found), ["10.1.1.1", "10.1.1.2"]);
    }
    assert_eq!(server.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_an_error() {
    let (dns, _server) = resolver(9).await;
    let found = resolve(&surroundings(), &dns, &endpoint("no.example", 443)).await;
    assert!(matches!(found, Err(NetError::Dns(_))));
}

#[tokio::test]
async fn a_name_without_an_address_of_the_family_is_an_error() {
    let (dns, _server) = resolver(9).await;
    let ipv6 = Endpoint {
        family: Family::Ipv6,
        ..cloud()
    };
    let failed = resolve(&surroundings(), &dns, &ipv6).await.unwrap_err();
    assert_eq!(failed.step(), crate::tunnel::machine::event::StepError::Dns);
}

#[tokio::test]
async fn queries_leave_by_the_path() {
    let (dns, server) = resolver(1).await;
    let mut endpoint = cloud();
    endpoint.path.source = Some("127.0.0.2".parse().unwrap());
    endpoint.path.vpn_instance = Some("lo".into());
    let found = resolve(&surroundings(), &dns, &endpoint).await;
    assert_eq!(text(found), ["10.1.1.1", "10.1.1.2"]);
    assert_eq!(
        server.await.unwrap(),
        ["127.0.0.2".parse::<IpAddr>().unwrap()]
    );
}

#[tokio::test]
async fn a_missing_vrf_or_source_is_told_from_a_silent_resolver() {
    let (dns, _server) = resolver(9).await;
    let mut endpoint = cloud();
    endpoint.path.source = Some("192.0.2.77".parse().unwrap());
    let failed = resolve(&surroundings(), &dns, &endpoint).await;
    assert!(matches!(failed, Err(NetError::SourceIpMissing)));
    endpoint.path.vpn_instance = Some("no-such-vrf".into());
    let failed = resolve(&surroundings(), &dns, &endpoint).await;
    assert!(matches!(failed, Err(NetError::VpnInstanceMissing)));
}
