//! Call home: what it is configured with, how it finds the managers, and what it remembers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{join_all, select_all};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use super::watched::Watched;
use crate::datastore::store::{Loaded, Store};
use crate::model::paths;
use crate::model::settings::call_home::{CallHomeSettings, Endpoint};
use crate::model::settings::{DnsSettings, Family};
use crate::transport::call_home::driver::{self, Dial, Dialled, Setup};
use crate::transport::call_home::status::{CallHomeState, CallHomeStatus, Failure, Reason};
use crate::transport::ssh::SshServer;
use crate::tunnel::machine::event::Endpoint as Place;
use crate::tunnel::net::{NetError, Surroundings, connect, resolve};
use crate::tunnel::target::Path;
use crate::tunnel::wire::Host;

/// Under which the store keeps who was connected last.
const LAST_CONNECTED_KEY: &str = "call-home";
/// Once the addresses of one family are known, those of the other may take so long. RFC 8305, section 3, has 50 ms for
/// somebody who watches a page load.
const RESOLUTION_DELAY: Duration = Duration::from_secs(1);

/// What the store keeps.
#[derive(Serialize, Deserialize)]
struct LastConnected {
    host: String,
    port: u16,
}

/// Call home before it runs.
pub(super) struct CallHome {
    settings: watch::Receiver<Arc<CallHomeSettings>>,
    names: watch::Receiver<Arc<DnsSettings>>,
    status: watch::Sender<Arc<CallHomeStatus>>,
    store: Arc<Store>,
    last_connected: Option<Endpoint>,
}

impl CallHome {
    /// With the parts that take its configuration over.
    pub fn new(
        store: &Arc<Store>,
        loaded: &Loaded,
    ) -> (Self, Watched<CallHomeSettings>, Watched<DnsSettings>) {
        let (settings, known_settings) = Watched::checked(paths::CALL_HOME, CallHomeSettings::read);
        let (names, known_names) = Watched::new(paths::DNS_RESOLVER, DnsSettings::read);
        let stored = loaded.meta.get(LAST_CONNECTED_KEY);
        let stored = stored.and_then(|text| serde_json::from_slice::<LastConnected>(text).ok());
        let call_home = Self {
            settings: known_settings,
            names: known_names,
            status: watch::Sender::default(),
            store: Arc::clone(store),
            last_connected: stored.map(|last| Endpoint {
                name: String::new(),
                host: last.host,
                port: last.port,
            }),
        };
        (call_home, settings, names)
    }

    /// What shows its state.
    pub fn state(&self) -> CallHomeState {
        CallHomeState(self.status.subscribe())
    }

    /// Has the server meet the managers, until the agent stops.
    pub async fn run(self, ssh: SshServer, shutdown: watch::Receiver<bool>) {
        let store = self.store;
        driver::run(Setup {
            settings: self.settings,
            names: self.names.clone(),
            dial: dial(self.names),
            ssh,
            status: self.status,
            seed: rand::random(),
            last_connected: self.last_connected,
            remember: Box::new(move |endpoint| remember(&store, endpoint)),
            shutdown,
        })
        .await;
    }
}

/// Keeps who was connected last, off this task. Without it the next start begins with the first of the list, which is
/// no harm.
fn remember(store: &Arc<Store>, endpoint: &Endpoint) {
    let last = LastConnected {
        host: endpoint.host.clone(),
        port: endpoint.port,
    };
    let (store, text) = (Arc::clone(store), serde_json::to_vec(&last).ok());
    if text == store.get_meta(LAST_CONNECTED_KEY) {
        return;
    }
    tokio::task::spawn_blocking(move || {
        if let Err(error) = store.put_meta(&[(LAST_CONNECTED_KEY.to_owned(), text)]) {
            tracing::warn!(%error, "who was called last cannot be stored");
        }
    });
}

fn dial(names: watch::Receiver<Arc<DnsSettings>>) -> Dial {
    Arc::new(move |endpoint| {
        let names = Arc::clone(&names.borrow());
        async move { dial_one(&names, &endpoint).await.map_err(failure) }.boxed()
    })
}

async fn dial_one(names: &DnsSettings, endpoint: &Endpoint) -> Result<Dialled, NetError> {
    let place = |family| Place {
        host: Host::new(&endpoint.host),
        port: endpoint.port,
        family,
        path: Path::default(),
        trust: Arc::default(),
    };
    let (six, four) = (place(Family::Ipv6), place(Family::Ipv4));
    let addresses = match &six.host {
        Host::Address(address) => vec![*address],
        Host::Name(_) => addresses(names, &six, &four).await?,
    };
    let (stream, address) = connect(&six, &addresses).await?;
    let stream = Box::new(stream);
    Ok(Dialled { stream, address })
}

/// The addresses of both families; an error if neither has any.
async fn addresses(
    names: &DnsSettings,
    six: &Place,
    four: &Place,
) -> Result<Vec<IpAddr>, NetError> {
    let surroundings = Surroundings::default();
    let both = [six, four].map(|place| Box::pin(resolve(&surroundings, names, place)));
    let (first, _, others) = select_all(both).await;
    let second = async {
        join_all(others)
            .await
            .into_iter()
            .flatten()
            .flatten()
            .collect()
    };
    match first {
        Ok(found) => {
            let more = timeout(RESOLUTION_DELAY, second).await.unwrap_or_default();
            Ok(interleaved(found, more))
        }
        Err(error) => {
            let found: Vec<_> = second.await;
            if found.is_empty() {
                Err(error)
            } else {
                Ok(found)
            }
        }
    }
}

/// IPv6 first, then the families in turn (RFC 8305, section 4).
fn interleaved(found: Vec<IpAddr>, more: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = found.into_iter().chain(more).partition(IpAddr::is_ipv6);
    let turns = six.len().max(four.len());
    let turn = |turn| [six.get(turn), four.get(turn)];
    (0..turns).flat_map(turn).flatten().copied().collect()
}

fn failure(error: NetError) -> Failure {
    let reason = match error {
        NetError::Dns(_) | NetError::NoAddress => Reason::DnsFailed,
        _ => Reason::ConnectFailed,
    };
    Failure::new(reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_and_none_is_lost() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let four = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(address);
        let expected = ["2001:db8::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"].map(address);
        let six = vec![address("2001:db8::1")];
        assert_eq!(interleaved(four.to_vec(), six), expected);
    }

    #[tokio::test]
    async fn a_name_is_found_in_the_static_hosts_whatever_the_family() {
        let address: IpAddr = "2001:db8::7".parse().unwrap();
        let names = DnsSettings {
            hosts: vec![("nms.example".to_owned(), vec![address])],
            // Nobody answers there; the name of the other family is not waited for.
            servers: vec![("127.0.0.1".parse().unwrap(), 9)],
            ..DnsSettings::default()
        };
        let place = |family| Place {
            host: Host::new("nms.example"),
            port: 4334,
            family,
            path: Path::default(),
            trust: Arc::default(),
        };
        let (six, four) = (place(Family::Ipv6), place(Family::Ipv4));
        let found = addresses(&names, &six, &four).await;
        assert_eq!(found.unwrap(), [address]);
    }
}
