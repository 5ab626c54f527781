//! `connection-test`: what a walk to the servers came to, step by step.

use std::net::IpAddr;
use std::time::Duration;

use super::{FailureReason, Moment, ServerCertificate};

spelt! {
    /// A step of the test.
    TestStep {
        /// The name is looked up.
        Dns = "dns", "DNS";
        /// TCP.
        Tcp = "tcp", "TCP";
        /// TLS, with the certificate.
        Tls = "tls", "TLS";
        /// Steps 1 and 2 of the manual.
        Authentication = "authentication", "Authentication";
    }
}

/// One test, under way or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionTest {
    /// When it began.
    pub started: Moment,
    /// When it was done.
    pub ended: Option<Moment>,
    /// The servers that it has come to, in the order in which the tunnel tries them.
    pub servers: Vec<TestedServer>,
}

impl ConnectionTest {
    /// One that begins.
    pub fn new(started: Moment) -> Self {
        Self {
            started,
            ended: None,
            servers: Vec::new(),
        }
    }
}

/// What the test found of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestedServer {
    /// Name or address, as configured or discovered.
    pub domain: String,
    /// TCP port.
    pub port: u16,
    /// The addresses that the name has, in the order in which they are tried.
    pub resolved: Vec<IpAddr>,
    /// The address that accepted TCP.
    pub address: Option<IpAddr>,
    /// The certificate that it showed, accepted or not.
    pub certificate: Option<ServerCertificate>,
    /// The steps, in their order; only the last may have failed.
    pub steps: Vec<TestedStep>,
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestedStep {
    /// Which.
    pub step: TestStep,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed; none if it passed.
    pub failure: Option<TestFailure>,
}

/// Why a step of the test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFailure {
    /// As `failure-reason` has it.
    pub reason: FailureReason,
    /// What the network said, where that is more.
    pub explanation: Option<String>,
}
