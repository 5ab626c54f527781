//! The sockets of one round of questions: one to ask, one to hear the answers; both are gone with the round.
//!
//! Servers answer to UDP port 68, which belongs to the DHCP client of the device. So answers are read where they come in,
//! on a packet socket, and only those that a filter in the kernel lets through: of this interface and this transaction.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::debug;

use crate::dhcp::message::{self, CLIENT_PORT, Question, SERVER_PORT};

/// No answer is longer than a frame with 9,000 octets.
const LONGEST_PACKET: usize = 9216;
/// Answers that are looked at in one round, whoever sends more: each may be worth a line in the log.
const MOST_ANSWERS: u32 = 16;
/// EtherType of IPv4.
const IPV4: u16 = 0x0800;

/// An answer with the interface that it came in on.
pub(super) type Heard = (String, message::Answer);

/// A round of questions under way.
pub(super) struct Exchange {
    xid: u32,
    asking: Socket,
    hearing: AbortHandle,
}

impl Exchange {
    /// Opens both sockets; answers are told to `heard`, under the name of the interface.
    ///
    /// # Errors
    /// What the system says; `PermissionDenied` without CAP_NET_RAW.
    pub fn open(
        interface: &str,
        index: u32,
        question: Question,
        heard: mpsc::Sender<Heard>,
    ) -> io::Result<Self> {
        let asking = asking(interface, question.address)?;
        let port = asking.local_addr()?.as_socket_ipv4();
        let port = port.map_or(CLIENT_PORT, |address| address.port());
        let hearing = hearing(index, question.xid, port)?;
        let interface = interface.to_owned();
        let hearing = tokio::spawn(async move {
            if let Err(error) = hear(&hearing, &interface, question, port, heard).await {
                debug!(%error, interface, "answers to DHCPINFORM cannot be read");
            }
        });
        Ok(Self {
            xid: question.xid,
            asking,
            hearing: hearing.abort_handle(),
        })
    }

    /// The transaction.
    pub fn xid(&self) -> u32 {
        self.xid
    }

    /// Sends the question to whoever serves on the link; never waits.
    ///
    /// # Errors
    /// What the system says, such as that there is no room for it now.
    pub fn ask(&self, question: Question) -> io::Result<()> {
        let octets = question.to_octets().ok_or(io::ErrorKind::InvalidData)?;
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);
        self.asking.send_to(&octets, &everybody.into())?;
        Ok(())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

/// A socket that sends on this interface alone, from its address and any port.
fn asking(interface: &str, address: Ipv4Addr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(address, 0).into())?;
    Ok(socket)
}

/// A socket that gets a copy of what the filter lets through, from the header of IP on.
fn hearing(index: u32, xid: u32, port: u16) -> io::Result<UdpSocket> {
    let ipv4 = Protocol::from(i32::from(IPV4.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(ipv4))?;
    // What comes in before the filter is there is read and dropped: every packet is checked again.
    socket.attach_filter(&filter(index, xid, port))?;
    socket.set_nonblocking(true)?;
    // Nothing but `recv` is ever called, and that is the same for any socket of datagrams.
    UdpSocket::from_std(socket.into())
}

/// A program of the classic packet filter (Linux, Documentation/networking/filter.rst): UDP over IPv4 that came in on
/// this interface, is no fragment, goes to port 68 or `port`, and has this transaction where DHCP has it.
fn filter(index: u32, xid: u32, port: u16) -> [SockFilter; 14] {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_OCTET: u16 = 0x30;
    const LOAD_HALF_BEYOND: u16 = 0x48;
    const LOAD_WORD_BEYOND: u16 = 0x40;
    const HEADER_LENGTH: u16 = 0xb1;
    const IS_EQUAL: u16 = 0x15;
    const HAS_BITS: u16 = 0x45;
    const RETURN: u16 = 0x06;
    /// Ancillary data: the number of the interface (SKF_AD_OFF + SKF_AD_IFINDEX).
    const INTERFACE: u32 = 0xffff_f000 + 8;
    const FRAGMENT: u32 = 0x3fff;
    const UDP: u32 = 17;
    let step = |code, value| SockFilter::new(code, 0, 0, value);
    let unless = |code, value, yes, no| SockFilter::new(code, yes, no, value);
    [
        step(LOAD_WORD, INTERFACE),
        unless(IS_EQUAL, index, 0, 11),
        step(LOAD_OCTET, 9),
        unless(IS_EQUAL, UDP, 0, 9),
        step(LOAD_HALF, 6),
        unless(HAS_BITS, FRAGMENT, 7, 0),
        step(HEADER_LENGTH, 0),
        step(LOAD_HALF_BEYOND, 2),
        unless(IS_EQUAL, u32::from(CLIENT_PORT), 1, 0),
        unless(IS_EQUAL, u32::from(port), 0, 3),
        step(LOAD_WORD_BEYOND, 8 + 4),
        unless(IS_EQUAL, xid, 0, 1),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ]
}

/// Reads packets until there were enough answers or nobody wants one any more.
async fn hear(
    socket: &UdpSocket,
    interface: &str,
    question: Question,
    port: u16,
    heard: mpsc::Sender<Heard>,
) -> io::Result<()> {
    let mut packet = vec![0; LONGEST_PACKET];
    let mut answers = 0;
    while answers < MOST_ANSWERS {
        let length = socket.recv(&mut packet).await?;
        match message::read(packet.get(..length).unwrap_or_default(), &question, port) {
            Ok(answer) => {
                answers += 1;
                if heard.send((interface.to_owned(), answer)).await.is_err() {
                    return Ok(());
                }
            }
            Err(reason) => debug!(%reason, interface, "a packet is no answer to DHCPINFORM"),
        }
    }
    Ok(())
}
