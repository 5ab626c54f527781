//! One line of a scenario ⇄ one event.
//!
//! `SECONDS WORD ARGUMENT…`. A reply is addressed to the action it answers; `#N` before the word addresses it to action
//! N instead, which is how a late or repeated reply is told. `@SERVICE` before the word makes it a subconnection's,
//! `probe` the answer to the pending action of the primary's probe.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tether::model::network::{Interface, Network};
use tether::model::settings::{BackupServer, CloudSettings, Family, Secret};
use tether::tunnel::machine::event::{AuthenticationOutcome, Cause, StepError, SubconnectionReply};
use tether::tunnel::machine::{Attempt, CloseCode, Event, Reply};
use tether::tunnel::target::{Discovered, origins, target};
use tether::tunnel::wire::{
    CloudMessage, Listed, RegistrationAnswer, UnbindAnswer, UpgradeRefusal,
};

/// What a line says, still without the numbers that only the running scenario knows.
pub enum Line {
    /// An event as it is.
    Event(Event),
    /// A reply to the main connection: to the pending action, or to the one named.
    Reply(Option<Attempt>, Reply),
    /// A reply to the pending action of the probe.
    Probe(Reply),
    /// A reply to a service's subconnection.
    Subconnection(String, Option<Attempt>, SubconnectionReply),
    /// Nothing happens but time.
    Pass,
}

/// Reads `SECONDS WORD ARGUMENT…`.
pub fn parse(line: &str) -> (Duration, Line) {
    let mut words = line.split_whitespace();
    let at = Duration::from_secs_f64(words.next().unwrap().parse().unwrap());
    let mut words: Vec<&str> = words.collect();
    let number = words[0].strip_prefix('#').map(|number| {
        let number = Attempt(number.parse().unwrap());
        words.remove(0);
        number
    });
    let service = words[0].strip_prefix('@').map(str::to_owned);
    if let Some(service) = service {
        return (
            at,
            Line::Subconnection(service, number, subconnection(&words[1..])),
        );
    }
    if words[0] == "probe" {
        return (at, Line::Probe(reply(words[1], &words[2..])));
    }
    let (word, arguments) = (words[0], &words[1..]);
    let line = match event(word, arguments) {
        Some(event) => Line::Event(event),
        None if word == "pass" => Line::Pass,
        None => Line::Reply(number, reply(word, arguments)),
    };
    (at, line)
}

fn event(word: &str, arguments: &[&str]) -> Option<Event> {
    Some(match word {
        "target" => target_event(arguments),
        "interval" => Event::KeepaliveInterval(Duration::from_secs(arguments[0].parse().unwrap())),
        "primary-return" => {
            let minutes: u64 = arguments[0].parse().unwrap();
            Event::PrimaryReturn((minutes > 0).then(|| Duration::from_secs(60 * minutes)))
        }
        "services" => Event::Services(arguments.iter().map(|&s| s.to_owned()).collect()),
        "configured-code" => {
            Event::ConfiguredCode(arguments.first().map(|&code| Secret::new(code)))
        }
        "restored-code" => Event::RestoredCode(arguments.first().map(|&code| Secret::new(code))),
        "unbind" => Event::Unbind(Secret::new(arguments[0])),
        "reset" => Event::Reset,
        "hosts-changed" => Event::HostsChanged,
        "network-changed" => Event::NetworkChanged(Arc::new(network(arguments))),
        "shutdown" => Event::Shutdown,
        _ => return None,
    })
}

/// `target [DOMAIN] [ipv6=DOMAIN] [port=N] [password=P] [source=A] [vpn=V] [trust=BYTE] [found=DOMAIN] [found-password=P]
/// [backup=DOMAIN|DOMAIN:PORT]… [backup6=DOMAIN]… [by=discovery]`
fn target_event(arguments: &[&str]) -> Event {
    let mut settings = CloudSettings::default();
    let mut discovered = Discovered::default();
    let mut cause = Cause::Configuration;
    for argument in arguments {
        match argument.split_once('=') {
            None => settings.ipv4.domain = Some((*argument).to_owned()),
            Some(("ipv6", domain)) => settings.ipv6.domain = Some(domain.to_owned()),
            Some(("port", port)) => settings.port = port.parse().unwrap(),
            Some(("password", password)) => settings.password = Some(Secret::new(password)),
            Some(("source", source)) => settings.ipv4.source_ip = Some(source.parse().unwrap()),
            Some(("vpn", vpn)) => settings.ipv4.vpn_instance = Some(vpn.to_owned()),
            Some(("trust", byte)) => {
                settings.trust = Arc::new(BTreeSet::from([vec![byte.parse().unwrap()]]));
            }
            Some(("backup", server)) => settings.backups.push(backup(Family::Ipv4, server)),
            Some(("backup6", server)) => settings.backups.push(backup(Family::Ipv6, server)),
            Some(("found", domain)) => discovered.domain = Some(domain.to_owned()),
            Some(("found-password", password)) => discovered.password = Some(Secret::new(password)),
            Some(("by", "discovery")) => cause = Cause::Discovery,
            Some(("by", "rollback")) => cause = Cause::RolledBack,
            Some(_) => panic!("unknown argument {argument}"),
        }
    }
    Event::Target {
        target: target(&settings, &discovered),
        origins: origins(&settings, &discovered),
        cause,
    }
}

/// `network-changed [NAME#INDEX[=ADDRESS]]…`: the interfaces there are.
fn network(arguments: &[&str]) -> Network {
    let interface = |argument: &&str| {
        let (link, address) = argument.split_once('=').unwrap_or((argument, ""));
        let (name, index) = link.split_once('#').unwrap();
        let interface = Interface {
            index: index.parse().unwrap(),
            is_running: true,
            hardware_address: None,
            addresses: address.parse().into_iter().collect(),
        };
        (name.to_owned(), interface)
    };
    Network {
        interfaces: arguments.iter().map(interface).collect(),
        route_changes: 0,
    }
}

fn backup(family: Family, server: &str) -> BackupServer {
    let (domain, port) = server.split_once(':').unwrap_or((server, ""));
    BackupServer {
        family,
        domain: domain.to_owned(),
        port: port.parse().ok(),
        vpn_instance: None,
        source_ip: None,
    }
}

fn reply(word: &str, arguments: &[&str]) -> Reply {
    let reusable = arguments.last() != Some(&"closing");
    match word {
        "resolved" => Reply::Resolved(arguments.iter().map(|a| address(a)).collect()),
        "local" => Reply::LocalAddress(address(arguments[0])),
        "tcp" => Reply::TcpConnected(address(arguments[0])),
        "connected" => Reply::Connected { clock_unset: false },
        "authenticated" => Reply::Authentication {
            outcome: authentication(arguments),
            reusable,
        },
        "registered" => Reply::Registration {
            answer: registration(arguments),
            reusable,
        },
        "upgraded" => Reply::Upgraded,
        "upgrade-refused" => Reply::UpgradeRefused {
            refusal: upgrade_refusal(arguments),
            reusable,
        },
        "failed" => Reply::Failed(step_error(arguments[0])),
        "closed" => Reply::Closed(CloseCode(arguments[0].parse().unwrap())),
        "violation" => Reply::Violation(CloseCode(arguments[0].parse().unwrap())),
        "lost" => Reply::Lost,
        "alive" => Reply::Alive,
        "message" => Reply::Message(message(arguments)),
        _ => panic!("unknown word {word}"),
    }
}

fn authentication(arguments: &[&str]) -> AuthenticationOutcome {
    use AuthenticationOutcome as Outcome;
    match arguments[0] {
        "token" => Outcome::Granted {
            token: Secret::new("token"),
        },
        "ask-again" => Outcome::AskAgain,
        "password-refused" => Outcome::PasswordRefused,
        "cloud-not-authentic" => Outcome::CloudNotAuthentic,
        "serial-number-not-registered" => Outcome::SerialNumberNotRegistered,
        "bound-to-another-user" => Outcome::BoundToAnotherUser,
        "code-invalid" => Outcome::CodeInvalid,
        "refused" => Outcome::Refused,
        "busy" => Outcome::Busy {
            retry_after: seconds(arguments),
        },
        other => panic!("unknown outcome {other}"),
    }
}

fn registration(arguments: &[&str]) -> RegistrationAnswer {
    match arguments[0] {
        "token-expired" => RegistrationAnswer::TokenExpired,
        "busy" => RegistrationAnswer::Busy {
            retry_after: seconds(arguments),
        },
        "refused" => RegistrationAnswer::Failed { status: 400 },
        url => RegistrationAnswer::Success {
            url: url.parse().unwrap(),
            session: "session".into(),
        },
    }
}

fn upgrade_refusal(arguments: &[&str]) -> UpgradeRefusal {
    match arguments[0] {
        "token-expired" => UpgradeRefusal::TokenExpired,
        "busy" => UpgradeRefusal::Busy {
            retry_after: seconds(arguments),
        },
        status => UpgradeRefusal::Failed {
            status: status.parse().unwrap(),
        },
    }
}

fn step_error(word: &str) -> StepError {
    match word {
        "dns" => StepError::Dns,
        "connect" => StepError::Connect,
        "tls" => StepError::Tls,
        "vpn-instance" => StepError::VpnInstanceMissing,
        "source-ip" => StepError::SourceIpMissing,
        "protocol" => StepError::Protocol,
        other => panic!("unknown error {other}"),
    }
}

fn message(arguments: &[&str]) -> CloudMessage {
    match arguments[0] {
        "keepalive-reply" => CloudMessage::KeepaliveReply {
            sequence: arguments[1].parse().unwrap(),
        },
        "subconnections" => {
            CloudMessage::Subconnections(arguments[1..].iter().map(|entry| listed(entry)).collect())
        }
        "unbind-result" => CloudMessage::UnbindResult {
            id: arguments[1].parse().unwrap(),
            answer: match arguments.get(2) {
                None => UnbindAnswer::Accepted,
                Some(&reason) => UnbindAnswer::Refused {
                    reason: reason.to_owned(),
                },
            },
        },
        "disconnect" => CloudMessage::Disconnect {
            reason: "maintenance".into(),
            retry_after: Duration::from_secs(arguments[1].parse().unwrap()),
        },
        _ => CloudMessage::Unknown,
    }
}

fn listed(entry: &str) -> Listed {
    let (service, url) = entry.split_once('=').unwrap();
    Listed {
        service: service.to_owned(),
        url: url.parse().unwrap(),
    }
}

fn subconnection(words: &[&str]) -> SubconnectionReply {
    use tether::tunnel::machine::event::Step;
    match words[0] {
        "resolving" => SubconnectionReply::Step(Step::Resolve),
        "tcp" => SubconnectionReply::Step(Step::Tcp),
        "tls" => SubconnectionReply::Step(Step::Tls),
        "upgrading" => SubconnectionReply::Step(Step::Upgrade),
        "upgraded" => SubconnectionReply::Upgraded,
        "upgrade-refused" => SubconnectionReply::Refused(upgrade_refusal(&words[1..])),
        "failed" => SubconnectionReply::Failed(step_error(words[1])),
        "closed" => SubconnectionReply::Closed(CloseCode(words[1].parse().unwrap())),
        "violation" => SubconnectionReply::Violation(CloseCode(words[1].parse().unwrap())),
        "lost" => SubconnectionReply::Lost,
        "alive" => SubconnectionReply::Alive,
        other => panic!("unknown word {other}"),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn seconds(arguments: &[&str]) -> Option<Duration> {
    let seconds = arguments.get(1)?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
