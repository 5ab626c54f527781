//! Names: static hosts before the hosts file before DNS.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::super::{NetError, resolve};
use super::{LOOPBACK, endpoint, surroundings};
use crate::model::settings::DnsSettings;
use crate::tunnel::machine::STEP_DEADLINE;
use crate::tunnel::machine::event::Endpoint;
use crate::tunnel::target::Family;

/// What a resolver says to a query, if anything.
type Say = fn(Message) -> Option<Message>;

/// A resolver that knows `cloud.com` (10.1.1.1, 10.1.1.2) and tells who asked.
async fn resolver(queries: usize) -> (DnsSettings, JoinHandle<Vec<IpAddr>>) {
    let (address, server) = saying(queries, |query| Some(answer(query))).await;
    let server = tokio::spawn(async move {
        let asked = server.await.unwrap();
        asked.into_iter().map(|(peer, _)| peer).collect()
    });
    (asking([address]), server)
}

/// A resolver that says what a test wants over UDP, and tells who asked for what.
async fn saying(queries: usize, say: Say) -> ((IpAddr, u16), JoinHandle<Vec<(IpAddr, String)>>) {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    let address = (LOOPBACK, socket.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        while asked.len() < queries {
            let mut buffer = [0; 1500];
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let query = Message::from_vec(&buffer[..length]).unwrap();
            asked.push((peer.ip(), query.queries[0].name().to_ascii()));
            if let Some(answer) = say(query) {
                let answer = answer.to_vec().unwrap();
                socket.send_to(&answer, peer).await.unwrap();
            }
        }
        asked
    });
    (address, server)
}

fn asking(servers: impl IntoIterator<Item = (IpAddr, u16)>) -> DnsSettings {
    DnsSettings {
        servers: servers.into_iter().collect(),
        timeout: Duration::from_secs(5),
        attempts: 1,
        ..DnsSettings::default()
    }
}

fn answer(query: Message) -> Message {
    let asked = query.queries[0].clone();
    let name = asked.name().clone();
    let mut answer = query.into_response();
    if name != Name::from_ascii("cloud.com.").unwrap() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    } else if asked.query_type() == RecordType::A {
        for last in [1, 2] {
            answer.add_answer(address(&name, last));
        }
    }
    answer
}

/// 10.1.1.`last`
fn address(name: &Name, last: u8) -> Record {
    let data = RData::A(A(Ipv4Addr::new(10, 1, 1, last)));
    Record::from_rdata(name.clone(), 300, data)
}

fn alias(name: &str, of: &str) -> Record {
    let of = RData::CNAME(CNAME(Name::from_ascii(of).unwrap()));
    Record::from_rdata(Name::from_ascii(name).unwrap(), 300, of)
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

#[tokio::test]
async fn ipv6_addresses_are_asked_for_as_such() {
    let (address, _server) = saying(1, |query| {
        let name = query.queries[0].name().clone();
        let is_ipv6 = query.queries[0].query_type() == RecordType::AAAA;
        let mut answer = query.into_response();
        let data = RData::AAAA(AAAA("2001:db8::1".parse().unwrap()));
        if is_ipv6 {
            answer.add_answer(Record::from_rdata(name, 300, data));
        }
        Some(answer)
    })
    .await;
    let ipv6 = Endpoint {
        family: Family::Ipv6,
        ..cloud()
    };
    let found = resolve(&surroundings(), &asking([address]), &ipv6).await;
    assert_eq!(text(found), ["2001:db8::1"]);
}

#[tokio::test]
async fn aliases_are_followed_within_an_answer_and_from_one_to_the_next() {
    let (whole, _server) = saying(1, |query| {
        let mut answer = query.into_response();
        answer.add_answer(alias("cloud.com.", "a.example."));
        answer.add_answer(alias("A.example.", "b.example."));
        answer.add_answer(address(&Name::from_ascii("B.Example.").unwrap(), 7));
        Some(answer)
    })
    .await;
    let found = resolve(&surroundings(), &asking([whole]), &cloud()).await;
    assert_eq!(text(found), ["10.1.1.7"]);

    let (parts, server) = saying(2, |query| {
        let name = query.queries[0].name().clone();
        let mut answer = query.into_response();
        answer.add_answer(match name.to_ascii().as_str() {
            "cloud.com." => alias("cloud.com.", "b.example."),
            _ => address(&name, 7),
        });
        Some(answer)
    })
    .await;
    let found = resolve(&surroundings(), &asking([parts]), &cloud()).await;
    assert_eq!(text(found), ["10.1.1.7"]);
    assert_eq!(server.await.unwrap().len(), 2);
}

#[tokio::test]
async fn aliases_in_a_circle_end() {
    let (circle, _server) = saying(99, |query| {
        let name = query.queries[0].name().to_ascii();
        let mut answer = query.into_response();
        let of = if name == "a.example." {
            "cloud.com."
        } else {
            "a.example."
        };
        answer.add_answer(alias(&name, of));
        Some(answer)
    })
    .await;
    let found = resolve(&surroundings(), &asking([circle]), &cloud()).await;
    assert!(matches!(found, Err(NetError::Dns(_))), "{found:?}");
}

#[tokio::test]
async fn the_search_list_comes_after_a_name_with_a_dot_and_before_one_without() {
    let (address, server) = saying(6, |query| {
        let mut answer = query.into_response();
        answer.metadata.response_code = ResponseCode::NXDomain;
        Some(answer)
    })
    .await;
    let mut dns = asking([address]);
    dns.search = vec!["one.example".into(), "two.example".into()];
    for name in ["cloud.com", "cloud"] {
        let found = resolve(&surroundings(), &dns, &endpoint(name, 443)).await;
        assert!(matches!(found, Err(NetError::Dns(_))));
    }
    let asked: Vec<String> = server
        .await
        .unwrap()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(
        asked,
        [
            "cloud.com.",
            "cloud.com.one.example.",
            "cloud.com.two.example.",
            "cloud.one.example.",
            "cloud.two.example.",
            "cloud.",
        ]
    );
}

#[tokio::test]
async fn a_name_of_the_search_list_is_found_under_its_full_name() {
    let (address, _server) = saying(9, |query| {
        let name = query.queries[0].name().clone();
        let mut answer = query.into_response();
        if name.to_ascii() == "cloud.example.com." {
            answer.add_answer(address(&name, 9));
        } else {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        Some(answer)
    })
    .await;
    let mut dns = asking([address]);
    dns.search = vec!["example.com".into()];
    let found = resolve(&surroundings(), &dns, &endpoint("cloud", 443)).await;
    assert_eq!(text(found), ["10.1.1.9"]);
}

#[tokio::test]
async fn a_resolver_that_refuses_one_name_of_the_search_list_may_know_the_next() {
    let (address, _server) = saying(9, |query| {
        let name = query.queries[0].name().clone();
        if name.to_ascii() != "cloud.two.example." {
            return Some(refusal(query, ResponseCode::Refused));
        }
        let mut answer = query.into_response();
        answer.add_answer(address(&name, 2));
        Some(answer)
    })
    .await;
    let mut dns = asking([address]);
    dns.search = vec!["one.example".into(), "two.example".into()];
    let found = resolve(&surroundings(), &dns, &endpoint("cloud", 443)).await;
    assert_eq!(text(found), ["10.1.1.2"]);
}

/// RFC 7317: "If no response has been received […] the resolver continues with the next server in the list."
#[tokio::test(start_paused = true)]
async fn silent_resolvers_leave_time_for_the_last_within_the_step_whatever_is_configured() {
    for (timeout, attempts, silent) in [(5, 2, 1), (60, 5, 1), (5, 2, 2), (1, 1, 2)] {
        let mut servers = Vec::new();
        let mut held = Vec::new();
        for _ in 0..silent {
            let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
            servers.push((LOOPBACK, socket.local_addr().unwrap().port()));
            held.push(socket);
        }
        let (known, _server) = saying(1, |query| Some(answer(query))).await;
        servers.push(known);
        let dns = DnsSettings {
            timeout: Duration::from_secs(timeout),
            attempts,
            ..asking(servers)
        };
        let begun = tokio::time::Instant::now();
        let found = resolve(&surroundings(), &dns, &cloud()).await;
        assert_eq!(text(found), ["10.1.1.1", "10.1.1.2"]);
        assert!(begun.elapsed() < STEP_DEADLINE, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_resolver_that_cannot_say_is_followed_by_the_next_and_one_that_knows_is_not() {
    for (code, is_followed) in [
        (ResponseCode::ServFail, true),
        (ResponseCode::Refused, true),
        (ResponseCode::NotImp, true),
        (ResponseCode::NXDomain, false),
    ] {
        let say: Say = match code {
            ResponseCode::ServFail => |query| Some(refusal(query, ResponseCode::ServFail)),
            ResponseCode::Refused => |query| Some(refusal(query, ResponseCode::Refused)),
            ResponseCode::NotImp => |query| Some(refusal(query, ResponseCode::NotImp)),
            _ => |query| Some(refusal(query, ResponseCode::NXDomain)),
        };
        let (first, _first) = saying(9, say).await;
        let (second, _second) = saying(9, |query| Some(answer(query))).await;
        let found = resolve(&surroundings(), &asking([first, second]), &cloud()).await;
        assert_eq!(found.is_ok(), is_followed, "{code}");
    }
}

fn refusal(query: Message, code: ResponseCode) -> Message {
    let mut answer = query.into_response();
    answer.metadata.response_code = code;
    answer
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let tcp = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let mut cut = query.into_response();
        cut.metadata.truncation = true;
        udp.send_to(&cut.to_vec().unwrap(), peer).await.unwrap();
        let (mut stream, _) = tcp.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.unwrap();
        let whole = answer(Message::from_vec(&query).unwrap()).to_vec().unwrap();
        let length = u16::try_from(whole.len()).unwrap();
        stream.write_u16(length).await.unwrap();
        stream.write_all(&whole).await.unwrap();
        // Until the other end is done with it.
        let _ = stream.read_u8().await;
    });
    let dns = asking([(address.ip(), address.port())]);
    let found = resolve(&surroundings(), &dns, &cloud()).await;
    assert_eq!(text(found), ["10.1.1.1", "10.1.1.2"]);
}

#[tokio::test]
async fn what_a_hostile_answer_adds_of_other_names_is_not_believed() {
    let (address, _server) = saying(1, |query| {
        let mut answer = query.into_response();
        let evil = Name::from_ascii("evil.example.").unwrap();
        answer.add_answer(address(&evil, 66));
        answer.add_answer(alias("other.com.", "evil.example."));
        let asked = answer.queries[0].name().clone();
        answer.add_answer(address(&asked, 1));
        answer.add_additional(address(&asked, 67));
        Some(answer)
    })
    .await;
    let found = resolve(&surroundings(), &asking([address]), &cloud()).await;
    assert_eq!(text(found), ["10.1.1.1"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_question_is_no_answer() {
    let (address, _server) = saying(99, |query| {
        let mut answer = query.into_response();
        let evil = Name::from_ascii("evil.example.").unwrap();
        answer.queries[0].set_name(evil.clone());
        answer.add_answer(address(&evil, 66));
        Some(answer)
    })
    .await;
    let (known, _known) = saying(1, |query| Some(answer(query))).await;
    let found = resolve(&surroundings(), &asking([address, known]), &cloud()).await;
    assert_eq!(text(found), ["10.1.1.1", "10.1.1.2"]);
}

#[tokio::test(start_paused = true)]
async fn octets_that_are_no_message_are_no_answer() {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            for end in [0, 2, length / 2] {
                socket.send_to(&buffer[..end], peer).await.unwrap();
            }
            socket.send_to(&[0xff; 64], peer).await.unwrap();
        }
    });
    let (known, _known) = saying(1, |query| Some(answer(query))).await;
    let found = resolve(
        &surroundings(),
        &asking([(LOOPBACK, port), known]),
        &cloud(),
    )
    .await;
    assert_eq!(text(found), ["10.1.1.1", "10.1.1.2"]);
}
