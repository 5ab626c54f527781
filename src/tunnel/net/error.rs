//! Why a step came to no answer.

use std::io;

use crate::model::status::ServerCertificate;
use crate::tunnel::machine::event::StepError;
use crate::tunnel::wire::{DigestError, WireError};

/// Why a step came to no answer; the machine hears it as a [`StepError`], the log has the rest.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No resolver gave an answer.
    #[error("the name cannot be resolved: {0}")]
    Dns(#[source] Box<hickory_resolver::net::NetError>),
    /// The name has no address of the family.
    #[error("the name has no address of this family")]
    NoAddress,
    /// The VRF's device does not exist (ENODEV).
    #[error("the VPN instance does not exist on this device")]
    VpnInstanceMissing,
    /// The source address is not on this device, or not in this VRF (EADDRNOTAVAIL).
    #[error("the source address is not on this device")]
    SourceIpMissing,
    /// No address accepted TCP; the error of the last one.
    #[error("TCP failed: {0}")]
    Connect(#[source] io::Error),
    /// Handshake or certificate; the certificate, once the server has shown it.
    #[error("TLS failed: {0}")]
    Tls(#[source] io::Error, Option<Box<ServerCertificate>>),
    /// There is nothing to verify a certificate against.
    #[error("no usable trust anchor: {0}")]
    Trust(String),
    /// The connection ended before the answer, or the answer is not HTTP.
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    /// A value of the device cannot be written into a request.
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer is not what the page says.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The challenge is not what the page says.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The step did not end within [`STEP_BOUND`](super::STEP_BOUND).
    #[error("the step took too long")]
    TooLong,
}

impl NetError {
    /// The certificate that the server showed before TLS failed.
    pub fn certificate(&self) -> Option<&ServerCertificate> {
        match self {
            Self::Tls(_, certificate) => certificate.as_deref(),
            _ => None,
        }
    }

    /// What the machine hears.
    pub fn step(&self) -> StepError {
        match self {
            Self::Dns(_) | Self::NoAddress => StepError::Dns,
            Self::VpnInstanceMissing => StepError::VpnInstanceMissing,
            Self::SourceIpMissing => StepError::SourceIpMissing,
            Self::Tls(..) | Self::Trust(_) => StepError::Tls,
            Self::Http(error) if error.is_parse() => StepError::Protocol,
            Self::Connect(_) | Self::Http(_) | Self::TooLong => StepError::Connect,
            Self::Request(_) | Self::Wire(_) | Self::Digest(_) => StepError::Protocol,
        }
    }
}

/// Tells a missing device and a missing source address from other errors of a socket.
pub(super) fn of_socket(error: io::Error) -> NetError {
    match error.raw_os_error() {
        Some(nix::libc::ENODEV) => NetError::VpnInstanceMissing,
        Some(nix::libc::EADDRNOTAVAIL) => NetError::SourceIpMissing,
        _ => NetError::Connect(error),
    }
}
