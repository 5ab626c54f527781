//! Syslog (RFC 5424) in datagrams: to a daemon of this machine, or over UDP (RFC 5426).
//!
//! Only datagrams, since sending one never waits: what a stream cannot take at once would have to be kept or lost here.
//! Who wants TCP or TLS has the daemon of the machine forward the log, which keeps it on disk meanwhile.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{AUDIT, buffer};
use crate::model::date_and_time;

/// RFC 5424, table 1: system daemons, and log audit.
const DAEMON: u8 = 3;
const LOG_AUDIT: u8 = 13;
/// RFC 5424, section 6: the longest HOSTNAME and MSGID.
const LONGEST_NAME: usize = 255;
const LONGEST_ID: usize = 32;

/// What the device is called in the log; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Name(Arc<RwLock<Option<String>>>);

impl Name {
    /// `None`: as the kernel says.
    pub(super) fn set(&self, name: Option<&str>) {
        let name = name.map(str::to_owned);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    fn get(&self) -> String {
        let own = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let name = own.or_else(|| {
            let uname = nix::sys::utsname::uname().ok()?;
            uname.nodename().to_str().map(str::to_owned)
        });
        printable(&name.unwrap_or_default(), LONGEST_NAME)
    }
}

/// Who listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A daemon of this machine; the path is looked up for each message, so it may start anew.
    Unix(PathBuf),
    /// A collector.
    Udp(SocketAddr),
}

/// Sends every event.
pub(super) struct Syslog {
    socket: Socket,
    name: Name,
}

enum Socket {
    Unix(UnixDatagram, PathBuf),
    Udp(UdpSocket, SocketAddr),
}

impl Syslog {
    pub(super) fn open(target: Target, name: Name) -> io::Result<Self> {
        let socket = match target {
            Target::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Socket::Unix(socket, path)
            }
            Target::Udp(address) => {
                let any: IpAddr = match address {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.set_nonblocking(true)?;
                Socket::Udp(socket, address)
            }
        };
        Ok(Self { socket, name })
    }

    fn send(&self, message: &str) {
        // As with every datagram: who does not take it now has missed it. There is nowhere else to say so.
        let _ = match &self.socket {
            Socket::Unix(socket, path) => socket.send_to(message.as_bytes(), path),
            Socket::Udp(socket, address) => socket.send_to(message.as_bytes(), address),
        };
    }
}

impl<S: Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let module = buffer::module(metadata.target());
        self.send(&message(
            &Header {
                level: *metadata.level(),
                module,
                at: SystemTime::now(),
                name: &self.name.get(),
                process: std::process::id(),
            },
            &buffer::line(event),
        ));
    }
}

struct Header<'a> {
    level: Level,
    module: &'a str,
    at: SystemTime,
    name: &'a str,
    process: u32,
}

/// RFC 5424, section 6. The fields are in the text: structured data of our own would need an enterprise number.
fn message(header: &Header<'_>, text: &str) -> String {
    let facility = if header.module == AUDIT {
        LOG_AUDIT
    } else {
        DAEMON
    };
    let priority = facility * 8 + severity(header.level);
    let at = date_and_time::milliseconds(header.at);
    let id = printable(header.module, LONGEST_ID);
    let origin = concat!(
        "[origin software=\"tether\" swVersion=\"",
        env!("CARGO_PKG_VERSION"),
        "\"]"
    );
    // U+FEFF before the text says that it is UTF-8 (section 6.4).
    format!(
        "<{priority}>1 {at} {} tether {} {id} {origin} \u{feff}{text}",
        header.name, header.process
    )
}

/// RFC 5424, table 2.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// PRINTUSASCII of a bounded length, or NILVALUE.
fn printable(text: &str, longest: usize) -> String {
    let printable: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(longest)
        .collect();
    match printable.is_empty() {
        true => "-".to_owned(),
        false => printable,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn header(level: Level, module: &str) -> Header<'_> {
        Header {
            level,
            module,
            at: SystemTime::UNIX_EPOCH,
            name: "router7",
            process: 42,
        }
    }

    #[test]
    fn a_message_has_every_part_of_rfc_5424() {
        let text = message(&header(Level::WARN, "tunnel"), "lost reason=x");
        let (head, rest) = text
            .split_once(" router7 tether 42 tunnel [origin ")
            .unwrap();
        assert!(head.starts_with("<28>1 1970-01-01T00:00:00.000"), "{head}");
        assert!(rest.ends_with("] \u{feff}lost reason=x"), "{rest}");
    }

    #[test]
    fn what_was_changed_is_of_the_facility_for_audits() {
        let text = message(&header(Level::INFO, AUDIT), "x");
        assert!(text.starts_with("<110>1 "), "{text}");
    }

    #[test]
    fn names_are_printable_or_nil() {
        assert_eq!(printable("", 5), "-");
        assert_eq!(printable("ä b\n<c>d", 4), "b<c>");
    }

    fn log_to(target: Target, word: &'static str) {
        let name = Name::default();
        name.set(Some("router7"));
        let subscriber = tracing_subscriber::registry().with(Syslog::open(target, name).unwrap());
        tracing::subscriber::with_default(subscriber, || tracing::info!(number = 7, "{word}"));
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut datagram = [0; 4096];
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = socket.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_daemon_of_this_machine_hears_every_event_and_may_start_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        // Nobody is there yet: nothing happens.
        log_to(Target::Unix(path.clone()), "lost");
        let daemon = UnixDatagram::bind(&path).unwrap();
        log_to(Target::Unix(path.clone()), "here");
        assert!(heard(&daemon).ends_with("here number=7"));
        let name = Name::default();
        let syslog = Syslog::open(Target::Unix(path.clone()), name).unwrap();
        let subscriber = tracing_subscriber::registry().with(syslog);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            drop(daemon);
            std::fs::remove_file(&path).unwrap();
            tracing::info!("lost");
            let daemon = UnixDatagram::bind(&path).unwrap();
            tracing::info!("two");
            assert!(heard(&daemon).ends_with("two"));
        });
    }

    #[test]
    fn a_daemon_that_does_not_read_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::open(Target::Unix(path), Name::default()).unwrap();
        for _ in 0..100_000 {
            syslog.send("more than any queue holds");
        }
    }

    #[test]
    fn a_collector_hears_every_event_over_udp() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_read_timeout(Some(PATIENCE)).unwrap();
        log_to(Target::Udp(collector.local_addr().unwrap()), "here");
        let mut datagram = [0; 4096];
        let length = collector.recv(&mut datagram).unwrap();
        let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
        assert!(
            text.starts_with("<30>1 ") && text.contains(" router7 tether "),
            "{text}"
        );
    }
}
