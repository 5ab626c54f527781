//! What travels: a DHCPINFORM out (RFC 2131, section 4.4.3), an IPv4 packet with a DHCPACK in.
//!
//! Answers come as whole packets, from anybody on the link: nothing in them is believed before it is checked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode, borrowed};
use dhcproto::{Encodable as _, v4};

use super::options::{DOMAIN, Discovered, PASSWORD, Refused};

/// Where servers are asked.
pub const SERVER_PORT: u16 = v4::SERVER_PORT;
/// Where most servers answer; some answer to the port that they were asked from.
pub const CLIENT_PORT: u16 = v4::CLIENT_PORT;

/// The largest answer that fits one Ethernet frame: 1500 octets less the headers of IP and UDP.
const LARGEST_ANSWER: u16 = 1472;
/// Where things are in a message (RFC 2131, section 2).
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
const COOKIE: std::ops::Range<usize> = 236..240;

/// What is asked, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The transaction; random.
    pub xid: u32,
    /// Of the interface.
    pub hardware_address: [u8; 6],
    /// Of the interface; the answer is sent to it.
    pub address: Ipv4Addr,
    /// Seconds since it was asked first.
    pub seconds: u16,
}

impl Question {
    /// The DHCPINFORM; `None` only if the library cannot write it.
    pub fn to_octets(self) -> Option<Vec<u8>> {
        let none = Ipv4Addr::UNSPECIFIED;
        let hardware = &self.hardware_address;
        let mut message = Message::new_with_id(self.xid, self.address, none, none, none, hardware);
        message.set_secs(self.seconds);
        let wanted = vec![OptionCode::from(PASSWORD), OptionCode::from(DOMAIN)];
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(MessageType::Inform));
        options.insert(DhcpOption::ParameterRequestList(wanted));
        options.insert(DhcpOption::MaxMessageSize(LARGEST_ANSWER));
        let mut octets = message.to_vec().ok()?;
        // BOOTP relays may drop what is shorter (RFC 1542, section 2.1; RFC 951).
        octets.resize(octets.len().max(v4::MIN_PACKET_SIZE), 0);
        Some(octets)
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The transaction.
    pub xid: u32,
    /// Who answered.
    pub server: Ipv4Addr,
    /// What counts of it.
    pub discovered: Discovered,
    /// What does not.
    pub refused: Vec<Refused>,
}

/// Why a packet is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Not a whole UDP datagram over IPv4.
    #[error("it is no whole UDP datagram")]
    NoDatagram,
    /// To another port.
    #[error("it is for another port")]
    OtherPort,
    /// Too short, or without the magic cookie.
    #[error("it is no DHCP message")]
    NoMessage,
    /// From a client.
    #[error("it is no reply")]
    NoReply,
    /// In answer to another question.
    #[error("it is for another transaction or another device")]
    OtherTransaction,
    /// Not a DHCPACK.
    #[error("it is no acknowledgement")]
    NoAcknowledgement,
    /// "DHCPACK: Server identifier MUST" (RFC 2131, table 3).
    #[error("it does not say which server it is from")]
    NoServer,
}

/// Reads an IPv4 packet as an answer to this question, sent to the usual port or to `port`.
///
/// # Errors
/// Why it is none.
pub fn read(packet: &[u8], question: &Question, port: u16) -> Result<Answer, NoAnswer> {
    let (to, payload) = datagram(packet).ok_or(NoAnswer::NoDatagram)?;
    if to != CLIENT_PORT && to != port {
        return Err(NoAnswer::OtherPort);
    }
    let message = borrowed::Message::new(payload).map_err(|_| NoAnswer::NoMessage)?;
    if payload.get(COOKIE) != Some(&v4::MAGIC) {
        return Err(NoAnswer::NoMessage);
    }
    if message.opcode() != v4::Opcode::BootReply {
        return Err(NoAnswer::NoReply);
    }
    // The length first: the library slices by it.
    let is_ours = message.xid() == question.xid
        && usize::from(message.hlen()) == question.hardware_address.len()
        && message.chaddr() == question.hardware_address;
    if !is_ours {
        return Err(NoAnswer::OtherTransaction);
    }
    let options = options(&message, payload);
    let of = |code: u8| options.get(&code).map(Vec::as_slice);
    if of(OptionCode::MessageType.into()) != Some(&[MessageType::Ack.into()]) {
        return Err(NoAnswer::NoAcknowledgement);
    }
    let server =
        of(OptionCode::ServerIdentifier.into()).and_then(|id| <[u8; 4]>::try_from(id).ok());
    let (discovered, refused) = Discovered::read(of(DOMAIN), of(PASSWORD));
    Ok(Answer {
        xid: question.xid,
        server: server.ok_or(NoAnswer::NoServer)?.into(),
        discovered,
        refused,
    })
}

/// The options, also those in the fields for server name and file if option 52 says so (RFC 2131, section 4.1); one that
/// comes in pieces is put together, wherever they are (RFC 3396, section 7).
fn options(message: &borrowed::Message<'_>, payload: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut all: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let mut take = |pieces: borrowed::DhcpOptionIterator<'_>| {
        let mut overload = 0;
        for piece in pieces {
            let code = u8::from(piece.code());
            if code == u8::from(OptionCode::OptionOverload) {
                overload = piece.data().first().copied().unwrap_or(0);
            }
            all.entry(code).or_default().extend_from_slice(piece.data());
        }
        overload
    };
    let overload = take(message.opts());
    for (bit, field) in [(1, FILE), (2, SERVER_NAME)] {
        if let Some(field) = payload.get(field).filter(|_| overload & bit != 0) {
            take(borrowed::DhcpOptionIterator::new(field));
        }
    }
    all
}

/// Destination port and content of a UDP datagram in an IPv4 packet that is no fragment. Checksums are not looked at: the
/// sender of a virtual interface leaves them out, and the values are checked themselves.
fn datagram(packet: &[u8]) -> Option<(u16, &[u8])> {
    const UDP: u8 = 17;
    const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
    let word = |octets: &[u8], at: usize| {
        let pair = octets.get(at..at + 2)?;
        Some(u16::from_be_bytes([*pair.first()?, *pair.get(1)?]))
    };
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    let is_udp = first >> 4 == 4 && header >= 20 && *packet.get(9)? == UDP;
    if !is_udp || word(packet, 6)? & MORE_FRAGMENTS_OR_OFFSET != 0 {
        return None;
    }
    let datagram = packet.get(header..usize::from(word(packet, 2)?))?;
    let content = datagram.get(8..usize::from(word(datagram, 4)?))?;
    Some((word(datagram, 2)?, content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dhcp::options::Reason;
    use crate::model::settings::Secret;

    const QUESTION: Question = Question {
        xid: 0x0102_0304,
        hardware_address: [2, 0, 0, 0, 0, 7],
        address: Ipv4Addr::new(192, 0, 2, 7),
        seconds: 4,
    };
    const OWN_PORT: u16 = 40_000;
    const ACK: &[u8] = &[53, 1, 5];
    const SERVER: &[u8] = &[54, 4, 192, 0, 2, 1];

    /// An answer to the question with these options.
    fn message(question: &Question, options: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[..3].copy_from_slice(&[2, 1, 6]);
        message[4..8].copy_from_slice(&question.xid.to_be_bytes());
        message[28..34].copy_from_slice(&question.hardware_address);
        message[COOKIE].copy_from_slice(&v4::MAGIC);
        message.extend(options.concat());
        message.push(255);
        message
    }

    fn option(code: u8, value: &[u8]) -> Vec<u8> {
        [&[code, u8::try_from(value.len()).unwrap()], value].concat()
    }

    /// The packet of a message to a port.
    fn packet(message: &[u8], port: u16) -> Vec<u8> {
        let length = |octets: usize| u16::try_from(octets).unwrap().to_be_bytes();
        let mut packet = vec![0x45, 0];
        packet.extend(length(28 + message.len()));
        packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 7]);
        packet.extend([0, 67]);
        packet.extend(port.to_be_bytes());
        packet.extend(length(8 + message.len()));
        packet.extend([0, 0]);
        packet.extend(message);
        packet
    }

    /// A good answer.
    fn acknowledgement(question: &Question, domain: &str, password: &str) -> Vec<u8> {
        let (domain, password) = (domain.as_bytes(), password.as_bytes());
        let options = [option(DOMAIN, domain), option(PASSWORD, password)];
        message(question, &[ACK, SERVER, &options.concat()])
    }

    fn answer(options: &[&[u8]]) -> Result<Answer, NoAnswer> {
        read(
            &packet(&message(&QUESTION, options), CLIENT_PORT),
            &QUESTION,
            OWN_PORT,
        )
    }

    #[test]
    fn a_question_names_its_address_and_asks_for_no_other_one() {
        let octets = QUESTION.to_octets().unwrap();
        assert_eq!(octets.len(), v4::MIN_PACKET_SIZE);
        let message = borrowed::Message::new(&octets).unwrap();
        assert_eq!(message.opcode(), v4::Opcode::BootRequest);
        assert_eq!((message.xid(), message.secs()), (QUESTION.xid, 4));
        assert_eq!(message.ciaddr(), QUESTION.address);
        assert_eq!(message.chaddr(), QUESTION.hardware_address);
        let options = options(&message, &octets);
        assert_eq!(options.keys().copied().collect::<Vec<_>>(), [53, 55, 57]);
        assert_eq!(options[&53], [8]);
        assert_eq!(options[&55], [252, 253]);
    }

    #[test]
    fn an_answer_has_both_values() {
        let read = |port| {
            read(
                &packet(&acknowledgement(&QUESTION, "cloud.example", "secret"), port),
                &QUESTION,
                OWN_PORT,
            )
        };
        let answer = read(CLIENT_PORT).unwrap();
        assert_eq!(answer.server, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(answer.discovered.domain.as_deref(), Some("cloud.example"));
        assert_eq!(answer.discovered.password, Some(Secret::new("secret")));
        assert_eq!(answer.refused, []);
        assert_eq!(read(OWN_PORT), Ok(answer));
        assert_eq!(read(OWN_PORT + 1), Err(NoAnswer::OtherPort));
    }

    #[test]
    fn options_in_pieces_are_put_together() {
        let first = option(DOMAIN, b"cloud.");
        let second = option(DOMAIN, b"example");
        for options in [
            &[ACK, SERVER, &first, &second][..],
            &[&first, ACK, &second, SERVER],
        ] {
            let domain = answer(options).unwrap().discovered.domain;
            assert_eq!(domain.as_deref(), Some("cloud.example"));
        }
    }

    #[test]
    fn options_are_found_in_the_fields_of_file_and_server_name() {
        let mut message = message(
            &QUESTION,
            &[&option(52, &[3]), ACK, &option(DOMAIN, b"cloud.")],
        );
        let file = [option(DOMAIN, b"exam"), SERVER.to_vec(), vec![255]].concat();
        message[FILE][..file.len()].copy_from_slice(&file);
        let name = [option(DOMAIN, b"ple"), vec![255]].concat();
        message[SERVER_NAME][..name.len()].copy_from_slice(&name);
        let answer = read(&packet(&message, CLIENT_PORT), &QUESTION, OWN_PORT).unwrap();
        assert_eq!(answer.discovered.domain.as_deref(), Some("cloud.example"));
    }

    #[test]
    fn a_value_that_does_not_count_leaves_the_rest() {
        let url = option(PASSWORD, b"http://wpad/wpad.dat");
        let answer = answer(&[ACK, SERVER, &option(DOMAIN, b"cloud.example"), &url]).unwrap();
        assert_eq!(answer.discovered.domain.as_deref(), Some("cloud.example"));
        assert_eq!(answer.discovered.password, None);
        let expected = Refused {
            option: PASSWORD,
            reason: Reason::Url,
        };
        assert_eq!(answer.refused, [expected]);
    }

    #[test]
    fn what_is_not_an_answer_to_the_question_is_none() {
        assert_eq!(
            answer(&[&[53, 1, 2], SERVER]),
            Err(NoAnswer::NoAcknowledgement)
        );
        assert_eq!(answer(&[SERVER]), Err(NoAnswer::NoAcknowledgement));
        assert_eq!(answer(&[ACK]), Err(NoAnswer::NoServer));
        let changes: [(usize, u8, NoAnswer); 5] = [
            (0, 1, NoAnswer::NoReply),
            (2, 255, NoAnswer::OtherTransaction),
            (7, 9, NoAnswer::OtherTransaction),
            (33, 9, NoAnswer::OtherTransaction),
            (236, 9, NoAnswer::NoMessage),
        ];
        for (at, octet, expected) in changes {
            let mut message = message(&QUESTION, &[ACK, SERVER]);
            message[at] = octet;
            let read = read(&packet(&message, CLIENT_PORT), &QUESTION, OWN_PORT);
            assert_eq!(read, Err(expected), "octet {at}");
        }
    }

    #[test]
    fn a_packet_that_is_not_whole_is_no_datagram() {
        let whole = packet(&message(&QUESTION, &[ACK, SERVER]), CLIENT_PORT);
        for length in 0..whole.len() {
            let read = read(&whole[..length], &QUESTION, OWN_PORT);
            assert_eq!(read, Err(NoAnswer::NoDatagram), "{length} octets");
        }
        // Version 6, a fragment, TCP, a UDP length beyond the packet.
        for (at, octet) in [(0, 0x65), (6, 0x20), (9, 6), (24, 0xff)] {
            let mut packet = whole.clone();
            packet[at] = octet;
            let read = read(&packet, &QUESTION, OWN_PORT);
            assert_eq!(read, Err(NoAnswer::NoDatagram), "octet {at}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_survived(octets: Vec<u8>) {
            let _ = read(&octets, &QUESTION, OWN_PORT);
            let _ = read(&packet(&octets, CLIENT_PORT), &QUESTION, OWN_PORT);
            let _ = answer(&[ACK, SERVER, &octets]);
        }

        #[test]
        fn a_damaged_answer_is_survived(damage: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
            let mut packet = packet(&acknowledgement(&QUESTION, "cloud.example", "secret"), CLIENT_PORT);
            for (at, octet) in damage {
                let at = at.index(packet.len());
                packet[at] = octet;
            }
            let _ = read(&packet, &QUESTION, OWN_PORT);
            let _ = read(&packet[..cut.index(packet.len())], &QUESTION, OWN_PORT);
        }
    }
}
