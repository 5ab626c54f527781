//! The listening sockets and the tasks behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::StartError;
use super::connection;
use super::event::What;
use super::shared::Shared;

/// Time for connections to end in order.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All listening sockets of a cloud.
#[derive(Default)]
pub(super) struct Listeners {
    /// Kept while closed, so that they can be opened again.
    addresses: Vec<SocketAddr>,
    /// One for each listening socket; each owns its connections and ends with them.
    tasks: JoinSet<()>,
    open: watch::Sender<bool>,
}

impl Listeners {
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Listens on one more address; returns it with the real port.
    pub(super) async fn open(
        &mut self,
        shared: &Arc<Shared>,
        address: SocketAddr,
    ) -> Result<SocketAddr, StartError> {
        let local = self.bind(shared, address).await?;
        self.addresses.push(local);
        Ok(local)
    }

    /// Listens again on all addresses.
    pub(super) async fn reopen(&mut self, shared: &Arc<Shared>) -> Result<(), StartError> {
        for address in self.addresses.clone() {
            self.bind(shared, address).await?;
        }
        Ok(())
    }

    async fn bind(
        &mut self,
        shared: &Arc<Shared>,
        address: SocketAddr,
    ) -> Result<SocketAddr, StartError> {
        let failed = |error| StartError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        shared.history.add(0, None, What::Listening(local));
        self.open.send_replace(true);
        self.tasks
            .spawn(accept(Arc::clone(shared), listener, self.open.subscribe()));
        Ok(local)
    }

    /// Stops accepting; connections go on.
    pub(super) async fn close(&mut self, shared: &Arc<Shared>) {
        self.open.send_replace(false);
        // When every receiver is gone, every listening socket is closed.
        self.open.closed().await;
        for address in &self.addresses {
            shared.history.add(0, None, What::Stopped(*address));
        }
    }

    /// Waits for the connections to end; those that do not are cut off.
    pub(super) async fn finished(&mut self, shared: &Arc<Shared>) {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_DEADLINE, ended).await.is_err() {
            self.tasks.shutdown().await;
            shared.connections.lock().clear();
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, mut open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = open.wait_for(|open| !open) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, peer)) if shared.connections.lock().len() >= shared.config.connection_limit => {
                shared.history.add(0, None, What::Refused(peer));
            }
            Ok((tcp, _)) => {
                // Small answers must not wait for an acknowledgement.
                let _ = tcp.set_nodelay(true);
                connections.spawn(connection::admit(&shared, tcp));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    drop(open);
    while connections.join_next().await.is_some() {}
}
