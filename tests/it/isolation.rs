//! "These subconnections are independent from each other" (manual): what one service does, or its cloud, changes nothing
//! for the others and for the main connection. The modules here register as any other does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _};
use tether::model::status::SubconnectionState;
use tether::sim::cloud::{Channel, Misbehaviour, ServiceOffer, Step, What};
use tether::tunnel::driver::Command;
use tether::tunnel::machine::Event;
use tether::tunnel::service::{Counters, Link, Registration, Service};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::tunnel::{Pair, SERIAL, device};

/// How far away the cloud is, so that a round trip is one of a network: the few milliseconds for which a thread waits
/// where two cores carry device, cloud and a flood are no part of what is asked here.
const LATENCY: Duration = Duration::from_millis(10);
const ROUNDS: usize = 3;
const SAMPLES: usize = 40;
const PACE: Duration = Duration::from_millis(2);
/// A service that does not get through at all is found out after this, a hundred round trips.
const HOPELESS: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// Who may write: each service for itself, or all in one queue.
type Turn = Arc<Mutex<()>>;

/// Sends pings and says how long each took.
struct Probe {
    turn: Turn,
    took: mpsc::Sender<Duration>,
    counters: Counters,
}

/// Writes as much as it can.
struct Writer {
    turn: Turn,
    counters: Counters,
}

struct Panicking(Counters);

struct Stalling {
    left: watch::Sender<u32>,
    counters: Counters,
}

/// Counts when it goes.
struct Leaving<'a>(&'a watch::Sender<u32>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|left| *left += 1);
    }
}

impl Service for Probe {
    fn serve(&self, mut link: Link) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut pace = tokio::time::interval(PACE);
            loop {
                tokio::select! {
                    _ = link.orders.recv() => return,
                    _ = pace.tick() => {}
                }
                let begun = Instant::now();
                let turn = self.turn.lock().await;
                let sent = link.socket.send(Message::Ping(Bytes::new())).await;
                drop(turn);
                let answered = async {
                    while let Some(Ok(message)) = link.socket.next().await {
                        if message.is_pong() {
                            return true;
                        }
                    }
                    false
                };
                if sent.is_err() || !answered.await {
                    return;
                }
                let _ = self.took.send(begun.elapsed()).await;
            }
        })
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Service for Writer {
    fn serve(&self, mut link: Link) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let piece = Bytes::from(vec![0; 16 << 10]);
            let write = async {
                loop {
                    let _turn = self.turn.lock().await;
                    if link
                        .socket
                        .send(Message::Binary(piece.clone()))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            };
            tokio::select! {
                () = write => {}
                _ = link.orders.recv() => {}
            }
        })
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Service for Panicking {
    fn serve(&self, _: Link) -> BoxFuture<'_, ()> {
        Box::pin(async { panic!("a module of the test panics") })
    }

    fn counters(&self) -> &Counters {
        &self.0
    }
}

impl Service for Stalling {
    /// Neither reads nor writes nor obeys.
    fn serve(&self, link: Link) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _leaving = Leaving(&self.left);
            std::future::pending::<()>().await;
            drop(link);
        })
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// A device with a module that probes and one that writes to a cloud which never reads it, and the round trips.
struct Rig {
    pair: Pair,
    took: mpsc::Receiver<Duration>,
    writer: Arc<Writer>,
    registrations: Vec<Registration>,
}

impl Rig {
    async fn start(of_the_probe: Turn, of_the_writer: Turn) -> Self {
        let mut pair = Pair::far_away(device(), LATENCY).await;
        let (sender, took) = mpsc::channel(1);
        let probe = Probe {
            turn: of_the_probe,
            took: sender,
            counters: Counters::default(),
        };
        let writer = Arc::new(Writer {
            turn: of_the_writer,
            counters: Counters::default(),
        });
        let registered = pair.handle.modules().register("probe", Arc::new(probe));
        pair.cloud.set_services([ServiceOffer::new("probe")]);
        pair.commit(|_| {});
        pair.up().await;
        Self {
            pair,
            took,
            writer,
            registrations: vec![registered.unwrap()],
        }
    }

    /// From here on one peer never reads and another sends at line rate.
    async fn load(&mut self) {
        let cloud = &self.pair.cloud;
        let offers = |names: &[&str]| names.iter().map(|name| ServiceOffer::new(*name)).collect();
        for (name, wrong) in [
            ("writer", Misbehaviour::Silent),
            ("telemetry", Misbehaviour::Flood),
        ] {
            if name == "writer" {
                let modules = self.pair.handle.modules();
                let registered = modules.register(name, self.writer.clone());
                self.registrations.push(registered.unwrap());
            }
            let mark = cloud.mark();
            cloud.set_misbehaviour_times(Step::Service, wrong, 1);
            let listed: Vec<_> = match name {
                "writer" => offers(&["probe", "writer"]),
                _ => offers(&["probe", "writer", "telemetry"]),
            };
            cloud.set_services(listed);
            self.pair
                .cloud_sees(mark, |what| matches!(what, What::Misbehaved { .. }))
                .await;
        }
    }

    /// The 99th percentile of each round, of the probe and of the main connection: the median of the rounds. `None`
    /// where a service does not get through.
    async fn measure(&mut self) -> Option<(Duration, Duration)> {
        let (mut probe, mut main) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (mut of_probe, mut of_main) = (Vec::new(), Vec::new());
            for _ in 0..SAMPLES {
                let took = tokio::time::timeout(HOPELESS, self.took.recv())
                    .await
                    .ok()?;
                of_probe.push(took.unwrap());
                let (begun, mark) = (Instant::now(), self.pair.cloud.mark());
                self.pair.cloud.ping(SERIAL).unwrap();
                self.pair
                    .cloud_sees(mark, |what| *what == What::Pong(Channel::Main))
                    .await;
                of_main.push(begun.elapsed());
            }
            probe.push(percentile(of_probe, 99));
            main.push(percentile(of_main, 99));
        }
        Some((percentile(probe, 50), percentile(main, 50)))
    }
}

fn percentile(mut samples: Vec<Duration>, percent: usize) -> Duration {
    samples.sort();
    samples[(samples.len() * percent / 100).min(samples.len() - 1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_peer_that_never_reads_and_one_that_floods_disturb_neither_a_service_nor_the_main_connection()
 {
    let mut rig = Rig::start(Turn::default(), Turn::default()).await;
    let idle = rig.measure().await.unwrap();
    rig.load().await;
    let loaded = rig.measure().await.expect("the probe does not get through");
    for (idle, loaded) in [(idle.0, loaded.0), (idle.1, loaded.1)] {
        assert!(
            loaded <= 2 * idle,
            "{loaded:?} under load, {idle:?} without"
        );
    }
    let flood = rig.pair.handle.traffic("telemetry").unwrap().octets_in;
    assert!(flood > 16 << 20, "no flood: {flood} octets");
    rig.pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn services_that_share_a_queue_would_disturb_each_other() {
    let turn = Turn::default();
    let mut rig = Rig::start(turn.clone(), turn).await;
    assert!(rig.measure().await.is_some());
    rig.load().await;
    assert_eq!(rig.measure().await, None);
    rig.pair.end().await;
}

#[tokio::test]
async fn a_module_that_panics_fails_alone_and_backs_off() {
    let mut pair = Pair::start(device()).await;
    let modules = pair.handle.modules().clone();
    let _panicking = modules.register("bad", Arc::new(Panicking(Counters::default())));
    pair.cloud
        .set_services(["telemetry", "bad"].map(ServiceOffer::new));
    pair.commit(|_| {});
    let up = pair.up().await;
    let fails_again = |what: &What| matches!(what, What::ServiceUp(service) if service == "bad");
    let first = pair.cloud_sees(0, fails_again).await;
    pair.cloud_sees(first.number, fails_again).await;
    let status = pair
        .until(|status| {
            status
                .subconnections
                .iter()
                .any(|one| one.service == "bad" && one.state == SubconnectionState::Waiting)
        })
        .await;
    assert_eq!(status.connected_at, up.connected_at);
    let telemetry = status
        .subconnections
        .iter()
        .find(|one| one.service == "telemetry");
    assert_eq!(telemetry.unwrap().state, SubconnectionState::Established);
    assert_eq!(
        telemetry.unwrap().connected_at,
        up.subconnections
            .iter()
            .find(|one| one.service == "telemetry")
            .unwrap()
            .connected_at
    );
    pair.end().await;
}

#[tokio::test]
async fn a_module_that_stalls_is_taken_its_connection_and_gets_another() {
    let mut pair = Pair::start(device()).await;
    let modules = pair.handle.modules().clone();
    let stalling = Arc::new(Stalling {
        left: watch::Sender::new(0),
        counters: Counters::default(),
    });
    let _registered = modules.register("stall", stalling.clone());
    pair.cloud
        .set_services(["telemetry", "stall"].map(ServiceOffer::new));
    pair.commit(|_| {});
    let up = pair.up().await;
    let mark = pair.cloud.mark();
    // Three intervals without a sign of life.
    let interval = Event::KeepaliveInterval(Duration::from_millis(700));
    pair.handle
        .reserve()
        .unwrap()
        .send(Command::Event(interval));
    pair.cloud_sees(
        mark,
        |what| matches!(what, What::ServiceUp(service) if service == "stall"),
    )
    .await;
    // It did not obey the order to close either.
    let mut left = stalling.left.subscribe();
    tokio::time::timeout(PATIENCE, left.wait_for(|left| *left > 0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(pair.handle.status().connected_at, up.connected_at);
    assert_eq!(pair.cloud.counters().mains, 1);
    pair.end().await;
}
