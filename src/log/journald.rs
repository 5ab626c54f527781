//! The journal of systemd, with each value as a field of its own (systemd.journal-fields(7)).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use serde_json::Value;

use super::entry::Entry;
use super::sink::Output;
use super::syslog::{facility, severity};

/// Where it listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// What is said of every entry; a field of an event does not say it again.
const OWN: [&str; 5] = [
    "MESSAGE",
    "PRIORITY",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_FACILITY",
    "TARGET",
];
/// The journal takes no longer names.
const LONGEST_NAME: usize = 64;

/// A way to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Finds out whether it is there.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // One without content is thrown away by the journal.
        socket.send_to(&[], &path)?;
        Ok(Self { socket, path })
    }
}

impl Output for Journal {
    fn put(&mut self, entry: &Entry) -> io::Result<()> {
        self.socket.send_to(&datagram(entry), &self.path).map(drop)
    }
}

/// The native protocol of the journal, every value with its length, so that none can pass for more than one.
fn datagram(entry: &Entry) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(512);
    let mut put = |name: &str, value: &str| {
        datagram.extend_from_slice(name.as_bytes());
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
        datagram.extend_from_slice(value.as_bytes());
        datagram.push(b'\n');
    };
    put("MESSAGE", &entry.line());
    put("PRIORITY", &severity(entry.level).to_string());
    put("SYSLOG_IDENTIFIER", "tether");
    put("SYSLOG_FACILITY", &facility(&entry.module).to_string());
    put("TARGET", &entry.module);
    for (name, value) in &entry.fields {
        let name = field_name(name);
        if name.is_empty() || OWN.contains(&name.as_str()) {
            continue;
        }
        match value {
            Value::String(text) => put(&name, text),
            other => put(&name, &other.to_string()),
        }
    }
    datagram
}

/// Capital letters, digits and underscores, but none of the latter two at the head.
fn field_name(name: &str) -> String {
    let known = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    known
        .chars()
        .take(LONGEST_NAME)
        .map(|c| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    /// The fields of a datagram, in their order.
    fn fields(mut datagram: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some(end) = datagram.iter().position(|octet| *octet == b'\n') {
            let (name, rest) = (&datagram[..end], &datagram[end + 1..]);
            let (length, rest) = rest.split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            assert_eq!(rest[length], b'\n');
            let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
            fields.push((text(name), text(&rest[..length])));
            datagram = &rest[length + 1..];
        }
        assert!(datagram.is_empty());
        fields
    }

    #[test]
    fn each_value_is_a_field_and_none_passes_for_another() {
        let entries = told(|| {
            tracing::warn!(target: "audit", user = "x\nPRIORITY=0", on.path = 7, priority = 1, _odd = 2, "done");
        });
        let fields = fields(&datagram(&entries[0]));
        let of = |name: &str| {
            let mut all = fields.iter().filter(|(known, _)| known == name);
            let value = all.next().map(|(_, value)| value.as_str());
            assert!(all.next().is_none(), "{name}");
            value
        };
        assert_eq!(of("PRIORITY"), Some("4"));
        assert_eq!(of("SYSLOG_FACILITY"), Some("13"));
        assert_eq!(of("TARGET"), Some("audit"));
        assert_eq!(of("USER"), Some("x\nPRIORITY=0"));
        assert_eq!((of("ON_PATH"), of("ODD")), (Some("7"), Some("2")));
        assert!(
            of("MESSAGE")
                .is_some_and(|line| line.starts_with("done user=") && !line.contains('\n'))
        );
    }

    #[test]
    fn a_journal_that_is_not_there_is_found_out_at_once_and_one_that_is_hears() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert!(Journal::open(path.clone()).is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::open(path).unwrap();
        let entries = told(|| tracing::info!("here"));
        journal.put(&entries[0]).unwrap();
        let mut buffer = [0; 4096];
        assert_eq!(daemon.recv(&mut buffer).unwrap(), 0);
        let length = daemon.recv(&mut buffer).unwrap();
        assert_eq!(fields(&buffer[..length])[0].1, "here");
    }
}
