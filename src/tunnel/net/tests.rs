//! Each step against small servers that say exactly what a test wants: on port 0, or on a pipe in memory where what
//! is below HTTP does not matter.

mod http;
mod resolve;
mod scripted;
mod tcp;
mod tls;
mod websocket;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Surroundings;
use crate::tunnel::machine::event::Endpoint;
use crate::tunnel::target::{Family, Path};
use crate::tunnel::wire::Host;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A device without a hosts file, whose clock stands on 2027-01-01.
fn surroundings() -> Surroundings {
    Surroundings {
        hosts_file: PathBuf::from("/nonexistent/hosts"),
        clock: || SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600),
        ..Surroundings::default()
    }
}

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint {
        host: Host::new(host),
        port,
        family: Family::Ipv4,
        path: Path::default(),
        trust: Arc::default(),
    }
}
