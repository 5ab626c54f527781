//! The test of the connection: walks to each server as an attempt would, as far as the authentication, beside the tunnel
//! and without touching it. Nothing is registered, and no unbinding code leaves.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Driver;
use super::line::Device;
use crate::model::settings::{DnsSettings, Secret};
use crate::model::status::{
    ConnectionTest, FailureReason, Moment, TestFailure, TestStep, TestedServer, TestedStep,
};
use crate::tunnel::machine::event::{AuthenticationOutcome, Endpoint};
use crate::tunnel::machine::{CHALLENGE_CONNECTIONS, STEP_DEADLINE};
use crate::tunnel::net::{Connection, NetError, connect, resolve, tls};
use crate::tunnel::target::{Target, target};

/// Addresses of a server that are shown (`resolved-address`).
const ADDRESSES: usize = 16;

/// The last test, for those who look at it.
pub(super) type Shown = watch::Sender<Option<Arc<ConnectionTest>>>;

impl Driver {
    /// Begins the test that was asked for.
    pub(super) fn test_connection(&mut self) {
        let target = target(&self.configuration.cloud, &self.discovered());
        let (device, dns) = (self.device.clone(), self.dns.clone());
        let work = run(device, dns, target, self.test.clone());
        self.testing = Some(self.tasks.spawn(work));
    }
}

/// Walks to all servers of a target, one after the other, and shows what it finds as it goes.
async fn run(device: Arc<Device>, dns: Arc<DnsSettings>, target: Option<Target>, shown: Shown) {
    if let Some(target) = target {
        walk_to_all(&device, &dns, &target, &shown).await;
    }
    change(&shown, |test| {
        test.ended = Some(Moment::Run(Instant::now().into_std()));
    });
}

async fn walk_to_all(device: &Device, dns: &DnsSettings, target: &Target, shown: &Shown) {
    for way in &target.ways {
        let server = Endpoint::of(target, way);
        change(shown, |test| {
            test.servers.push(TestedServer {
                domain: server.host.to_string(),
                port: server.port,
                resolved: Vec::new(),
                address: None,
                certificate: None,
                steps: Vec::new(),
            });
        });
        let walk = Walk {
            device,
            dns,
            password: target.password.as_ref(),
            server: &server,
            shown,
        };
        // Where it ended stands in its last step.
        let _ = walk.go().await;
    }
}

fn change(shown: &Shown, how: impl FnOnce(&mut ConnectionTest)) {
    shown.send_modify(|test| {
        if let Some(test) = test {
            how(Arc::make_mut(test));
        }
    });
}

/// The way to one server.
struct Walk<'a> {
    device: &'a Device,
    dns: &'a DnsSettings,
    password: Option<&'a Secret>,
    server: &'a Endpoint,
    shown: &'a Shown,
}

/// A step failed, and that is shown.
struct Ended;

impl Walk<'_> {
    /// What a step finds is shown before it counts as done, so that whoever sees the one sees the other.
    async fn go(&self) -> Result<(), Ended> {
        let surroundings = &self.device.surroundings;
        let lookup = async {
            let addresses = resolve(surroundings, self.dns, self.server).await?;
            self.found(|server| {
                server.resolved = addresses.iter().copied().take(ADDRESSES).collect();
            });
            Ok(addresses)
        };
        let addresses = self.step(TestStep::Dns, lookup).await?;
        let dial = async {
            let (tcp, address) = connect(self.server, &addresses).await?;
            self.found(|server| server.address = Some(address));
            Ok(tcp)
        };
        let tcp = self.step(TestStep::Tcp, dial).await?;
        let handshake = async { Ok(self.secure(tcp).await?) };
        let connection = self.step(TestStep::Tls, handshake).await?;
        let authentication = self.authenticate(connection, &addresses);
        self.step(TestStep::Authentication, authentication).await
    }

    fn found(&self, what: impl FnOnce(&mut TestedServer)) {
        change(self.shown, |test| {
            if let Some(server) = test.servers.last_mut() {
                what(server);
            }
        });
    }

    /// Waits for a step as long as an attempt would, and shows what it came to.
    async fn step<T>(
        &self,
        step: TestStep,
        work: impl Future<Output = Result<T, TestFailure>>,
    ) -> Result<T, Ended> {
        let begun = Instant::now();
        let done = timeout(STEP_DEADLINE, work).await.unwrap_or_else(|_| {
            Err(TestFailure {
                reason: FailureReason::Timeout,
                explanation: None,
            })
        });
        let (done, failure) = match done {
            Ok(done) => (Ok(done), None),
            Err(failure) => (Err(Ended), Some(failure)),
        };
        self.found(|server| {
            server.steps.push(TestedStep {
                step,
                duration: begun.elapsed(),
                failure,
            });
        });
        done
    }

    async fn authenticate(
        &self,
        mut connection: Connection,
        addresses: &[IpAddr],
    ) -> Result<(), TestFailure> {
        let request = self.device.identity.authentication(None);
        let nonces = &self.device.nonces;
        for _ in 0..=CHALLENGE_CONNECTIONS {
            let answered = connection.authenticate(nonces, &request, self.password);
            match answered.await?.0 {
                AuthenticationOutcome::Granted { .. } => return Ok(()),
                AuthenticationOutcome::AskAgain => connection = self.dial_again(addresses).await?,
                refused => {
                    return Err(TestFailure {
                        reason: refused.refusal(),
                        explanation: None,
                    });
                }
            }
        }
        Err(TestFailure {
            reason: FailureReason::Protocol,
            explanation: None,
        })
    }

    async fn dial_again(&self, addresses: &[IpAddr]) -> Result<Connection, NetError> {
        let (tcp, _) = connect(self.server, addresses).await?;
        self.secure(tcp).await
    }

    async fn secure(&self, tcp: TcpStream) -> Result<Connection, NetError> {
        let surroundings = &self.device.surroundings;
        let tls = tls(surroundings, self.server, tcp).await;
        let certificate = match &tls {
            Ok(tls) => tls.certificate.clone(),
            Err(error) => error.certificate().cloned(),
        };
        self.found(|server| server.certificate = certificate);
        let tls = tls?;
        Connection::open(surroundings, self.server, tls.stream).await
    }
}

impl From<NetError> for TestFailure {
    fn from(error: NetError) -> Self {
        Self {
            reason: error.step().reason(),
            explanation: Some(error.to_string()),
        }
    }
}
