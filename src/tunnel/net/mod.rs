//! The way to the cloud: DNS, TCP, TLS, HTTP/1.1, WebSocket.
//!
//! Each step is one call that ends by itself: the machine has the deadline of the step, [`STEP_BOUND`] is only the
//! net below it. Dropping a call, a [`Connection`] or a [`WebSocket`] closes the socket.

mod certificate;
mod connect;
mod error;
mod hear;
mod hosts;
mod http;
mod patience;
mod resolve;
mod tls;
mod websocket;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use certificate::{ends_soon, not_after};
pub use connect::connect;
pub use error::NetError;
pub use hear::{Heard, hear, leave};
pub use http::Connection;
pub use patience::Patience;
pub use resolve::resolve;
pub use tls::{BUILD_DATE, TlsConnection, tls};
pub use websocket::{MessageLimit, Upgraded, WebSocket};

/// No step takes longer. Above the machine's 10 s, so that it is the machine that says `timeout`.
pub const STEP_BOUND: Duration = Duration::from_secs(15);

/// What the steps need of the device besides the target.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The hosts file, which counts whatever resolvers are configured.
    pub hosts_file: PathBuf,
    /// The device's clock.
    pub clock: fn() -> SystemTime,
    /// A clock that is earlier than this is unset.
    pub build_date: SystemTime,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            hosts_file: PathBuf::from("/etc/hosts"),
            clock: SystemTime::now,
            build_date: SystemTime::UNIX_EPOCH + BUILD_DATE,
        }
    }
}

async fn bounded<T>(step: impl Future<Output = Result<T, NetError>>) -> Result<T, NetError> {
    match tokio::time::timeout(STEP_BOUND, step).await {
        Ok(done) => done,
        Err(_) => Err(NetError::TooLong),
    }
}

#[cfg(test)]
mod tests;
