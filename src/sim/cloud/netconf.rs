//! Service `netconf` at the cloud: a local TCP port for each device, and yamux over its subconnection.
//!
//! Each TCP connection to a device's port becomes one yamux stream (the cloud is the yamux client), and so one
//! connection to the device's own SSH server. The bytes in it are none of the cloud's business.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::io::{AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use yamux::{Config, Connection, Mode};

use super::carry::{Carried, carry};
use super::event::What;
use super::lock::Lock;
use super::registry::Command;
use super::socket::{Over, Socket};

/// Name of the service.
pub(super) const SERVICE: &str = "netconf";
/// Streams on one subconnection; the device takes no more.
const STREAMS: usize = 128;
/// Bytes between yamux and the WebSocket, in each direction.
const PIPE: usize = 64 * 1024;
/// Time for yamux to take leave.
const GO_AWAY_DEADLINE: Duration = Duration::from_secs(2);
/// Pause after an accept that failed, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The ports of all devices.
#[derive(Default)]
pub(super) struct Doors {
    doors: Lock<BTreeMap<String, (SocketAddr, Arc<Door>)>>,
    /// One for each port; they end with the cloud.
    tasks: Lock<JoinSet<()>>,
}

/// Where the connections to one port go: to the device's newest subconnection, if there is one.
#[derive(Default)]
struct Door(Lock<Option<mpsc::Sender<TcpStream>>>);

impl Doors {
    /// Where a device is reached; absent until its subconnection came up for the first time.
    pub(super) fn address(&self, serial: &str) -> Option<SocketAddr> {
        self.doors.lock().get(serial).map(|(address, _)| *address)
    }

    /// The door of a device, and its address if it has just been opened.
    async fn open(
        &self,
        serial: &str,
        address: IpAddr,
    ) -> std::io::Result<(Arc<Door>, Option<SocketAddr>)> {
        if let Some((_, door)) = self.doors.lock().get(serial) {
            return Ok((Arc::clone(door), None));
        }
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let door = Arc::new(Door::default());
        self.doors
            .lock()
            .insert(serial.to_owned(), (address, Arc::clone(&door)));
        self.tasks.lock().spawn(accept(listener, Arc::clone(&door)));
        Ok((door, Some(address)))
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    loop {
        match listener.accept().await {
            Ok((manager, _)) => {
                let _ = manager.set_nodelay(true);
                let newest = door.0.lock().clone();
                // Without a subconnection there is nobody to connect to: the manager's connection is closed.
                if let Some(newest) = newest {
                    let _ = newest.try_send(manager);
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves the subconnection of a device until it ends.
pub(super) async fn serve(
    socket: &mut Socket,
    serial: &str,
    address: IpAddr,
    mut inbox: mpsc::Receiver<Command>,
    orphaned: Pin<&mut impl Future<Output = ()>>,
) -> Over {
    let conversation = Arc::clone(socket.conversation());
    let (door, opened) = match conversation.shared.doors.open(serial, address).await {
        Ok(opened) => opened,
        Err(error) => return socket.close(1011, &error.to_string()).await,
    };
    if let Some(address) = opened {
        conversation.note(What::NetconfDoor(address));
    }
    let (managers, waiting) = mpsc::channel(STREAMS);
    *door.0.lock() = Some(managers);
    let (near, far) = duplex(PIPE);
    let go_away = Notify::new();
    let carried = tokio::select! {
        carried = carry(socket, near, &mut inbox, &go_away) => carried,
        () = multiplex(far, waiting, &go_away) => Carried::Close(1000, "yamux ended"),
        () = orphaned => Carried::Close(1008, "no main connection"),
        () = conversation.control.drained() => Carried::Close(1001, "going away"),
    };
    match carried {
        Carried::Close(code, reason) => socket.close(code, reason).await,
        Carried::Fault(fault) => socket.end(fault).await,
    }
}

/// Opens a stream for each manager, until either side takes leave.
async fn multiplex(pipe: DuplexStream, mut waiting: mpsc::Receiver<TcpStream>, go_away: &Notify) {
    let mut connection = Connection::new(pipe.compat(), Config::default(), Mode::Client);
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            Some(manager) = waiting.recv(), if relays.len() < STREAMS => {
                let Ok(stream) = poll_fn(|cx| connection.poll_new_outbound(cx)).await else {
                    return;
                };
                relays.spawn(relay(manager, stream));
            }
            Some(_) = relays.join_next() => {}
            // The device opens no streams; one that it does open is dropped, which resets it.
            inbound = poll_fn(|cx| connection.poll_next_inbound(cx)) => {
                if !matches!(inbound, Some(Ok(_))) {
                    return;
                }
            }
            () = go_away.notified() => {
                let leave = poll_fn(|cx| connection.poll_close(cx));
                // The WebSocket is closed next, whatever became of it.
                let _ = tokio::time::timeout(GO_AWAY_DEADLINE, leave).await;
                return std::future::pending().await;
            }
        }
    }
}

/// Each half is closed as the other end closes it.
async fn relay(mut manager: TcpStream, stream: yamux::Stream) {
    let mut stream = stream.compat();
    // The library announces a stream with its first frame: an empty one, so that the device may speak first.
    if stream.write(&[]).await.is_ok() {
        // However it ended, both ends see it.
        let _ = copy_bidirectional(&mut manager, &mut stream).await;
    }
}
