//! What is done to a run, drawn from a seed: faults of cloud and network, commits, discoveries, resets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tether::model::network::{Interface, Network};
use tether::model::settings::{BackupServer, CloudSettings, Family, Secret};
use tether::tunnel::machine::event::{Cause, StepError, SubconnectionReply};
use tether::tunnel::machine::{CloseCode, Event, Reply};
use tether::tunnel::target::{Discovered, origins, target};
use tether::tunnel::wire::{CloudMessage, UnbindAnswer};

use super::manner::{Manner, Place, Whom};
use super::world::SERVICES;

/// The device's own end of each connection.
pub const LOCAL_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const MOST_DEEDS: usize = 60;
/// The longest `Retry-After` that is drawn, in seconds.
const LONGEST_RETRY_AFTER: u64 = 900;

/// One thing that is done.
#[derive(Clone, Debug)]
pub enum Deed {
    /// To the machine.
    Tell(Event),
    /// A part of the world behaves so from now on.
    Behave(Whom, Place, Manner),
    Delay(Duration),
    Bind,
    /// The cloud ends the main connection, and with it the others.
    Kill(Reply),
    EndService(usize, SubconnectionReply),
    Say(CloudMessage),
    /// Services and the revisions of their URLs.
    List(Vec<(usize, u32)>),
}

/// A deed and how long after the one before.
pub type Schedule = Vec<(Duration, Deed)>;

/// The schedule of a seed.
pub fn schedule(seed: u64) -> Schedule {
    let mut random = StdRng::seed_from_u64(seed);
    let mut settings = Settings::default();
    let count = random.random_range(1..=MOST_DEEDS);
    let mut deeds = vec![
        (Duration::ZERO, Deed::Tell(services(&mut random))),
        (
            Duration::ZERO,
            Deed::Tell(settings.target(Cause::Configuration)),
        ),
    ];
    for _ in 0..count {
        let wait = match random.random_range(0..4) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(random.random_range(1..500)),
            2 => Duration::from_millis(random.random_range(500..30_000)),
            _ => Duration::from_secs(random.random_range(30..400)),
        };
        deeds.push((wait, deed(&mut random, &mut settings)));
    }
    // Whatever was committed in between, in the end there is a target.
    settings
        .configured
        .ipv4
        .domain
        .get_or_insert("last.com".into());
    deeds.push((
        Duration::ZERO,
        Deed::Tell(settings.target(Cause::Configuration)),
    ));
    deeds
}

struct Settings {
    configured: CloudSettings,
    discovered: Discovered,
}

impl Default for Settings {
    fn default() -> Self {
        let mut configured = CloudSettings::default();
        configured.ipv4.domain = Some("cloud.com".into());
        Self {
            configured,
            discovered: Discovered::default(),
        }
    }
}

impl Settings {
    fn target(&self, cause: Cause) -> Event {
        Event::Target {
            target: target(&self.configured, &self.discovered),
            origins: origins(&self.configured, &self.discovered),
            cause,
        }
    }

    fn commit(&mut self, random: &mut StdRng) -> Event {
        let domains = [None, Some("cloud.com"), Some("other.com"), Some("10.1.1.1")];
        let mut domain = || domains.choose(random).unwrap().map(str::to_owned);
        self.configured.ipv4.domain = domain();
        self.configured.ipv6.domain = domain().filter(|domain| !domain.starts_with("10."));
        let backups = ["backup-1.com", "backup-2.com"].into_iter();
        let backups = backups.filter(|_| random.random_bool(0.5));
        let backups = backups.map(|domain| BackupServer {
            family: Family::Ipv4,
            domain: domain.to_owned(),
            port: None,
            vpn_instance: None,
            source_ip: None,
        });
        self.configured.backups = backups.collect();
        self.configured.password = random.random_bool(0.5).then(|| Secret::new("password"));
        self.target(Cause::Configuration)
    }

    fn discover(&mut self, random: &mut StdRng) -> Event {
        let found = [
            None,
            Some("cloud.com"),
            Some("found.com"),
            Some("2001:db8::1"),
        ];
        self.discovered.domain = found.choose(random).unwrap().map(str::to_owned);
        self.target(Cause::Discovery)
    }
}

fn services(random: &mut StdRng) -> Event {
    let enabled = SERVICES.iter().filter(|_| random.random_bool(0.7));
    Event::Services(
        enabled
            .map(|&service| service.to_owned())
            .collect::<BTreeSet<_>>(),
    )
}

fn deed(random: &mut StdRng, settings: &mut Settings) -> Deed {
    match random.random_range(0..20) {
        0..=6 => behave(random),
        7 => Deed::Delay(Duration::from_millis(random.random_range(0..12_000))),
        8 => Deed::Bind,
        9 => Deed::Kill(
            [
                Reply::Lost,
                Reply::Closed(CloseCode::GOING_AWAY),
                Reply::Closed(CloseCode::EVICTED),
                Reply::Violation(CloseCode::INVALID_DATA),
            ]
            .choose(random)
            .unwrap()
            .clone(),
        ),
        10 => Deed::EndService(
            random.random_range(0..SERVICES.len()),
            [
                SubconnectionReply::Lost,
                SubconnectionReply::Closed(CloseCode::POLICY),
                SubconnectionReply::Closed(CloseCode::TRY_AGAIN_LATER),
                SubconnectionReply::Violation(CloseCode::UNSUPPORTED),
            ]
            .choose(random)
            .unwrap()
            .clone(),
        ),
        11 => Deed::Say(match random.random_range(0..4) {
            0 => CloudMessage::Unknown,
            1 => CloudMessage::KeepaliveReply { sequence: 7 },
            // The answer to a code, perhaps for the second time.
            2 => CloudMessage::UnbindResult {
                id: random.random_range(1..4),
                answer: UnbindAnswer::Accepted,
            },
            _ => CloudMessage::Disconnect {
                reason: "drain".into(),
                retry_after: Duration::from_secs(random.random_range(0..LONGEST_RETRY_AFTER)),
            },
        }),
        12 | 13 => {
            let listed = (0..SERVICES.len()).filter(|_| random.random_bool(0.7));
            let listed: Vec<_> = listed.collect();
            let revised = listed
                .into_iter()
                .map(|one| (one, random.random_range(0..3)));
            Deed::List(revised.collect())
        }
        14 => Deed::Tell(settings.commit(random)),
        15 => Deed::Tell(settings.discover(random)),
        16 => Deed::Tell(services(random)),
        17 if random.random_bool(0.5) => {
            let minutes = [None, Some(1), Some(30)].choose(random).unwrap();
            let every = minutes.map(|minutes: u64| Duration::from_secs(60 * minutes));
            Deed::Tell(Event::PrimaryReturn(every))
        }
        17 => Deed::Tell(Event::KeepaliveInterval(Duration::from_secs(
            random.random_range(10..=600),
        ))),
        18 => Deed::Tell(
            [
                Event::Reset,
                Event::HostsChanged,
                Event::NetworkChanged(Arc::default()),
                Event::NetworkChanged(Arc::new(with_the_device_s_address())),
            ]
            .choose(random)
            .unwrap()
            .clone(),
        ),
        _ => {
            let code = [None, Some("right"), Some("wrong"), Some("wrong too")];
            let code = code.choose(random).unwrap().map(Secret::new);
            Deed::Tell(match code {
                Some(code) if random.random_bool(0.5) => Event::Unbind(code),
                code if random.random_bool(0.2) => Event::RestoredCode(code),
                code => Event::ConfiguredCode(code),
            })
        }
    }
}

/// Its going takes the tunnel with it.
fn with_the_device_s_address() -> Network {
    let interface = Interface {
        addresses: vec![LOCAL_ADDRESS],
        ..Interface::default()
    };
    Network {
        interfaces: [("eth0".to_owned(), interface)].into(),
        route_changes: 0,
    }
}

fn behave(random: &mut StdRng) -> Deed {
    let errors = [
        StepError::Connect,
        StepError::Tls,
        StepError::Protocol,
        StepError::VpnInstanceMissing,
        StepError::SourceIpMissing,
    ];
    let place = match random.random_range(0..10) {
        0 => Place::Dns,
        1 => Place::Path,
        2 => Place::Tls,
        3 => Place::Authentication,
        4 => Place::Registration,
        5 => Place::Upgrade,
        6 => Place::List,
        7 => Place::Keepalive,
        8 => Place::Unbind,
        _ => Place::Service(random.random_range(0..SERVICES.len())),
    };
    let manner = match random.random_range(0..9) {
        0..=1 => Manner::Right,
        2 => Manner::Silent,
        3 => Manner::Lost,
        4 => Manner::Failed(*errors.choose(random).unwrap()),
        5 => Manner::Busy(None),
        6 => Manner::Busy(Some(random.random_range(0..=LONGEST_RETRY_AFTER))),
        7 => Manner::Refused,
        _ => Manner::Again,
    };
    let whom = *[Whom::Primary, Whom::All].choose(random).unwrap();
    Deed::Behave(whom, place, manner)
}
