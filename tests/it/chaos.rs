//! Commits, actions and a cloud that fails, in an order that nobody thought of: whatever happened before, the last
//! configuration is the one that counts.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tether::sim::cloud::{Flaw, Misbehaviour, ServiceOffer, Step};

use crate::support::{Device, PASSWORD, SERIAL, host};

const STEPS: usize = 80;

const PLACES: [Step; 9] = [
    Step::Connect,
    Step::Tls,
    Step::Authentication,
    Step::Registration,
    Step::Upgrade,
    Step::Established,
    Step::List,
    Step::Unbind,
    Step::Subconnection,
];

fn misbehaviours() -> Vec<Misbehaviour> {
    vec![
        Misbehaviour::Reset,
        Misbehaviour::Close,
        Misbehaviour::Silent,
        Misbehaviour::BadJson,
        Misbehaviour::Status(500),
        Misbehaviour::Huge(10_000_000),
        Misbehaviour::CloseFrame(1011),
        Misbehaviour::InvalidUtf8,
        Misbehaviour::Certificate(Flaw::Expired),
        Misbehaviour::Busy {
            status: 503,
            retry_after: Some("1000".into()),
        },
    ]
}

async fn step(device: &mut Device, rng: &mut StdRng) {
    let commits = [
        "<server><domain>other.com</domain></server>".to_owned(),
        "<server><domain>Cloud.COM.</domain></server>".to_owned(),
        "<server><source-ip>127.0.0.4</source-ip></server>".to_owned(),
        "<server><password>$0$wrong</password></server>".to_owned(),
        format!("<server><password>$0${PASSWORD}</password></server>"),
        format!(
            "<keepalive-interval>{}</keepalive-interval>",
            rng.random_range(10..600)
        ),
        format!(
            "<unbinding-code>{}</unbinding-code>",
            rng.random_range(0..9)
        ),
        format!(
            "<service><name>telemetry</name><enabled>{}</enabled></service>",
            rng.random_bool(0.5)
        ),
    ];
    match rng.random_range(0..10) {
        0..=3 => device.commit_cloud(commits.choose(rng).unwrap()).await,
        4 => device.act("<reset-tunnel/>").await,
        5 => device.act("<unbind><code>x</code></unbind>").await,
        6 => {
            let wrong = misbehaviours().choose(rng).unwrap().clone();
            device
                .cloud
                .set_misbehaviour_times(*PLACES.choose(rng).unwrap(), wrong, 2);
        }
        7 => device.cloud.clear_misbehaviour(None),
        8 => device.cloud.kill_connections(),
        _ => {
            let telemetry = ServiceOffer::new("telemetry").revision(rng.random_range(0..5));
            device.cloud.set_services([telemetry]);
        }
    }
    // Sometimes the tunnel gets somewhere in between, sometimes not.
    for _ in 0..rng.random_range(0..4) {
        device.state().await;
    }
}

#[tokio::test]
async fn whatever_happened_before_the_last_configuration_counts() {
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut device = Device::connected().await;
        device.commit(&host("other.com", "127.0.0.1")).await;
        for _ in 0..STEPS {
            step(&mut device, &mut rng).await;
        }
        device.cloud.clear_misbehaviour(None);
        device
            .cloud
            .set_services([ServiceOffer::new("telemetry").revision(9)]);
        device.cloud.set_password(SERIAL, Some("last"));
        device
            .commit_cloud(
                "<server><domain>cloud.com</domain><port>1</port><password>$0$last</password></server>\
                 <service><name>telemetry</name><enabled>true</enabled></service>",
            )
            .await;
        let port = device.cloud.addr().port();
        device
            .commit_cloud(&format!("<server><port>{port}</port></server>"))
            .await;
        device
            .wait_state(|state| {
                state.is("device-state", "request-success")
                    && state.is("server-domain", "cloud.com")
                    && state.is("subconnection[telemetry]/state", "established")
            })
            .await;
        assert_eq!(device.main_connection(), device.round_trip().await);
        assert_eq!(device.cloud.open_services(SERIAL), ["telemetry"]);
        let running = device.session.get_config("running", None).await.unwrap();
        let mut device = device.restart().await;
        let again = device.session.get_config("running", None).await.unwrap();
        assert_eq!(again, running, "seed {seed}");
        device.up().await;
        device.stop().await;
    }
}
