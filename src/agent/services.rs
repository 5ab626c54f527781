//! The service modules of the agent, and how managers who come through the tunnel meet the SSH server.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use crate::transport::ssh::SshServer;
use crate::tunnel::driver::Answered;
use crate::tunnel::service::netconf::{self, Netconf, TunnelStream};
use crate::tunnel::service::{Modules, Registration};

/// What the tunnel starts with; the SSH server follows when there is one.
pub(super) struct Services {
    pub(super) modules: Modules,
    managers: mpsc::Receiver<TunnelStream>,
    ssh: Arc<OnceLock<SshServer>>,
}

impl Services {
    pub(super) fn new() -> Self {
        let (netconf, managers) = Netconf::new();
        let modules = Modules::default();
        // It is the first, so its name is free.
        let _ = modules
            .register(netconf::SERVICE, Arc::new(netconf))
            .map(Registration::for_good);
        Self {
            modules,
            managers,
            ssh: Arc::default(),
        }
    }

    /// What a teardown of the tunnel waits for.
    pub(super) fn answered(&self) -> Answered {
        let ssh = Arc::clone(&self.ssh);
        Box::new(move || {
            let ssh = ssh.get().cloned();
            Box::pin(async move {
                if let Some(ssh) = ssh {
                    ssh.tunnel_answered().await;
                }
            })
        })
    }

    /// Has the managers served, until the server stops.
    pub(super) async fn run(self, ssh: SshServer) {
        // Nobody else sets it.
        let _ = self.ssh.set(ssh.clone());
        ssh.run_tunnelled(self.managers).await;
    }
}
