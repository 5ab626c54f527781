//! TCP from the configured source address, inside the configured VRF.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::error::of_socket;
use super::{NetError, bounded};
use crate::tunnel::machine::event::Endpoint;
use crate::tunnel::target::Path;

/// Connection Attempt Delay (RFC 8305, section 5): an address that is slow holds the next one up no longer.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Dials the addresses in their order, each [`ATTEMPT_DELAY`] after the one before or at once when that one fails; the
/// first that accepts wins and the others are dropped (RFC 8305, section 5).
pub async fn connect(
    endpoint: &Endpoint,
    addresses: &[IpAddr],
) -> Result<(TcpStream, IpAddr), NetError> {
    bounded(race(endpoint, addresses)).await
}

async fn race(endpoint: &Endpoint, addresses: &[IpAddr]) -> Result<(TcpStream, IpAddr), NetError> {
    let mut waiting = addresses.iter();
    let mut dials = FuturesUnordered::new();
    let mut last = NetError::NoAddress;
    loop {
        let more = match waiting.next() {
            Some(address) => {
                dials.push(dial(endpoint, *address));
                true
            }
            None if dials.is_empty() => return Err(last),
            None => false,
        };
        let delay = tokio::time::sleep(ATTEMPT_DELAY);
        tokio::select! {
            done = dials.next() => match done {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => last = error,
                None => {}
            },
            () = delay, if more => {}
        }
    }
}

async fn dial(endpoint: &Endpoint, address: IpAddr) -> Result<(TcpStream, IpAddr), NetError> {
    let socket = socket(address.is_ipv4(), Type::STREAM, &endpoint.path)?;
    socket.set_tcp_nodelay(true).map_err(NetError::Connect)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = socket
        .connect(SocketAddr::new(address, endpoint.port))
        .await;
    Ok((stream.map_err(NetError::Connect)?, address))
}

/// A socket in the VRF and with the source address of the path.
pub(super) fn socket(ipv4: bool, kind: Type, path: &Path) -> Result<Socket, NetError> {
    let domain = if ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, kind, None).map_err(NetError::Connect)?;
    socket.set_nonblocking(true).map_err(NetError::Connect)?;
    // The VRF first: whether the address is there depends on it.
    if let Some(device) = &path.vpn_instance {
        let bound = socket.bind_device(Some(device.as_bytes()));
        bound.map_err(of_socket)?;
    }
    if let Some(source) = path.source {
        if source.is_ipv4() != ipv4 {
            return Err(NetError::Connect(io::ErrorKind::Unsupported.into()));
        }
        let bound = socket.bind(&SocketAddr::new(source, 0).into());
        bound.map_err(of_socket)?;
    }
    Ok(socket)
}
