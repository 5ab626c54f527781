//! Syslog (RFC 5424) in datagrams: to a daemon of this machine, or over UDP (RFC 5426).
//!
//! Only datagrams: a stream that ends in the middle of a message would have to be made anew, and what was on its way kept.
//! Who wants TCP or TLS has the daemon of the machine forward the log, which keeps it on disk meanwhile.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tracing::Level;

use super::AUDIT;
use super::entry::Entry;
use super::sink::Output;
use crate::model::date_and_time;

/// RFC 5424, table 1: system daemons, and log audit.
const DAEMON: u8 = 3;
const LOG_AUDIT: u8 = 13;
/// RFC 5424, section 6: the longest HOSTNAME and MSGID.
const LONGEST_NAME: usize = 255;
const LONGEST_ID: usize = 32;
/// RFC 5424, section 6.1: what every receiver should take, less the head of a message.
const LONGEST_TEXT: usize = 1600;

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
            Target::Unix(path) => Socket::Unix(UnixDatagram::unbound()?, path),
            Target::Udp(address) => {
                let any: IpAddr = match address {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                Socket::Udp(UdpSocket::bind((any, 0))?, address)
            }
        };
        Ok(Self { socket, name })
    }
}

impl Output for Syslog {
    fn put(&mut self, entry: &Entry) -> io::Result<()> {
        let message = message(entry, &self.name.get(), std::process::id());
        let sent = match &self.socket {
            Socket::Unix(socket, path) => socket.send_to(message.as_bytes(), path),
            Socket::Udp(socket, address) => socket.send_to(message.as_bytes(), address),
        };
        sent.map(drop)
    }
}

/// RFC 5424, section 6. The fields are in the text: structured data of our own would need an enterprise number.
fn message(entry: &Entry, name: &str, process: u32) -> String {
    let priority = facility(&entry.module) * 8 + severity(entry.level);
    let at = date_and_time::milliseconds(entry.at);
    let id = printable(&entry.module, LONGEST_ID);
    let origin = concat!(
        "[origin software=\"tether\" swVersion=\"",
        env!("CARGO_PKG_VERSION"),
        "\"]"
    );
    let line = entry.line();
    let text = &line[..line.floor_char_boundary(LONGEST_TEXT)];
    // U+FEFF before the text says that it is UTF-8 (section 6.4).
    format!("<{priority}>1 {at} {name} tether {process} {id} {origin} \u{feff}{text}")
}

/// RFC 5424, table 1.
pub(super) fn facility(module: &str) -> u8 {
    match module {
        AUDIT => LOG_AUDIT,
        _ => DAEMON,
    }
}

/// RFC 5424, table 2.
pub(super) fn severity(level: Level) -> u8 {
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
    use std::time::{Duration, SystemTime};

    use super::super::tests::told;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn entry(module: &'static str, message: &str) -> Entry {
        Entry {
            at: SystemTime::UNIX_EPOCH,
            module: module.into(),
            ..Entry::own(Level::WARN, message.to_owned())
        }
    }

    #[test]
    fn a_message_has_every_part_of_rfc_5424() {
        let text = message(&entry("tunnel", "lost reason=x"), "router7", 42);
        let (head, rest) = text
            .split_once(" router7 tether 42 tunnel [origin ")
            .unwrap();
        assert!(head.starts_with("<28>1 1970-01-01T00:00:00.000"), "{head}");
        assert!(rest.ends_with("] \u{feff}lost reason=x"), "{rest}");
    }

    #[test]
    fn what_was_changed_is_of_the_facility_for_audits() {
        let text = message(&entry(AUDIT, "x"), "router7", 42);
        assert!(text.starts_with("<108>1 "), "{text}");
    }

    #[test]
    fn a_message_is_no_longer_than_every_receiver_takes() {
        let name = printable(&"n".repeat(1000), LONGEST_NAME);
        let module = entry("a-part-whose-name-is-as-long-as-any", &"é".repeat(5000));
        let text = message(&module, &name, u32::MAX);
        assert!((1900..=2048).contains(&text.len()), "{}", text.len());
    }

    #[test]
    fn names_are_printable_or_nil() {
        assert_eq!(printable("", 5), "-");
        assert_eq!(printable("ä b\n<c>d", 4), "b<c>");
    }

    fn syslog(target: Target) -> Syslog {
        let name = Name::default();
        name.set(Some("router7"));
        Syslog::open(target, name).unwrap()
    }

    fn say(syslog: &mut Syslog, word: &'static str) -> io::Result<()> {
        let entries = told(|| tracing::info!(number = 7, "{word}"));
        syslog.put(&entries[0])
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
        let mut syslog = syslog(Target::Unix(path.clone()));
        assert!(say(&mut syslog, "nobody is there yet").is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        say(&mut syslog, "here").unwrap();
        let text = heard(&daemon);
        assert!(
            text.contains(" router7 tether ") && text.ends_with("here number=7"),
            "{text}"
        );
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        assert!(say(&mut syslog, "nobody is there any more").is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        say(&mut syslog, "again").unwrap();
        assert!(heard(&daemon).ends_with("again number=7"));
    }

    #[test]
    fn a_collector_hears_every_event_over_udp() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_read_timeout(Some(PATIENCE)).unwrap();
        let target = Target::Udp(collector.local_addr().unwrap());
        say(&mut syslog(target), "here").unwrap();
        let mut datagram = [0; 4096];
        let length = collector.recv(&mut datagram).unwrap();
        let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
        assert!(
            text.starts_with("<30>1 ") && text.contains(" router7 tether "),
            "{text}"
        );
    }
}
