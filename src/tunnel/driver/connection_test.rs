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
                address: None,
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
    async fn go(&self) -> Result<(), Ended> {
        let surroundings = &self.device.surroundings;
        let lookup = async { Ok(resolve(surroundings, self.dns, self.server).await?) };
        let addresses = self.step(TestStep::Dns, lookup).await?;
        let dial = async { Ok(connect(self.server, &addresses).await?) };
        let (tcp, address) = self.step(TestStep::Tcp, dial).await?;
        change(self.shown, |test| {
            if let Some(server) = test.servers.last_mut() {
                server.address = Some(address);
            }
        });
        let handshake = async { Ok(self.secure(tcp).await?) };
        let connection = self.step(TestStep::Tls, handshake).await?;
        let authentication = self.authenticate(connection, &addresses);
        self.step(TestStep::Authentication, authentication).await
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
        change(self.shown, |test| {
            if let Some(server) = test.servers.last_mut() {
                server.steps.push(TestedStep {
                    step,
                    duration: begun.elapsed(),
                    failure,
                });
            }
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
        let tls = tls(surroundings, self.server, tcp).await?;
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
