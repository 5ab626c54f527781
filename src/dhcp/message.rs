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
mod tests;
