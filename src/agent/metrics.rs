//! Metrics for Prometheus: what is counted as it happens, all over the agent, and what is looked up when somebody asks.
//!
//! The recorder that the macros of the crate `metrics` write to is one for the whole process; without `--metrics` there is
//! none and they do nothing. No label has a value that a peer chooses. The recorder never forgets a label, so what has the
//! names of services, which come and go, is put into one that is made for each reader.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, with_local_recorder,
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::AgentError;
use crate::datastore::events::Stream;
use crate::model::status::{ConnectionState, DeviceState};
use crate::netconf::server::{Events, Server};
use crate::transport::metrics::{MetricsServer, Render};
use crate::tunnel::driver::Handle;
use crate::tunnel::state::Traffic;

/// What was measured is put into its buckets at least this often, so that it takes no more room while nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);
/// Services that are shown, the first by name.
const SERVICES: usize = 64;
/// Upper bounds of the buckets of all durations, in seconds: from a small request to a step that times out.
const BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0,
];

static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Has measurements kept from now on, and says where.
fn install() -> Result<PrometheusHandle, BuildError> {
    let mut installed = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe(&FAMILIES);
    *installed = Some(handle.clone());
    Ok(handle)
}

/// Where the metrics are served.
pub(super) struct Door {
    server: MetricsServer,
    address: SocketAddr,
    handle: PrometheusHandle,
}

impl Door {
    /// Opens it, if an address is given, and has measurements kept from now on.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub async fn open(address: Option<SocketAddr>) -> Result<Option<Self>, AgentError> {
        let Some(given) = address else {
            return Ok(None);
        };
        let refused = |source| AgentError::Metrics {
            address: given,
            source,
        };
        let server = MetricsServer::bind(given).await.map_err(refused)?;
        let address = server.address().map_err(refused)?;
        let handle = install().map_err(|error| refused(io::Error::other(error)))?;
        tracing::info!(%address, "metrics are served");
        Ok(Some(Self {
            server,
            address,
            handle,
        }))
    }

    /// Its address, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn run(self, sources: Sources, stop: watch::Receiver<bool>) {
        let Self { server, handle, .. } = self;
        let kept = handle.clone();
        let render: Render = Arc::new(move || {
            sources.look();
            handle.render() + &carried(&sources.tunnel.modules().carried())
        });
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                kept.run_upkeep();
            }
        };
        tokio::select! {
            () = server.run(render, stop) => {}
            () = upkeep => {}
        }
    }
}

/// Serves what was measured, among the other parts of the agent, if that is asked for.
pub(super) fn serve(
    door: Option<Door>,
    (server, events, tunnel): (&Server, &Events, Handle),
    parts: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) {
    if let Some(door) = door {
        let sources = Sources {
            server: server.clone(),
            events: events.clone(),
            tunnel,
        };
        parts.spawn(door.run(sources, stop.clone()));
    }
}

/// What is looked up when somebody asks.
struct Sources {
    server: Server,
    events: Events,
    tunnel: Handle,
}

impl Sources {
    fn look(&self) {
        self.look_at_tunnel();
        for (transport, count) in self.server.sessions_by_transport() {
            gauge!("tether_netconf_sessions", "transport" => transport).set(as_f64(count));
        }
        gauge!("tether_subscriptions").set(as_f64(self.events.subscriptions.count()));
        look_at_losses(&self.events.stream);
    }

    fn look_at_tunnel(&self) {
        let status = self.tunnel.status();
        let is_up = status.connection == ConnectionState::Established;
        gauge!("tether_tunnel_established").set(f64::from(u8::from(is_up)));
        for state in DeviceState::ALL {
            let is_it = f64::from(u8::from(status.device == *state));
            gauge!("tether_tunnel_state", "state" => state.as_yang()).set(is_it);
        }
    }
}

/// What the services that there are have carried, in lines for Prometheus.
fn carried(services: &[(String, Traffic)]) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        describe(&FAMILIES_OF_SERVICES);
        for (service, traffic) in services.iter().take(SERVICES) {
            let of = |direction: &'static str, octets| {
                let service = service.clone();
                counter!("tether_subconnection_octets_total", "service" => service, "direction" => direction)
                    .absolute(octets);
            };
            of("in", traffic.octets_in);
            of("out", traffic.octets_out);
            let service = service.clone();
            counter!("tether_subconnection_dropped_total", "service" => service)
                .absolute(traffic.dropped);
        }
    });
    recorder.handle().render()
}

fn look_at_losses(stream: &Stream) {
    let losses = stream.losses();
    counter!("tether_notifications_lost_total").absolute(losses.events);
    counter!("tether_subscriptions_lost_total").absolute(losses.subscriptions);
    counter!("tether_changes_untold_total").absolute(losses.changes);
    // The thread of the log counts; nothing lost is to be seen, too.
    counter!("tether_log_entries_lost_total").increment(0);
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a gauge is a number of this kind, and these are small"
)]
fn as_f64(count: usize) -> f64 {
    count as f64
}

/// What a metric is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    /// How long something took.
    Seconds,
}
use Kind::{Counter, Gauge, Seconds};

/// Kind and name of a metric, and what it says.
type Family = (Kind, &'static str, &'static str);

/// What is kept.
const FAMILIES: [Family; 19] = [
    (
        Gauge,
        "tether_tunnel_established",
        "Whether the cloud connection stands",
    ),
    (
        Gauge,
        "tether_tunnel_state",
        "1 for the state of the device that the cloud connection is in (device-state)",
    ),
    (
        Seconds,
        "tether_tunnel_step_duration_seconds",
        "How long the cloud connection was in a state, once it left it",
    ),
    (
        Counter,
        "tether_tunnel_establishments_total",
        "Times that the cloud connection was established",
    ),
    (
        Counter,
        "tether_tunnel_downs_total",
        "Times that an established cloud connection was lost or torn down, by reason (last-down)",
    ),
    (
        Counter,
        "tether_tunnel_failures_total",
        "Attempts that failed, by reason (failure-reason)",
    ),
    (
        Counter,
        "tether_keepalives_total",
        "Keepalives, by what became of them",
    ),
    (
        Seconds,
        "tether_keepalive_round_trip_seconds",
        "Round trips of keepalives",
    ),
    (
        Gauge,
        "tether_netconf_sessions",
        "NETCONF sessions that are open, by transport",
    ),
    (
        Counter,
        "tether_netconf_session_ends_total",
        "NETCONF sessions that ended, by reason (RFC 6470)",
    ),
    (
        Counter,
        "tether_netconf_rpcs_total",
        "Operations that were carried out or refused, by outcome",
    ),
    (
        Seconds,
        "tether_netconf_rpc_duration_seconds",
        "How long operations took to be carried out",
    ),
    (
        Seconds,
        "tether_commit_duration_seconds",
        "How long the phases of commits took: prepare, store, apply",
    ),
    (
        Gauge,
        "tether_subscriptions",
        "Subscriptions by establish-subscription that there are",
    ),
    (
        Counter,
        "tether_notifications_total",
        "Events that were looked at for a subscriber: sent, or excluded by filter or access control",
    ),
    (
        Counter,
        "tether_notifications_lost_total",
        "Events that subscribers were not told of since they read too slowly",
    ),
    (
        Counter,
        "tether_subscriptions_lost_total",
        "Subscriptions that were ended since their session read too slowly",
    ),
    (
        Counter,
        "tether_log_entries_lost_total",
        "Entries of the log that were not written since its sink was too slow or failed",
    ),
    (
        Counter,
        "tether_changes_untold_total",
        "Changes of the configuration that came faster than they could be told",
    ),
];

/// What each reader gets anew.
const FAMILIES_OF_SERVICES: [Family; 2] = [
    (
        Counter,
        "tether_subconnection_octets_total",
        "Octets of messages of a service, by direction",
    ),
    (
        Counter,
        "tether_subconnection_dropped_total",
        "Messages of a service that were dropped",
    ),
];

fn describe(families: &[Family]) {
    for (kind, name, what) in families.iter().copied() {
        match kind {
            Counter => describe_counter!(name, what),
            Gauge => describe_gauge!(name, what),
            Seconds => describe_histogram!(name, Unit::Seconds, what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_what_services_carried_that_are_there_and_no_other() {
        let traffic = Traffic {
            octets_in: 1,
            octets_out: 400_000,
            dropped: 2,
        };
        let foo = carried(&[("foo".to_owned(), traffic)]);
        for line in [
            "# TYPE tether_subconnection_octets_total counter",
            r#"tether_subconnection_octets_total{service="foo",direction="in"} 1"#,
            r#"tether_subconnection_octets_total{service="foo",direction="out"} 400000"#,
            r#"tether_subconnection_dropped_total{service="foo"} 2"#,
        ] {
            assert!(foo.lines().any(|it| it == line), "{line}: {foo}");
        }
        let bar = carried(&[("bar".to_owned(), traffic)]);
        assert!(bar.contains("bar") && !bar.contains("foo"), "{bar}");
        assert_eq!(carried(&[]), "");
        let many: Vec<_> = (0..10 * SERVICES)
            .map(|number| (format!("s{number}"), traffic))
            .collect();
        assert_eq!(carried(&many).matches("dropped_total{").count(), SERVICES);
    }
}
